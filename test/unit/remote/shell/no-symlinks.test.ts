import { execFileSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Script, sh } from "../../../../provider/remote/shell/sh";
import { nestedIdentity } from "../../../../provider/remote/shell/inode";
import { withoutLinks } from "../../../../provider/remote/shell/no-symlinks";

/** With real mounts, as root: each in a namespace of its own. */
let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "virtio9p-links-"));
  for (const name of ["tree", "outside", "bin"]) mkdirSync(join(folder, name));
  writeFileSync(join(folder, "outside/file"), "outside\n");
  writeFileSync(join(folder, "tree/own"), "own\n");
  symlinkSync(join(folder, "outside"), join(folder, "tree/link"));
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});

const run = ({ text }: Script): string =>
  execFileSync("/bin/sh", ["-ec", text], {
    env: { PATH: `${join(folder, "bin")}:${process.env["PATH"] ?? ""}` },
    encoding: "utf8",
    stdio: ["ignore", "pipe", "pipe"],
  });

/** A mount(8) as it was before 2.37: what it does not know it hands to the kernel, which ignores it in a remount. */
const olderMount = (): void => {
  const text =
    '#!/bin/sh\nfor word; do shift; set -- "$@" "${word%,nosymfollow}"; done\nexec /bin/mount "$@"\n';
  writeFileSync(join(folder, "bin/mount"), text);
  chmodSync(join(folder, "bin/mount"), 0o755);
};

test.each([true, false])("no link is followed, whether a guest could make one or not (%s)", (ofGuest) => {
  expect(run(withoutLinks(join(folder, "tree"), ofGuest, sh`cat ./own`))).toBe("own\n");
  expect(() => run(withoutLinks(join(folder, "tree"), ofGuest, sh`cat ./link/file`))).toThrow(
    /Too many levels/,
  );
});

test("where that cannot be had, it is an error if a guest could put links there", () => {
  olderMount();
  expect(() => run(withoutLinks(join(folder, "tree"), true, sh`cat ./own`))).toThrow(
    /a running guest could put/,
  );
  expect(run(withoutLinks(join(folder, "tree"), false, sh`cat ./own ./link/file`))).toBe("own\noutside\n");
});

test("it is the directory that was looked at; of one that a file system begins at, no link led there", () => {
  const identity = (path: string): string =>
    execFileSync("stat", ["-c", "%i:%.9W", path], { encoding: "utf8" }).trim();
  const whole = (path: string): string => run(nestedIdentity(sh`${path}`)).trim();
  const [tree, outside] = [join(folder, "tree"), join(folder, "outside")];
  for (const is of [identity, whole]) {
    expect(run(withoutLinks(tree, true, sh`cat ./own`, is(tree)))).toBe("own\n");
    expect(() => run(withoutLinks(tree, true, sh`cat ./own`, is(outside)))).toThrow(/taken the place/);
  }
  mkdirSync(join(outside, "deep"));
  const through = join(tree, "link/deep");
  expect(() => run(withoutLinks(through, true, sh`:`, whole(join(outside, "deep"))))).toThrow(
    /taken the place/,
  );
});
