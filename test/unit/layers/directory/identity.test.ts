import { entryOf } from "../../../../provider/layers/shared/directory-entry";
import type { DirectoryBefore, DirectorySeen } from "../../../../provider/layers/directory/probes";
import { isSame } from "../../../../provider/layers/directory/identity";
import { isLasting } from "../../../../provider/layers/shared/lasting-inodes";
import { adjust } from "../../../../provider/layers/directory/steps";
import { hostDirectory } from "../../../../provider/layers/directory/index";
import { type Mount, parseMountinfo } from "../../../../provider/formats/mountinfo";
import { specOf } from "../../sample";
import { ScratchTree } from "../../scratch-tree";
import { runFact, runSteps } from "../../shell-machine";

/** How a directory is known again where inode or birth change. */
const mount = (type: string, source = "nas:/data", options = "rw"): Mount => {
  const [found] = parseMountinfo(`36 27 0:45 / /srv rw - ${type} ${source} ${options}`);
  if (!found) throw new Error("no mount");
  return found;
};

test.each([
  ["ext4", "1763877000.25", "rw", true],
  ["ext3", "0.000000000", "rw", true],
  ["nfs4", "0.000000000", "rw", true],
  ["newfs", "1763877000.25", "rw", true],
  ["newfs", "0.000000000", "rw", false],
  ["overlay", "1763877000.25", "rw", false],
  ["vfat", "1763877000.25", "rw", false],
  ["exfat", "1763877000.25", "rw", false],
  ["fuse.sshfs", "0.000000000", "rw", false],
  ["fuse.mergerfs", "1763877000.25", "rw", false],
  ["fuseblk", "0.000000000", "rw", false],
  ["cifs", "1763877000.25", "rw,serverino", true],
  ["cifs", "1763877000.25", "rw", false],
])("identities on %s with birth %s, %s, last: %s", (type, born, options, lasts) => {
  expect(isLasting(mount(type, "nas:/data", options), born)).toBe(lasts);
});

const entry = {
  kind: "directory" as const,
  uid: 0,
  gid: 0,
  user: "root",
  group: "root",
  mode: 0o755,
  inode: "5",
  born: "0.000000000",
};
const then = { inode: "4", born: "0.000000000" };

test.each([
  [
    "with another inode on a file system that keeps them",
    mount("ext4"),
    { type: "ext4", source: "nas:/data" },
    false,
  ],
  ["on sshfs, mounted again", mount("fuse.sshfs"), { type: "fuse.sshfs", source: "nas:/data" }, true],
  ["on sshfs of another server", mount("fuse.sshfs"), { type: "fuse.sshfs", source: "other:/data" }, false],
  [
    "of a stick that has another name now",
    mount("vfat", "/dev/sdc1"),
    { type: "vfat", source: "/dev/sdb1" },
    true,
  ],
  [
    "of a stick that is not mounted",
    mount("ext4", "/dev/sda1"),
    { type: "vfat", source: "/dev/sdb1" },
    false,
  ],
  [
    "below which a stick is mounted now",
    mount("vfat", "/dev/sdb1"),
    { type: "ext4", source: "/dev/sda1" },
    false,
  ],
  ["of an earlier release, on sshfs", mount("fuse.sshfs"), undefined, true],
  ["of an earlier release, on ext4", mount("ext4"), undefined, false],
])("a directory %s", (_, now, fileSystem, same) => {
  const before = { ...then, ...(fileSystem ? { fileSystem } : {}) };
  expect(isSame("/srv/a", entry, { mounts: [now] }, before)).toBe(same);
});

describe("on a real overlay, whose directory has another birth after the first change", () => {
  const scratch = new ScratchTree(`mkdir lower upper work tree ext; truncate -s 20M image; mkfs.ext4 -q image
mount -o loop image ext; mkdir -p ext/lower/a ext/upper ext/work
mount -t overlay none -o lowerdir=ext/lower,upperdir=ext/upper,workdir=ext/work tree`);
  const clear = (): string => scratch.bash("umount tree ext");

  test("the next operation knows it, and so does the way back", () => {
    try {
      const path = `${scratch.path}/a`;
      const want = hostDirectory.want(
        specOf({ source: path, accessMode: "squash", directory: { owner: 5 } }),
      );
      if (!want) throw new Error("not managed");
      const mounts = () => parseMountinfo(scratch.bash("cat /proc/self/mountinfo"));
      const look = () => {
        const found = runFact(entryOf(path));
        if (!found) throw new Error("it is not there");
        return found;
      };
      const first = look();
      const seen = { entry: first, attributes: {}, mounts: mounts() } as unknown as DirectorySeen;
      const before = hostDirectory.remember(want, seen) as Extract<DirectoryBefore, { created: false }>;
      runSteps(adjust(want, seen, first, { uid: 5, gid: undefined }));
      expect(look()).toMatchObject({ uid: 5, inode: first.inode });
      expect(look().born).not.toBe(first.born);
      expect(isSame(path, look(), { mounts: mounts() }, before)).toBe(true);
      runSteps(adjust({ ...want, mode: 0o700 }, seen, look(), { uid: 6, gid: 7 }));
      expect(look()).toMatchObject({ uid: 6, gid: 7, mode: 0o700 });
    } finally {
      clear();
    }
  });
});
