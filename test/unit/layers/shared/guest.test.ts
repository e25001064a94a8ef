import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isAutomountAt, isMountedAt, isShareMountedAt } from "../../../../provider/layers/shared/guest";
import { mountAt, parseMountinfo } from "../../../../provider/formats/mountinfo";
import { type Script, sh } from "../../../../provider/remote/shell/sh";
import { runScript } from "../../shell-machine";

/** What a guest's script sees mounted at a path, in each shell, and that it is what `mountAt` sees. */
describe.each(["dash", "bash", "busybox sh"])("in %s", (shell) => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "virtio9p-seen-"));
  });
  afterEach(() => {
    rmSync(folder, { recursive: true });
  });
  const holds = (test: Script): boolean =>
    runScript(
      sh`if ${test}; then echo yes; else echo no; fi`,
      (text) =>
        text
          .replaceAll("/proc/self/mountinfo", join(folder, "mountinfo"))
          .replaceAll("awk 'BEGIN", `${shell.includes("busybox") ? "busybox " : ""}awk 'BEGIN`),
      shell,
    ).toString() === "yes\n";

  const root = "1 0 8:1 / / rw - ext4 /dev/vda rw";
  const share = "2 1 0:40 / /data/share rw shared:5 master:6 - 9p foobar rw";
  test.each<[string, string[], string, string, [mounted: boolean, share: boolean, automount: boolean]]>([
    ["the share", [share], "/data/share", "foobar", [true, true, false]],
    ["nothing", [], "/data/share", "foobar", [false, false, false]],
    ["another tag", [share], "/data/share", "foo", [true, false, false]],
    [
      "a part of the share",
      [share.replace("0:40 /", "0:40 /sub")],
      "/data/share",
      "foobar",
      [true, false, false],
    ],
    [
      "hidden by a mount above",
      [share, "3 1 8:2 / /data rw - ext4 a rw"],
      "/data/share",
      "foobar",
      [false, false, false],
    ],
    [
      "hidden by a mount on it",
      [share, "3 2 8:2 / /data/share rw - ext4 a rw"],
      "/data/share",
      "foobar",
      [true, false, false],
    ],
    [
      "hidden, and mounted again",
      [share, "3 1 8:2 / /data rw - ext4 a rw", share.replace("2 1", "4 3")],
      "/data/share",
      "foobar",
      [true, true, false],
    ],
    ["an automount", ["2 1 0:40 / /a rw - autofs systemd-1 rw"], "/a", "foobar", [true, false, true]],
    [
      "the share on an automount",
      ["2 1 0:40 / /a rw - autofs systemd-1 rw", "3 2 0:41 / /a rw - 9p foobar rw"],
      "/a",
      "foobar",
      [true, true, false],
    ],
    [
      "a # of a kernel since 5.17",
      ["2 1 0:40 / /a#b rw - 9p a\\043b rw"],
      "/a#b",
      "a#b",
      [true, true, false],
    ],
    ["a # of an older kernel", ["2 1 0:40 / /a#b rw - 9p a#b rw"], "/a#b", "a#b", [true, true, false]],
    [
      "blanks and backslashes",
      ["2 1 0:40 / /a\\040b\\134040c rw - 9p x\\040\\134y rw"],
      "/a b\\040c",
      "x \\y",
      [true, true, false],
    ],
    [
      "a blank that is not the kernel's",
      ["2 1 0:40 / /a\u3000b rw - 9p \u3000 rw"],
      "/a\u3000b",
      "\u3000",
      [true, true, false],
    ],
    ["characters of a pattern", ["2 1 0:40 / /[a]* rw - 9p ?* rw"], "/[a]*", "?*", [true, true, false]],
    ["a pattern that would match", ["2 1 0:40 / /a rw - 9p foobar rw"], "/a", "*", [true, false, false]],
  ])("%s", (_, lines, path, tag, expected) => {
    const text = [root, ...lines, ""].join("\n");
    writeFileSync(join(folder, "mountinfo"), text);
    expect([isMountedAt(path), isShareMountedAt(path, tag), isAutomountAt(path)].map(holds)).toEqual(
      expected,
    );
    const at = mountAt(parseMountinfo(text), path);
    expect([
      at !== undefined,
      at?.type === "9p" && at.source === tag && at.root === "/",
      at?.type === "autofs",
    ]).toEqual(expected);
  });
});
