import { mountAt, mountHolding, mountsBelow, parseMountinfo } from "../../../provider/formats/mountinfo";

const sample = [
  "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard",
  "36 27 0:45 / /mnt/foo\\040bar rw,nodev,relatime shared:1 master:2 - 9p foobar rw,access=client,trans=virtio",
  "37 27 254:0 /srv/a /mnt/bind rw,relatime unbindable - ext4 /dev/vda rw,discard",
  '38 27 0:46 / /mnt/ctx rw - 9p a\\043b rw,context="system_u:object_r:httpd_sys_content_t:s0:c1,c2",trans=virtio',
  "39 27 0:47 / /mnt/empty rw - tmpfs  rw",
  "40 37 0:48 / /mnt/bind ro - autofs systemd-1 rw,fd=30",
  "",
].join("\n");

describe("parseMountinfo", () => {
  const mounts = parseMountinfo(sample);

  test("reads every field", () => {
    expect(mounts[1]).toEqual({
      id: 36,
      parent: 27,
      device: "0:45",
      root: "/",
      mountPoint: "/mnt/foo bar",
      mountOptions: ["rw", "nodev", "relatime"],
      type: "9p",
      source: "foobar",
      superOptions: ["rw", "access=client", "trans=virtio"],
    });
  });

  test("keeps the order and takes none for a bind mount's file system root", () => {
    expect(mounts.map(({ id, root }) => [id, root])).toEqual([
      [27, "/"],
      [36, "/"],
      [37, "/srv/a"],
      [38, "/"],
      [39, "/"],
      [40, "/"],
    ]);
  });

  test("does not split a quoted SELinux context", () => {
    expect(mounts[3]?.source).toBe("a#b");
    expect(mounts[3]?.superOptions).toEqual([
      "rw",
      'context="system_u:object_r:httpd_sys_content_t:s0:c1,c2"',
      "trans=virtio",
    ]);
  });

  test("reads an empty source", () => {
    expect(mounts[4]).toMatchObject({ type: "tmpfs", source: "", superOptions: ["rw"] });
  });

  test("an empty file has no mounts", () => {
    expect(parseMountinfo("")).toEqual([]);
  });

  test.each(["27 1 254:0 / / rw,relatime", "garbage", "27 1 254:0 / / rw - ext4"])("refuses %j", (line) => {
    expect(() => parseMountinfo(`${line}\n`)).toThrow(
      `not a line of /proc/self/mountinfo: ${JSON.stringify(line)}`,
    );
  });
});

describe("which mount", () => {
  const mounts = parseMountinfo(sample);

  test.each([
    ["/mnt/bind", 40],
    ["/mnt/foo bar", 36],
    ["/", 27],
    ["/mnt", undefined],
    ["/mnt/bind/", undefined],
  ])("stands at %s", (path, id) => {
    expect(mountAt(mounts, path)?.id).toBe(id);
  });

  test.each([
    ["/mnt/bind", 40],
    ["/mnt/bind/deep/er", 40],
    ["/mnt/binder", 27],
    ["/mnt/foo bar/x", 36],
    ["/", 27],
    ["/etc", 27],
  ])("holds %s", (path, id) => {
    expect(mountHolding(mounts, path)?.id).toBe(id);
  });

  test("nothing holds a path without mounts", () => {
    expect(mountHolding([], "/etc")).toBeUndefined();
  });
});

describe("a mount that the way does not pass is hidden", () => {
  const of = (...lines: string[]) => parseMountinfo(lines.join("\n"));
  const root = "1 0 8:1 / / rw - ext4 /dev/vda rw";
  test.each<[string, string[], string, number | undefined, number]>([
    [
      "by one above",
      ["2 1 0:40 / /data/share rw - 9p foobar rw", "3 1 8:2 / /data rw - ext4 a rw"],
      "/data/share",
      undefined,
      3,
    ],
    ["by one on it", ["2 1 0:40 / /a rw - 9p foobar rw", "3 2 8:2 / /a rw - ext4 a rw"], "/a", 3, 3],
    [
      "and is seen again in what hid it",
      ["2 1 0:40 / /a/b rw - 9p f rw", "3 1 0:41 / /a rw - 9p g rw", "4 3 0:42 / /a/b rw - 9p f rw"],
      "/a/b",
      4,
      4,
    ],
    [
      "not by one of a name that begins alike",
      ["2 1 0:40 / /a/b rw - 9p f rw", "3 1 0:41 / /a/bb rw - 9p g rw"],
      "/a/b",
      2,
      2,
    ],
    ["by one on the root", ["2 1 0:40 / /a rw - 9p f rw", "3 1 0:41 / / rw - ext4 g rw"], "/a", undefined, 3],
  ])("%s", (_, lines, path, seen, holds) => {
    const mounts = of(root, ...lines);
    expect([mountAt(mounts, path)?.id, mountHolding(mounts, path)?.id]).toEqual([seen, holds]);
    const below = mountsBelow(mounts, "/").map(({ mountPoint, id }) => [mountPoint, id]);
    expect(below.find(([point]) => point === path)?.[1]).toBe(seen);
  });
});
