import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { notReplaceable, obstacleTo } from "../../../../provider/layers/shared/guest-files";
import { parseMountinfo } from "../../../../provider/formats/mountinfo";
import { runFact } from "../../shell-machine";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "virtio9p-files-"));
  mkdirSync(join(folder, "etc"));
  writeFileSync(join(folder, "etc/fstab"), "# a\n");
  writeFileSync(join(folder, "mountinfo"), "1 0 8:1 / / rw - ext4 /dev/vda rw\n");
});
afterEach(() => {
  spawnSync("chattr", ["-i", "-a", join(folder, "etc/fstab"), join(folder, "etc")], { stdio: "ignore" });
  rmSync(folder, { recursive: true });
});
const lookAt = (name: string) =>
  runFact(obstacleTo(join(folder, name)), (text) =>
    text.replaceAll("/proc/self/mountinfo", join(folder, "mountinfo")),
  );
const path = (name: string) => join(folder, name);

test.each<[string, string, () => void, string, string]>([
  ["a file", "etc/fstab", () => undefined, "none", "etc/fstab"],
  ["one that is not there", "etc/new", () => undefined, "none", "etc"],
  ["one whose directory is not there", "etc/new/x/y", () => undefined, "none", "etc"],
  [
    "an immutable one",
    "etc/fstab",
    () => execFileSync("chattr", ["+i", path("etc/fstab")]),
    "immutable",
    "etc/fstab",
  ],
  [
    "one for appending only",
    "etc/fstab",
    () => execFileSync("chattr", ["+a", path("etc/fstab")]),
    "immutable",
    "etc/fstab",
  ],
  [
    "one in an immutable directory",
    "etc/fstab",
    () => execFileSync("chattr", ["+i", path("etc")]),
    "immutable",
    "etc/fstab",
  ],
  [
    "a new one in an immutable directory",
    "etc/new",
    () => execFileSync("chattr", ["+i", path("etc")]),
    "immutable",
    "etc",
  ],
  [
    "a mount of its own",
    "etc/fstab",
    () => {
      writeFileSync(
        path("mountinfo"),
        `1 0 8:1 / / rw - ext4 /dev/vda rw\n2 1 8:1 /x ${path("etc/fstab")} rw - ext4 /dev/vda rw\n`,
      );
    },
    "mount",
    "etc/fstab",
  ],
])("%s", (_, name, make, kind, at) => {
  make();
  expect(lookAt(name)).toEqual({ kind, path: path(at) });
});

test("a link leads to the file", () => {
  symlinkSync("fstab", path("etc/link"));
  expect(lookAt("etc/link")).toEqual({ kind: "none", path: path("etc/fstab") });
});

test.each([
  ["none", "rw", "rw", undefined],
  ["mount", "rw", "rw", "fileProtected"],
  ["immutable", "rw", "rw", "fileProtected"],
  ["denied", "rw", "rw", "fileProtected"],
  ["denied", "ro", "rw", "fileSystemReadOnly"],
  ["none", "rw", "ro", "fileSystemReadOnly"],
] as const)("%s, mounted %s of a file system %s", (kind, mount, fileSystem, code) => {
  const mounts = parseMountinfo(`1 0 8:1 / / ${mount} - ext4 /dev/vda ${fileSystem}\n`);
  expect(
    notReplaceable("/etc/fstab", { obstacle: { kind, path: "/etc/fstab" }, mounts })?.refuse?.[0]?.code,
  ).toBe(code);
});
