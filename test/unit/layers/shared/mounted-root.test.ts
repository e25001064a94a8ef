import { guestMount } from "../../../../provider/layers/mount/index";
import { guestOwnership } from "../../../../provider/layers/root-owner/index";
import {
  inodesInGuest,
  otherRoot,
  rootInodeOf,
  type RootSeen,
} from "../../../../provider/layers/shared/mounted-root";
import { parseMountinfo } from "../../../../provider/formats/mountinfo";
import { device, domainOf, specOf } from "../../sample";
import { does, runFact } from "../../shell-machine";

const share = { source: "/foo/bar", tag: "foobar" };
const born = "1763877000.123456789";
const entryOf = (inode: string, more = {}): NonNullable<RootSeen["entry"]> => ({
  ...{ kind: "directory", uid: 0, gid: 0, user: "root", group: "root", mode: 0o755, inode, born },
  ...more,
});
const hostMounts = parseMountinfo("1 0 8:1 / / rw - ext4 /dev/sda1 rw\n");
const seenOf = (inode: string, more: Partial<RootSeen> = {}): RootSeen => ({
  ...{ entry: entryOf(inode), hostMounts, live: domainOf([device]) },
  ...more,
});

test.each<[string, string[]]>([
  ["804061", ["804063"]],
  ["256", ["258"]],
  // A number of more than 32 bits is folded where the guest's own have as many.
  ["4294967296", ["4294967298", "3"]],
  ["18446744073709551615", ["1"]],
  // The sum has an upper half, the number has none: kernels before 6.9, and since.
  ["4294967294", ["4294967296", "1", "0"]],
  // More than a double holds.
  ["9007199254740993", ["9007199254740995", "2097155"]],
])("inode %s of the host is one of %j in the guest", (inode, inodes) => {
  expect(inodesInGuest(share, seenOf(inode))).toEqual(expect.arrayContaining(inodes));
});

const made = parseMountinfo("1 0 8:1 / / rw - fuse.sshfs nas:/ rw\n");
test.each<[string, Partial<RootSeen>]>([
  ["the directory is not there", { entry: undefined }],
  ["it could not be looked at", { hostMounts: undefined }],
  ["it is a link", { entry: entryOf("1", { kind: "link" }) }],
  ["inodes do not last there", { hostMounts: made }],
  ["QEMU maps inodes", { live: domainOf([{ ...device, multidevs: "remap" }]) }],
  ["the running QEMU has a former source", { live: domainOf([{ ...device, source: "/former" }]) }],
])("nothing is said of the guest's inode where %s", (_, more) => {
  expect(inodesInGuest(share, seenOf("1", more))).toBeUndefined();
  expect(
    otherRoot({ ...share, mountPoint: "/mnt/a" }, { ...seenOf("1", more), rootInode: "9" }),
  ).toBeUndefined();
});

const spec = specOf({ guest: { mountPoint: "/mnt/a", owner: 7 } });
const mounts = parseMountinfo(
  "36 1 0:45 / /mnt/a rw,nodev,relatime - 9p foobar rw,access=client,msize=131072,trans=virtio\n",
);
const mountSeen = (more: Partial<RootSeen>): Parameters<typeof guestMount.plan>[1] => ({
  ...{ mounts, holders: [], release: "6.1.0-40-amd64", live: domainOf([device]) },
  mountPoint: { kind: "directory", empty: true, firstMissing: undefined, realPath: "/mnt/a" },
  ...seenOf("804061", more),
  ...("live" in more ? {} : { live: domainOf([device]) }),
});
const note =
  "the guest has another directory under the tag foobar on /mnt/a: its inode on the host is 804059, and that of /foo/bar is 804061; QEMU got it before /foo/bar was made anew, or a device of <qemu:commandline> has the tag";

test("a mount of another directory differs and waits, whatever gave it; an up warns; a destroy does not mind", () => {
  const want = guestMount.want(spec);
  if (!want) throw new Error("not managed");
  for (const live of [domainOf([device]), domainOf([])]) {
    const seen = mountSeen({ rootInode: "804061", live });
    expect(guestMount.drift(want, seen)).toEqual({
      ...{ state: "differs", args: {}, notes: [note], pending: "mountBusy" },
    });
    expect(guestMount.restore(want, { firstMissing: null, mounted: false }, seen).refuse).toBeUndefined();
  }
  const plan = guestMount.plan(want, mountSeen({ rootInode: "804061" }), undefined, true);
  expect([plan.steps, plan.refuse, plan.warnings]).toEqual([[], undefined, [note]]);
  // An inode that is the same number in the guest is that of another directory.
  for (const [rootInode, state] of [
    ["804063", "ok"],
    [undefined, "ok"],
    ["804061", "differs"],
    ["Permission denied", "unknown"],
  ] as const)
    expect(guestMount.drift(want, mountSeen({ rootInode })).state).toBe(state);
});

test("the owner of another directory is left as it is", () => {
  const want = guestOwnership.want(spec);
  if (!want) throw new Error("not managed");
  const root = { uid: 0, gid: 0, user: "root", group: "root", mode: 0o755 };
  const seen = (rootInode: string) => ({
    ...{ root, ids: {}, mounts },
    ...seenOf("804061", { rootInode }),
    live: domainOf([device]),
  });
  expect(guestOwnership.plan(want, seen("804061"), undefined, true).steps).toEqual([]);
  const plan = guestOwnership.plan(want, seen("804063"), undefined, true);
  expect(does(plan)).toEqual(["chown /mnt/a to 7 in the guest"]);
  expect(plan.steps[0]?.run.text).toContain("enter_share '/mnt/a' '/mnt/a' 'foobar' 'foobar' '804063");
});

test("a root that the guest may not look at is told apart from one that is not mounted", () => {
  const want = guestMount.want(spec);
  if (!want) throw new Error("not managed");
  const looks = (said: string) =>
    runFact(rootInodeOf("/mnt/a", "foobar"), (text) =>
      text.replace("if is_share", `stat() { ${said}; }\nif : is_share`),
    );
  expect(looks("echo 804063")).toBe("804063");
  const rootInode = looks("echo \"stat: cannot statx '/mnt/a': Permission denied\" >&2; return 1");
  expect(rootInode).toBe("Permission denied");
  expect(guestMount.drift(want, mountSeen({ rootInode }))).toEqual({
    ...{ state: "unknown", args: {}, notes: ["the guest cannot look at /mnt/a: Permission denied"] },
  });
  // By the option access=1000 it is that user's alone.
  const alone = guestMount.want(
    specOf({ guest: { mountPoint: "/mnt/a", owner: 7, options: { access: "1000" } } }),
  );
  const own = parseMountinfo(
    "36 1 0:45 / /mnt/a rw,nodev,relatime - 9p foobar rw,access=1000,msize=131072,trans=virtio\n",
  );
  expect(alone && guestMount.drift(alone, { ...mountSeen({ rootInode }), mounts: own }).state).toBe("ok");
  // What this up mends on the host may be why.
  const plan = guestMount.plan(want, mountSeen({ rootInode }), undefined, true);
  expect([plan.steps, plan.warnings]).toEqual([[], undefined]);
});

test("what is not the share's mount is not looked at", () => {
  expect(runFact(rootInodeOf("/", "foobar"))).toBeUndefined();
});
