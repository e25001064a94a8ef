import { DirectoryTrees } from "../../../provider/formats/directory-tree";
import { parseMountinfo } from "../../../provider/formats/mountinfo";

const trees = new DirectoryTrees(
  parseMountinfo(`1 0 8:1 / / rw - ext4 /dev/sda1 rw
2 1 8:1 /srv/a /bound rw - ext4 /dev/sda1 rw
3 1 8:1 /srv/a/in/deep /deep rw - ext4 /dev/sda1 rw
4 1 8:2 / /srv/a/disk rw - xfs /dev/sdb1 rw
5 1 8:2 / /other/disk rw - xfs /dev/sdb1 rw
6 1 0:40 /@home /home rw - btrfs /dev/sdc rw
7 1 0:40 / /btrfs rw - btrfs /dev/sdc rw
8 2 8:3 / /bound/hidden rw - ext4 /dev/sdd rw
`),
);

test.each<[string, string, boolean]>([
  ["/srv/a", "/srv/a", true],
  ["/srv/a", "/bound", true],
  ["/srv/a/in/deep", "/deep", true],
  ["/bound/in/deep", "/deep", true],
  ["/srv/a/disk", "/other/disk", true],
  ["/home/x", "/btrfs/@home/x", true],
  ["/srv/a", "/srv/ab", false],
  ["/srv/a/disk", "/srv/a", false],
  ["/bound/hidden", "/srv/a/hidden", false],
])("%s and %s are the same: %s", (a, b, same) => {
  expect([trees.isSame(a, b), trees.isSame(b, a)]).toEqual([same, same]);
});

test.each<[string, string, boolean]>([
  ["/srv/a/in", "/srv/a", true],
  ["/srv/a", "/srv/a", true],
  ["/srv/a", "/", true],
  ["/srv/a", "/srv/a/in", false],
  ["/srv/ab", "/srv/a", false],
  ["/bound/in", "/srv/a", true],
  ["/srv/a/in", "/bound", true],
  ["/deep/x", "/srv/a", true],
  ["/deep/x", "/bound/in", true],
  ["/srv/a/in", "/deep", false],
  ["/other/disk/x", "/srv/a", true],
  ["/other/disk/x", "/bound", true],
  ["/home/x", "/btrfs", true],
  ["/btrfs/@other", "/home", false],
  ["/bound/hidden/x", "/bound", true],
  ["/srv/a/hidden", "/bound/hidden", false],
])("%s lies in %s: %s", (inner, outer, inside) => {
  expect(trees.isInside(inner, outer)).toBe(inside);
});

test("mounts that lie in each other's binds end", () => {
  const looped = new DirectoryTrees(
    parseMountinfo(`1 0 8:1 / / rw - ext4 /dev/sda1 rw
2 1 8:1 / /a/root rw - ext4 /dev/sda1 rw
`),
  );
  expect([looped.isInside("/a/root/a", "/a"), looped.isInside("/b", "/a")]).toEqual([true, true]);
});

test("without any mount known, paths decide", () => {
  const bare = new DirectoryTrees([]);
  expect([bare.isInside("/a/b", "/a"), bare.isInside("/a", "/a/b"), bare.isSame("/a", "/a")]).toEqual([
    true,
    false,
    true,
  ]);
});
