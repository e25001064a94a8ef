import { execFileSync } from "node:child_process";
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  statSync,
  symlinkSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { DirectoryBefore, DirectoryWant } from "../../../../provider/layers/directory/probes";
import { hostDirectory } from "../../../../provider/layers/directory/index";
import { alone, type Fact } from "../../../../provider/engine/layer";
import { untilFailure } from "../../until-failure";
import type { Mount } from "../../../../provider/formats/mountinfo";
import { sh } from "../../../../provider/remote/shell/sh";
import { device, domainOf, info, specOf, treeOf, uuid } from "../../sample";
import { does, runFact, runScript, runSteps } from "../../shell-machine";

type Seen = Parameters<typeof hostDirectory.plan>[1];

const want = (args: Record<string, unknown> = {}): DirectoryWant => {
  const wanted = hostDirectory.want(specOf(args));
  if (!wanted) throw new Error("not managed");
  return wanted;
};

const root = {
  kind: "directory" as const,
  uid: 0,
  gid: 0,
  user: "root",
  group: "root",
  mode: 0o755,
  inode: "11",
  born: "1763877000",
};
const above = [
  { ...root, path: "/foo", acl: false },
  { ...root, path: "/", acl: false },
];
const qemu = { ...root, uid: 64055, gid: 108, user: "libvirt-qemu", group: "kvm" };

const none = { count: 0, names: [] };

const seenOf = (more: Partial<Seen> = {}): Seen => ({
  entry: root,
  unreadable: undefined,
  realPath: "/foo/bar",
  mounts: [],
  records: [],
  parents: above,
  attributes: {},
  groupRights: undefined,
  tree: treeOf(),
  treeRemembered: false,
  linksMapped: false,
  hadPrivileges: none,
  viewKept: false,
  takenAround: [],
  takenWith: [],
  changedInside: [],
  principals: {},
  info: undefined,
  live: undefined,
  persistent: domainOf([]),
  baselabels: noLabels,
  exports: [],
  user: { user: "1000", group: "1001", groups: ["1001", "27"] },
  ...more,
});

const mount = (root: string, mountPoint: string, device = "8:1"): Mount => ({
  id: 1,
  parent: 1,
  device,
  root,
  mountPoint,
  mountOptions: ["rw"],
  type: "ext4",
  source: "/dev/sda1",
  superOptions: ["rw"],
});
const readOnly = (mountPoint: string): Mount => ({
  ...mount("/", mountPoint),
  mountOptions: ["ro", "nodev"],
});

/** Of directories that other shares have. */
const recordsOf = (...paths: readonly string[]): Pick<Seen, "records"> => ({
  records: paths.map((identity) => ({ identity, before: { created: true } })),
});

const noLabels = () => undefined;

const keep = "let the guest go on seeing /foo/bar as 0:0 0755 (user.virtfs.*)";
const take = "chown /foo/bar from 0:0 to 64055:108";

describe("plan", () => {
  test.each<[string, Record<string, unknown>, Partial<Seen>, string[]]>([
    ["a directory that is there", {}, {}, [keep, take]],
    ["one that is not", {}, { entry: undefined }, ["make /foo/bar", keep, take]],
    [
      "one that is not, with a mode",
      { directory: { mode: "2770" } },
      { entry: undefined },
      ["make /foo/bar", "let the guest go on seeing /foo/bar as 0:0 2770 (user.virtfs.*)", take],
    ],
    ["one that is QEMU's", {}, { entry: qemu }, []],
    [
      "one that its owner could not use",
      {},
      { entry: { ...root, mode: 0o055 } },
      [
        "let the guest go on seeing /foo/bar as 0:0 0055 (user.virtfs.*)",
        take,
        "chmod /foo/bar from 0055 to 0755",
      ],
    ],
    ["the mode alone", { directory: { mode: "750" } }, { entry: qemu }, ["chmod /foo/bar from 0755 to 0750"]],
    [
      "attributes that the guest sees already are kept",
      {},
      {
        attributes: {
          "user.virtfs.uid": "0x00000000",
          "user.virtfs.gid": "0x00000000",
          "user.virtfs.mode": "0xe8410000",
        },
      },
      [take],
    ],
    [
      "the mask of an access list is not taken for what the group may do",
      {},
      { entry: { ...root, mode: 0o2775 }, groupRights: 5 },
      ["let the guest go on seeing /foo/bar as 0:0 2755 (user.virtfs.*)", take],
    ],
    [
      "of which a killed step left one, the others follow",
      {},
      { attributes: { "user.virtfs.uid": "0x00000000" } },
      [keep, take],
    ],
    ["without keepOwners", { directory: { keepOwners: false } }, {}, [take]],
    ["passthrough is left alone", { accessMode: "passthrough" }, {}, []],
    ["passthrough without user attributes", { accessMode: "passthrough" }, { attributes: "unsupported" }, []],
    ["read-only is left alone", { readOnly: true }, {}, []],
    [
      "the group alone",
      { readOnly: true, directory: { group: 7, keepOwners: false } },
      {},
      ["chown /foo/bar from 0:0 to 0:7"],
    ],
    [
      "a name of the host",
      { directory: { owner: "alice", group: 0 } },
      { principals: { "passwd alice": 1000 } },
      [keep, "chown /foo/bar from 0:0 to 1000:0"],
    ],
    ["QEMU's own files in it", {}, { tree: treeOf([64055, "libvirt-qemu", 3]) }, [keep, take]],
    [
      "others' files, and only the directory is taken",
      { directory: { recursive: false } },
      { tree: treeOf([0, "root", 3]) },
      [keep, take],
    ],
    [
      "the label of the running domain comes first",
      {},
      { live: domainOf([], { dacLabel: { user: "0", group: "0" } }) },
      [],
    ],
    [
      "libvirt's own where the domain has none",
      {},
      {
        persistent: domainOf([], { dacLabel: undefined }),
        baselabels: () => ({ user: "107", group: "107" }),
      },
      [keep, "chown /foo/bar from 0:0 to 107:107"],
    ],
  ])("%s", (_, args, seen, steps) => {
    const plan = hostDirectory.plan(want(args), seenOf(seen), undefined, false);
    expect(plan.refuse ?? []).toEqual([]);
    expect(does(plan)).toEqual(steps);
  });

  describe("a directory that has a record under another path", () => {
    const mounts = [mount("/", "/"), mount("/srv/a", "/foo/bar"), mount("/srv/a", "/elsewhere", "8:2")];
    const codes = (recorded: readonly string[], before?: DirectoryBefore, known = false) =>
      hostDirectory.plan(want(), seenOf({ mounts, ...recordsOf(...recorded) }), before, known).refuse ?? [];

    test("is refused by that path", () => {
      expect(codes(["/srv/b", "/srv/a"])).toEqual([
        {
          code: "sourceIsLink",
          what: "/foo/bar is /srv/a by another path, through a mount, and a share has it under that one",
          remedy: 'give source as "/srv/a" here too',
        },
      ]);
    });

    test("is refused too where another share is about to make it", () => {
      const other = { name: undefined, spec: specOf({ source: "/srv/a" }) };
      const context = { ...alone, others: [other] };
      expect(hostDirectory.plan(want(), seenOf({ mounts }), undefined, false, context).refuse).toMatchObject([
        { code: "sourceIsLink" },
      ]);
    });

    test("is no concern of others, nor of a share that has this path already", () => {
      expect(codes(["/foo/bar", "/srv/a/b", "/elsewhere", "/srv"])).toEqual([]);
      expect(codes(["/srv/a"], found())).toEqual([]);
      expect(codes(["/srv/a"], undefined, true)).toEqual([]);
    });
  });

  const found = (more: object = {}): DirectoryBefore => ({
    created: false,
    uid: 0,
    gid: 0,
    mode: "0755",
    inode: "11",
    born: "1763877000",
    attributes: {},
    ...more,
  });

  test.each<[string, Record<string, unknown>, Partial<Seen>, DirectoryBefore | undefined, string, string]>([
    [
      "sourceIsLink",
      {},
      { realPath: "/srv/bar" },
      undefined,
      "/foo/bar leads through a link to /srv/bar",
      'give source as "/srv/bar"',
    ],
    [
      "sourceMissing",
      { directory: { create: false } },
      { entry: undefined },
      undefined,
      "/foo/bar is not there",
      "make it, or set directory.create",
    ],
    [
      "sourceMissing",
      {},
      { entry: undefined, parents: above.slice(1) },
      undefined,
      "/foo/bar is not there, nor the directory that it is in",
      "make its parent: only the last component is made",
    ],
    [
      "sourceVanished",
      {},
      { entry: undefined },
      found(),
      "/foo/bar was there at first contact and is not now",
      "mount its file system, or put the directory back; it is not made anew, for that would hide the loss (if it was meant: pulumi up --replace)",
    ],
    [
      "sourceMoved",
      {},
      {},
      found({ born: "1763870000" }),
      "/foo/bar is not the directory that it was: inode 11 made at 1763877000, it was inode 11 made at 1763870000",
      "mount the file system that it was on; if the change was meant, destroy the share and create it again",
    ],
    [
      "sourceNotDirectory",
      {},
      { entry: { ...root, kind: "other" } },
      undefined,
      "/foo/bar is not a directory",
      "share a directory",
    ],
    [
      "parentNotSearchable",
      {},
      { parents: [{ ...root, path: "/foo", acl: false, mode: 0o700 }] },
      undefined,
      "QEMU (uid 64055) cannot pass /foo: mode 0700, owner 0:0",
      "chmod o+x /foo, or setfacl -m u:64055:x /foo, or share a directory elsewhere",
    ],
    [
      "noUserAttributes",
      {},
      { attributes: "unsupported" },
      undefined,
      "the file system of /foo/bar takes no user attributes, in which accessMode mapped keeps owners and modes",
      "share from ext4, xfs or btrfs, or use another accessMode",
    ],
    [
      "treeOfOthers",
      {},
      {
        tree: treeOf([0, "root", 9], [64055, "libvirt-qemu", 5], [12, "", 1]),
      },
      undefined,
      "/foo/bar holds entries of other owners: 9 of root (0), 1 of 12 (12)",
      "write directory.recursive: true to take all of it over, whose owners the guest goes on seeing, and which destroy gives back; or false to take only the directory itself",
    ],
    [
      "unknownUser",
      { directory: { owner: "nobody-here" } },
      {},
      undefined,
      "there is no user nobody-here",
      "give directory.owner as a number",
    ],
    [
      "unknownUser",
      { directory: { owner: 0 } },
      { persistent: domainOf([], { dacLabel: undefined }) },
      undefined,
      "libvirt does not say by number whom it runs the domain's QEMU as",
      "give directory.group as a number",
    ],
  ])("refuses with %s: %j", (code, args, seen, before, what, remedy) => {
    expect(hostDirectory.plan(want(args), seenOf(seen), before, before !== undefined)).toEqual({
      refuse: [{ code, what, remedy }],
      steps: [],
    });
  });

  test.each([
    ["the owner's bit counts for the owner", { uid: 64055, mode: 0o100 }],
    ["the group's for the group", { gid: 108, mode: 0o010 }],
    ["an access list may let it through", { acl: true, mode: 0o700 }],
  ])("a directory above: %s", (_, more) => {
    const parents = [{ ...root, path: "/foo", acl: false, ...more }];
    expect(hostDirectory.plan(want(), seenOf({ parents }), undefined, false).refuse).toBeUndefined();
  });

  test("QEMU of a session is its user: no label is asked for", () => {
    const seen = seenOf({
      persistent: domainOf([], { dacLabel: undefined }),
      entry: { ...root, uid: 1000, gid: 27 },
    });
    const plan = hostDirectory.plan(
      want({ host: { libvirtUri: "qemu:///session" } }),
      seen,
      undefined,
      false,
    );
    expect(plan.refuse ?? []).toEqual([]);
    expect(does(plan)).toEqual([
      "let the guest go on seeing /foo/bar as 1000:27 0755 (user.virtfs.*)",
      "chown /foo/bar from 1000:27 to 1000:1001",
    ]);
  });

  describe("with qemu:///session", () => {
    const own = { ...root, uid: 1000, gid: 1001 };
    const home = (mode: number, uid = 0, acl = false) => ({
      entry: undefined,
      parents: [{ ...root, uid, gid: 27, mode, path: "/foo", acl }],
    });
    test.each<[string, Record<string, unknown>, Partial<Seen>, string | undefined]>([
      [
        "root's directory",
        {},
        {},
        "/foo/bar is 0:0 0755 and is to be 1000:1001 0755, and qemu:///session acts as the user 1000 alone, who may not",
      ],
      ["root's directory as it is", { readOnly: true }, {}, undefined],
      [
        "root's, with a mode",
        { readOnly: true, directory: { mode: "0700" } },
        {},
        "/foo/bar is 0:0 0755 and is to be 0:0 0700, and qemu:///session acts as the user 1000 alone, who may not",
      ],
      ["the user's own, with a mode", { directory: { mode: "0700" } }, { entry: own }, undefined],
      ["for a group of the user's", { directory: { group: 27 } }, { entry: own }, undefined],
      [
        "for another group",
        { directory: { group: 28 } },
        { entry: own },
        "/foo/bar is 1000:1001 0755 and is to be 1000:28 0755, and qemu:///session acts as the user 1000 alone, who may not",
      ],
      [
        "to be made where the user may not",
        {},
        home(0o755),
        "/foo/bar is to be made in /foo, which is 0:27 0755, and qemu:///session acts as the user 1000 alone, who may not",
      ],
      ["to be made where everybody may", {}, home(0o1777), undefined],
      ["to be made where a group of the user's may", {}, home(0o770), undefined],
      ["to be made where an access list may let the user", {}, home(0o750, 0, true), undefined],
      ["to be made in the user's own", {}, home(0o700, 1000), undefined],
    ])("%s", (_, args, seen, refused) => {
      const wanted = want({ ...args, host: { libvirtUri: "qemu:///session" } });
      const { refuse = [] } = hostDirectory.plan(wanted, seenOf(seen), undefined, false);
      const own = refuse.filter(({ code }) => code === "sourceNotOwned");
      expect(own.map(({ what }) => what)).toEqual(refused === undefined ? [] : [refused]);
      expect(own.every(({ remedy }) => remedy?.includes("as root: ") === true)).toBe(true);
    });

    test("as root nothing is refused for that", () => {
      const user = { user: "0", group: "0", groups: ["0"] };
      const wanted = want({ host: { libvirtUri: "qemu:///session" }, directory: { owner: 5 } });
      expect(hostDirectory.plan(wanted, seenOf({ user }), undefined, false).refuse ?? []).toEqual([]);
    });
  });
});

describe("where inodes or births do not last", () => {
  const on = (type: string, source = "/dev/sdb1"): Partial<Seen> => ({
    mounts: [{ ...mount("/", "/foo"), type, source }],
  });
  const before = (type: string, source = "/dev/sdb1"): DirectoryBefore => ({
    created: false,
    uid: 0,
    gid: 0,
    mode: "0755",
    inode: "12",
    born: "0",
    attributes: {},
    fileSystem: { type, source },
  });
  const vfat = { accessMode: "squash", readOnly: true, directory: { owner: 5 } };

  test.each([
    ["vfat", on("vfat", "/dev/sdc1"), before("vfat"), []],
    ["an overlay", on("overlay", "none"), before("overlay", "none"), []],
    ["sshfs", on("fuse.sshfs", "a@b:/c"), before("fuse.sshfs", "a@b:/c"), []],
    ["sshfs of another server", on("fuse.sshfs", "a@x:/c"), before("fuse.sshfs", "a@b:/c"), ["sourceMoved"]],
    ["a stick that is away", on("ext4"), before("vfat"), ["sourceMoved"]],
  ])("the next operation on %s: %#", (_, seen, then, codes) => {
    const plan = hostDirectory.plan(want(vfat), seenOf(seen), then, true);
    expect((plan.refuse ?? []).map(({ code }) => code)).toEqual(codes);
    if (codes.length === 0) expect(does(plan)).toEqual(["chown /foo/bar from 0:0 to 5:0"]);
  });

  test("is said at first contact, and when it is given back by its path", () => {
    const first = hostDirectory.plan(want(vfat), seenOf(on("vfat")), undefined, false);
    expect(first.warnings?.[0]).toMatch(/^\/foo\/bar is on vfat \(\/dev\/sdb1\), where inode or birth/);
    expect(hostDirectory.plan(want(vfat), seenOf(on("vfat")), before("vfat"), true).warnings).toEqual([]);
    const back = hostDirectory.restore(
      want(vfat),
      before("vfat"),
      seenOf({ ...on("vfat"), entry: { ...root, uid: 5 } }),
    );
    expect(does(back)).toEqual(["give /foo/bar back to 0:0"]);
    expect(back.warnings).toEqual([
      "/foo/bar has another inode or time of birth than at first contact, as its file system (vfat) gives it: it is taken for the same directory by its path",
    ]);
  });

  test("no tree is taken over there, for its entries could not be found again", () => {
    const all = want({ directory: { recursive: true } });
    const { refuse } = hostDirectory.plan(
      all,
      seenOf({ ...on("vfat"), tree: treeOf([1, "alice", 3]) }),
      undefined,
      false,
    );
    expect(refuse?.map(({ code }) => code)).toContain("treeWithoutBirth");
  });

  test("what is remembered, and what stands, has its file system", () => {
    const seen = seenOf(on("vfat"));
    expect(hostDirectory.remember(want(), seen)).toMatchObject({ fileSystem: { type: "vfat" } });
    expect(hostDirectory.fingerprint?.({ ...seen, realPath: "/foo/bar" })).toMatchObject({
      fileSystem: { type: "vfat", source: "/dev/sdb1" },
    });
  });
});

describe("what QEMU makes of it is said", () => {
  const told = (args: Record<string, unknown>, seen: Partial<Seen> = {}): readonly string[] =>
    hostDirectory.plan(want(args), seenOf(seen), undefined, false).warnings ?? [];
  const squash = { accessMode: "squash" };
  const mayNot = (what: string, owner: string): string =>
    `QEMU (uid 64055, gid 108) may not ${what} /foo/bar, which is ${owner}, and so the guest cannot: directory.owner: "qemu" gives it to QEMU`;

  test.each<[string, Record<string, unknown>, Partial<Seen>, readonly string[]]>([
    ["squash on root's", squash, {}, [mayNot("write to", "0:0 0755")]],
    ["squash on one that is made", squash, { entry: undefined }, [mayNot("write to", "0:0 0755")]],
    [
      "squash on one that is made for it",
      { ...squash, directory: { owner: "qemu" } },
      { entry: undefined },
      [],
    ],
    ["squash on QEMU's", squash, { entry: qemu }, []],
    [
      "squash on QEMU's that it may not enter",
      squash,
      { entry: { ...qemu, mode: 0o655 } },
      [mayNot("write to", "64055:108 0655")],
    ],
    ["squash on one of its group", squash, { entry: { ...root, gid: 108, mode: 0o770 } }, []],
    ["squash on everybody's", squash, { entry: { ...root, mode: 0o1777 } }, []],
    ["squash on one with an access list", squash, { groupRights: 5 }, []],
    [
      "squash on root's, for root's QEMU",
      squash,
      {
        persistent: domainOf([], { dacLabel: { user: "0", group: "0" } }),
        mounts: [readOnly("/foo")].map((one) => ({ ...one, mountOptions: ["nosuid"] })),
      },
      [],
    ],
    ["read-only on root's", { ...squash, readOnly: true }, {}, []],
    [
      "read-only on a closed one",
      { ...squash, readOnly: true },
      { entry: { ...root, mode: 0o750 } },
      [mayNot("read", "0:0 0750")],
    ],
    ["mapped for somebody else", { directory: { owner: 5 } }, {}, [mayNot("write to", "5:108 0755")]],
    ["mapped", {}, {}, []],
  ])("%s", (_, args, seen, warnings) => {
    expect(told(args, seen)).toEqual(warnings);
  });

  const bound = mount("/x", "/foo/bar/bound");
  const sub = mount("/", "/foo/bar/sub", "8:2");
  const elsewhere = (names: readonly string[], ...mounts: readonly Mount[]): Partial<Seen> => ({
    entry: qemu,
    tree: { ...treeOf(), otherFileSystems: { count: names.length, names } },
    mounts: [mount("/", "/"), ...mounts],
  });
  test.each<[string, Record<string, unknown>, Partial<Seen>, string | undefined]>([
    ["another file system", {}, elsewhere(["sub"], sub), "(sub)"],
    [
      "one deeper than was looked",
      {},
      elsewhere([], bound, mount("/", "/foo/bar/x/disk", "8:2")),
      "(x/disk)",
    ],
    ["a subvolume", {}, elsewhere(["volume"], bound), "(volume)"],
    ["a bind mount of the same file system", {}, elsewhere(["bound"], bound), undefined],
    ["a bind mount and another file system", {}, elsewhere(["bound", "sub"], bound, sub), "(sub)"],
    ["none", {}, elsewhere([]), undefined],
    ["with remap", { multidevs: "remap" }, elsewhere(["sub"], sub), undefined],
  ])("inodes that collide: %s", (_, args, seen, named) => {
    const warnings = told(args, seen);
    expect(warnings).toEqual(
      named === undefined
        ? []
        : [
            `other file systems begin in /foo/bar ${named}, and QEMU may give the guest one inode number for two files of them: multidevs: "remap" tells them apart`,
          ],
    );
  });
});

describe("drift", () => {
  test.each<[string, Record<string, unknown>, Partial<Seen>, object]>([
    ["as wanted", {}, { entry: qemu }, { state: "ok", args: {}, notes: [] }],
    [
      "gone",
      {},
      { entry: undefined },
      {
        state: "missing",
        args: {},
        notes: ["the directory /foo/bar is not there"],
      },
    ],
    [
      "owner and group",
      {},
      {},
      {
        state: "differs",
        args: { "directory.owner": "root", "directory.group": "root" },
        notes: [],
      },
    ],
    [
      "an owner without a name",
      {},
      { entry: { ...qemu, uid: 12, user: "UNKNOWN" } },
      {
        state: "differs",
        args: { "directory.owner": "12" },
        notes: [],
      },
    ],
    [
      "mode",
      { directory: { mode: "750" } },
      { entry: qemu },
      {
        state: "differs",
        args: { "directory.mode": "0755" },
        notes: [],
      },
    ],
    [
      "what is untouched by default",
      { readOnly: true },
      { entry: { ...qemu, mode: 0o123 } },
      {
        state: "ok",
        args: {},
        notes: [],
      },
    ],
  ])("%s", (_, args, seen, expected) => {
    expect(hostDirectory.drift(want(args), seenOf(seen))).toEqual(expected);
  });
});

/** What is seen of a fact that a concern can do without, where the look at it failed. */
const unseen = { tree: undefined, hadPrivileges: undefined, principals: undefined, baselabels: undefined };
const nobodySeen = { ...unseen, unreadable: undefined, user: undefined, exports: undefined };

describe("restore without what it can do without", () => {
  const found: DirectoryBefore = {
    created: false,
    uid: 0,
    gid: 0,
    mode: "0755",
    inode: "11",
    born: "1763877000",
    attributes: {},
  };
  const back = (then: DirectoryBefore, args: object = {}) => {
    const seen = { ...seenOf({ entry: qemu, treeRemembered: true, linksMapped: true }), ...nobodySeen };
    return hostDirectory.restore(want({ ...args }), then, seen);
  };

  test.each([[{}], [{ host: { libvirtUri: "qemu:///session" } }]])("all comes back: %j", (args) => {
    const plan = back(found, args);
    const all = hostDirectory.restore(
      want(args),
      found,
      seenOf({
        entry: qemu,
        treeRemembered: true,
        linksMapped: true,
        user: { user: "0", group: "0", groups: [] },
      }),
    );
    expect(does(plan)).toEqual(does(all));
    expect(does(plan)).toContain("give /foo/bar back to 0:0");
    expect(plan.warnings).toEqual([]);
  });

  test("a directory that the share made stays, with its tree given back", () => {
    const seen = { ...seenOf({ entry: qemu, treeRemembered: true }), ...unseen, exports: [] };
    const plan = hostDirectory.restore(want(), { created: true }, seen);
    expect(does(plan)).toHaveLength(2);
    expect(plan.warnings).toEqual(["/foo/bar, which this share made, stays: what is in it cannot be seen"]);
  });
});

describe("restore", () => {
  const before = hostDirectory.remember(want(), seenOf());
  const restored = (seen: Partial<Seen>, then: DirectoryBefore = before, args = {}) => {
    const plan = hostDirectory.restore(want(args), then, seenOf(seen));
    return [does(plan), plan.warnings ?? []];
  };
  test.each<[string, Record<string, unknown>, Partial<Seen["entry"]>, string[]]>([
    [
      "a mode that somebody set since",
      {},
      { ...qemu, mode: 0o700 },
      ["mode 0700, which this share did not set; it gets 0755 back"],
    ],
    ["a mode that the share manages", { directory: { mode: "0770" } }, { ...qemu, mode: 0o700 }, []],
    ["an owner that the share manages", {}, { ...qemu, uid: 33 }, []],
    [
      "an owner that it does not",
      { readOnly: true },
      { ...root, uid: 33 },
      ["owner 33:0, which this share did not set; it gets 0:0 back"],
    ],
    ["QEMU's, by another share", { readOnly: true }, qemu, []],
  ])("what it did not change comes back and is said: %s", (_, args, now, says) => {
    const stood = { path: "/foo/bar", inode: "11", born: "1763877000", uid: 0, gid: 0, mode: 0o755 };
    const seen = seenOf({ entry: { ...root, ...now }, live: domainOf([device]) });
    const context = { ...alone, lastSeen: { directory: stood } };
    const told = hostDirectory.restore(want(args), before, seen, context).warnings ?? [];
    expect(told).toEqual(says.map((text) => expect.stringContaining(text) as string));
    expect(hostDirectory.restore(want(args), before, seen, alone).warnings).toEqual([]);
  });

  const attributes = { "user.virtfs.uid": "0x00000000" };
  test.each<[string, Partial<Seen>, DirectoryBefore | undefined, object, string[], string[]]>([
    [
      "owner, then attributes",
      { entry: qemu, attributes },
      undefined,
      {},
      ["give /foo/bar back to 0:0", "give /foo/bar its attributes back (user.virtfs.*)"],
      [],
    ],
    ["nothing where nothing differs", {}, undefined, {}, [], []],
    [
      "nothing where it is to be left",
      { entry: qemu },
      undefined,
      { directory: { onDelete: "leave" } },
      [],
      [],
    ],
    ["nothing where it is gone", { entry: undefined }, undefined, {}, [], []],
    [
      "not another directory",
      { entry: { ...qemu, inode: "12" } },
      undefined,
      {},
      [],
      ["/foo/bar is not the directory that was shared: its owner was left as it is"],
    ],
    [
      "not one that was made later, with its inode",
      { entry: { ...qemu, born: "1763879000" } },
      undefined,
      {},
      [],
      ["/foo/bar is not the directory that was shared: its owner was left as it is"],
    ],
    [
      "our own",
      { entry: qemu },
      { created: true },
      {},
      ["remove /foo/bar, which is empty and was made by this share"],
      [],
    ],
    [
      "our own, with files in it",
      { entry: qemu, tree: treeOf([64055, "q", 1]) },
      { created: true },
      {},
      [],
      ["/foo/bar, which this share made, stays: there are files in it"],
    ],
    [
      "our own, while QEMU has it",
      { entry: qemu, live: domainOf([device]) },
      { created: true },
      {},
      [],
      ["/foo/bar, which this share made, stays: the running QEMU has it open until its next power cycle"],
    ],
    [
      "our own, still declared",
      { entry: qemu, persistent: domainOf([{ ...device, tag: "other" }]) },
      { created: true },
      {},
      [],
      ["/foo/bar, which this share made, stays: the domain still declares it"],
    ],
    [
      "our own, with something that cannot be looked at",
      { entry: qemu, tree: { ...treeOf(), unreadable: { count: 1, names: ["'./a': Permission denied"] } } },
      { created: true },
      {},
      [],
      ["/foo/bar, which this share made, stays: not all in it can be looked at ('./a': Permission denied)"],
    ],
  ])("%s", (_, seen, then, args, steps, warnings) => {
    const [stepsFound, warningsFound] = restored(seen, then, args);
    expect(stepsFound).toEqual(steps);
    // The words of a warning are open, that there is one is not.
    expect(warningsFound).toHaveLength(warnings.length);
  });
});

describe("our own directory goes only where no domain's definition names it", () => {
  const exported = (more: Partial<NonNullable<Seen["exports"]>[number]>): Pick<Seen, "exports"> => ({
    exports: [
      {
        domain: "db2",
        uuid: "77e6fdd1-5a52-4a0c-8f6c-9a1d2b3c4d5e",
        driver: "virtiofs",
        source: "/foo/bar/",
        realPath: "/foo/bar",
        tag: "data",
        readOnly: true,
        accessMode: "passthrough",
        live: false,
        ...more,
      },
    ],
  });
  const names = "the definition of db2 names /foo/bar/ (virtiofs, tag data)";
  test.each<[string, Partial<Parameters<typeof hostDirectory.restore>[2]>, string | undefined]>([
    ["another domain's", exported({}), names],
    ["one that is in it", exported({ realPath: "/foo/bar/sub" }), names],
    ["a directory above it", exported({ realPath: "/foo" }), undefined],
    ["another directory", exported({ realPath: "/foo/bar2" }), undefined],
    [
      "the same by another path",
      { ...exported({ realPath: "/elsewhere" }), mounts: [mount("/", "/"), mount("/foo/bar", "/elsewhere")] },
      names,
    ],
    ["this very share's", { ...exported({ uuid, tag: "foobar" }), info }, undefined],
    ["the same domain's under another tag", { ...exported({ uuid }), info }, names],
    ["nobody can tell", { exports: undefined }, "what other domains export cannot be seen"],
  ])("%s", (_, seen, why) => {
    const context = { ...alone, tags: new Set(["foobar"]) };
    const all = { ...seenOf({ entry: qemu }), ...seen };
    const plan = hostDirectory.restore(want(), { created: true }, all, context);
    expect(plan).toMatchObject(
      why === undefined
        ? { steps: [{ does: "remove /foo/bar, which is empty and was made by this share" }], warnings: [] }
        : { steps: [], warnings: [`/foo/bar, which this share made, stays: ${why}`] },
    );
  });
});

describe("on a real directory", () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "virtio9p-directory-"));
    chmodSync(folder, 0o755);
  });
  afterEach(() => {
    rmSync(folder, { recursive: true });
  });

  /** All facts of the directory, looked up for real; what libvirt says is given. */
  function lookAt(path: string, args: Record<string, unknown> = {}): Seen {
    const libvirts = ["persistent", "live", "baselabels"];
    const facts: Record<string, Fact<unknown>> = hostDirectory.facts(want({ source: path, ...args }));
    const values = Object.fromEntries(
      Object.entries(facts)
        .filter(([name]) => !libvirts.includes(name))
        .map(([name, fact]) => [name, runFact(fact)]),
    );
    return {
      ...(values as unknown as Seen),
      live: undefined,
      persistent: domainOf([]),
      baselabels: noLabels,
    };
  }

  test("its access list and those above are read, and what cannot be read is not none", () => {
    const path = join(folder, "above/it's");
    mkdirSync(path, { recursive: true });
    const { groupRights, parents } = hostDirectory.facts(want({ source: path }));
    const saying = (says?: string) => (text: string) =>
      says === undefined
        ? text
        : `getfattr() { echo "x: system.posix_acl_access: ${says}" >&2; return 1; }\n${text}`;
    const lists = (says?: string) => [
      runFact(groupRights, saying(says)),
      runFact(parents, saying(says))[0]?.acl,
    ];
    expect(lists()).toEqual([undefined, false]);
    expect(lists("Operation not supported")).toEqual([undefined, false]);
    execFileSync("setfacl", ["-m", "g::rx,u:7:rwx", path, join(folder, "above")]);
    expect(lists()).toEqual([5, true]);
    for (const fact of [groupRights, parents])
      expect(() => runFact<unknown>(fact, saying("Input/output error"))).toThrow("Input/output error");
  });

  const names = ["plain", "with space", "quote'\"$(id)", "-n", "back\\tslash", "grüße"];
  // Other tests mount something meanwhile: `mounts` is not compared.

  test.each(names)("%j: made, taken, remembered, seen as wanted, given back", (name) => {
    const path = join(folder, name);
    mkdirSync(path, { mode: 0o2750 });
    chmodSync(path, 0o2750);
    const wanted = want({ source: path });
    const first = lookAt(path);
    const before = hostDirectory.remember(wanted, first);
    expect(before).toMatchObject({ created: false, uid: 0, gid: 0, mode: "2750", attributes: {} });
    runSteps(hostDirectory.plan(wanted, first, undefined, false).steps);
    const second = lookAt(path);
    expect(second.entry).toMatchObject({ kind: "directory", uid: 64055, gid: 108, mode: 0o2750 });
    expect(second.attributes).toEqual({
      "user.virtfs.uid": "0x00000000",
      "user.virtfs.gid": "0x00000000",
      "user.virtfs.mode": "0xe8450000",
    });
    expect(does(hostDirectory.plan(wanted, second, before, true))).toEqual([]);
    expect(hostDirectory.drift(wanted, second).state).toBe("ok");
    runSteps(hostDirectory.restore(wanted, before, second).steps);
    expect({ ...lookAt(path), mounts: first.mounts }).toEqual(first);
  });

  test("one that is not there: made with its mode, and removed again", () => {
    const path = join(folder, "new");
    const wanted = want({ source: path, directory: { mode: "0770" } });
    const first = lookAt(path);
    expect(first.attributes).toEqual({});
    runSteps(hostDirectory.plan(wanted, first, undefined, false).steps);
    const made = lookAt(path);
    expect(made.entry).toMatchObject({ uid: 64055, gid: 108, mode: 0o770 });
    runSteps(hostDirectory.restore(wanted, { created: true }, made).steps);
    expect(existsSync(path)).toBe(false);
  });

  test.each(["user.virtfs.gid", "user.virtfs.mode"])(
    "%s cannot be set: no attribute is left behind, and the owner stays",
    (name) => {
      const path = join(folder, "full");
      mkdirSync(path);
      const first = lookAt(path);
      const { steps } = hostDirectory.plan(want({ source: path }), first, undefined, false);
      // As compose() has it: no `set -e` around the steps.
      const full = sh`set +e
mark() { :; }
setfattr() {
  if [ "$2$3" = ${`-n${name}`} ]; then echo 'No space left on device' >&2; return 1; fi
  command setfattr "$@"
}`;
      const failed = runScript(sh`${full}
${untilFailure(steps)}
printf %s "$failed_0"`);
      expect(failed.toString()).toBe("0");
      expect({ ...lookAt(path), mounts: first.mounts }).toEqual(first);
    },
  );

  test("one whose parent is not there is refused", () => {
    const plan = hostDirectory.plan(
      want({ source: join(folder, "a/b") }),
      lookAt(join(folder, "a/b")),
      undefined,
      false,
    );
    expect(plan.refuse?.map(({ code }) => code)).toEqual(["sourceMissing"]);
  });

  test.each([
    [
      "a link",
      (path: string) => {
        symlinkSync("/tmp", path);
      },
      "sourceIsLink",
    ],
    [
      "a link to nothing",
      (path: string) => {
        symlinkSync("/nowhere", path);
      },
      "sourceIsLink",
    ],
    [
      "a file",
      (path: string) => {
        execFileSync("touch", ["--", path]);
      },
      "sourceNotDirectory",
    ],
  ])("%s is refused", (_, make, code) => {
    const path = join(folder, "x");
    make(path);
    expect(hostDirectory.plan(want({ source: path }), lookAt(path), undefined, false).refuse?.[0]?.code).toBe(
      code,
    );
  });

  test("owners are counted, names looked up, access lists seen", () => {
    const path = join(folder, "tree");
    mkdirSync(join(path, "a"), { recursive: true });
    execFileSync("touch", [join(path, "f"), join(path, "a", "new\nline")]);
    chownSync(join(path, "f"), 12345, 0);
    const seen = lookAt(path, { directory: { owner: "daemon", group: "no-such-group" } });
    expect(seen.tree.entries).toEqual(
      expect.arrayContaining([
        { kind: "directory", count: 1, uid: 0, gid: 0, user: "root", open: true },
        { kind: "file", count: 1, uid: 0, gid: 0, user: "root", open: true },
        { kind: "file", count: 1, uid: 12345, gid: 0, user: "", open: true },
      ]),
    );
    expect(seen.principals).toMatchObject({ "passwd daemon": 1, "group daemon": 1 });
    expect(seen.principals["group no-such-group"]).toBeUndefined();
    expect(seen.parents.map((parent) => parent.path)).toEqual([folder, "/tmp", "/"]);
    expect(seen.parents.map(({ acl }) => acl)).toEqual([false, false, false]);
    expect(statSync(path).ino).toBe(Number(seen.entry?.inode));
  });

  test("a group whose name has a space (winbind, sssd) does not shift the fields", () => {
    const { entry } = hostDirectory.facts(want());
    const parsed = entry.parse(statOutput(entry.script.text, folder), Buffer.alloc(0));
    expect(parsed).toMatchObject({ kind: "directory", group: "domain users" });
  });

  /** Runs the fact's script with a stat(1) that names the group as winbind does. */
  function statOutput(script: string, path: string): string {
    const fake = `stat() {
  for word; do shift; set -- "$@" "$(printf %s. "$word" | sed 's/%G/domain users/; s/\\.$//')"; done
  command stat "$@"
}
`;
    return execFileSync("/bin/sh", ["-c", fake + script.replaceAll("'/foo/bar'", `'${path}'`)], {
      encoding: "utf8",
      env: { ...process.env, LC_ALL: "C" },
    });
  }
});

describe("a tree of others", () => {
  const all = { directory: { recursive: true } };
  const others = { tree: treeOf([0, "root", 9]) };
  const taken = {
    entry: qemu,
    tree: treeOf([64055, "libvirt-qemu", 9]),
    treeRemembered: true,
    viewKept: true,
  };
  const takeTree = "take over all in /foo/bar for 64055:108, as the guest goes on seeing it";
  const treeBack = "give all in /foo/bar back to whom it was taken from";
  const forget = "forget what the entries of /foo/bar had";
  const kinds = (more: object): Partial<Seen> => ({ tree: { ...treeOf([0, "root", 9]), ...more } });
  const two = { count: 7, names: ["a", "b"] };

  test.each<[string, Record<string, unknown>, Partial<Seen>, string[]]>([
    ["is taken over before the directory", all, others, [takeTree, keep, take]],
    [
      "without showing it",
      { directory: { ...all.directory, keepOwners: false } },
      others,
      ["chown all in /foo/bar to 64055:108, and keep nothing of its owners", take],
    ],
    [
      "its group alone",
      { readOnly: true, directory: { recursive: true, group: 7 } },
      { entry: { ...root, gid: 7 }, tree: treeOf([0, "root", 9]) },
      ["take over all in /foo/bar for :7, as the guest goes on seeing it"],
    ],
    ["is left where that is written out", { directory: { recursive: false } }, others, [keep, take]],
    ["is nothing to do where it is QEMU's", all, taken, []],
    [
      "links and devices of others are left",
      all,
      {
        ...taken,
        ...kinds({ entries: [{ kind: "link", uid: 0, gid: 0, count: 2, user: "root", open: true }] }),
      },
      [],
    ],
    [
      "files that QEMU could not use are opened",
      all,
      {
        ...taken,
        ...kinds({ entries: [{ kind: "file", uid: 64055, gid: 108, count: 2, user: "", open: false }] }),
      },
      [takeTree],
    ],
    [
      "but not where the modes are the guest's own",
      { accessMode: "passthrough", directory: { recursive: true, owner: 64055, group: 108 } },
      {
        ...taken,
        ...kinds({ entries: [{ kind: "file", uid: 64055, gid: 108, count: 2, user: "", open: false }] }),
      },
      [],
    ],
    ["what a killed run did not show yet is shown", all, { ...taken, viewKept: false }, [takeTree]],
  ])("%s", (_, args, seen, steps) => {
    const plan = hostDirectory.plan(want(args), seenOf(seen), undefined, false);
    expect(plan.refuse ?? []).toEqual([]);
    expect(does(plan)).toEqual(steps);
  });

  test.each<[string, Record<string, unknown>, Partial<Seen>, RegExp]>([
    ["treePrivileged", all, kinds({ privileged: two }), /setuid or setgid \(7: a, b, \.\.\.\)/],
    ["treeLinkedOut", all, kinds({ linkedOut: two }), /a name outside/],
    ["treeOfFileSystems", all, kinds({ otherFileSystems: two }), /begin in \/foo\/bar \(7: a, b, /],
    [
      "treeOfFileSystems",
      all,
      { ...others, mounts: [{ mountPoint: "/foo/bar/x/y" } as Mount] },
      /\(1: x\/y\)/,
    ],
    [
      "fileSystemReadOnly",
      all,
      { ...others, mounts: [mount("/", "/"), readOnly("/foo")] },
      /\/foo, which it is on/,
    ],
    ["fileSystemReadOnly", {}, { entry: undefined, mounts: [readOnly("/")] }, /\/, which it is on/],
    ["treeWithoutBirth", all, { ...others, entry: { ...root, born: "0" } }, /when a file was made/],
    [
      "treeOfOthers",
      { ...all, host: { libvirtUri: "qemu:///session" } },
      others,
      /do not belong to the connecting user/,
    ],
  ])("is refused: %s", (code, args, seen, what) => {
    const { refuse } = hostDirectory.plan(want(args), seenOf(seen), undefined, false);
    expect(refuse?.map((one) => one.code)).toContain(code);
    expect(refuse?.find((one) => one.code === code)?.what).toMatch(what);
  });

  test("links of the host are counted at first contact, mapped where that is asked for, and made again", () => {
    const link = { kind: "link", uid: 0, gid: 0, count: 3, user: "root", open: true } as const;
    const links = kinds({ entries: [link] });
    const [map, again] = [
      "make the links in /foo/bar that were made on the host readable for the guest",
      "make the links in /foo/bar again that were there",
    ];
    const seen = seenOf({ ...taken, ...links, treeRemembered: false });
    const told = hostDirectory.plan(want(all), seen, undefined, false);
    expect([does(told), told.warnings]).toEqual([
      [],
      [
        expect.stringMatching(
          /^3 symbolic links in \/foo\/bar were made on the host: .* \(directory.links: map/,
        ),
      ],
    ]);
    const mapping = { directory: { recursive: true, links: "map" } };
    expect(does(hostDirectory.plan(want(mapping), seen, undefined, false))).toEqual([map]);
    expect(hostDirectory.drift(want(mapping), seen)).toMatchObject({
      notes: ["/foo/bar holds links that are not mapped"],
    });
    const mapped = seenOf({ ...taken, treeRemembered: false, linksMapped: true });
    expect(does(hostDirectory.plan(want(mapping), mapped, undefined, false))).toEqual([]);
    expect(does(hostDirectory.plan(want(all), mapped, undefined, false))).toEqual([again]);
    const back = hostDirectory.restore(want(mapping), before, { ...mapped, treeRemembered: true }, undefined);
    expect(does(back).slice(0, 2)).toEqual([treeBack, again]);
  });

  test("is taken over beside other file systems where they may be left", () => {
    const args = { directory: { recursive: true, otherFileSystems: "leave" } };
    const seen = seenOf(kinds({ otherFileSystems: two }));
    expect(hostDirectory.plan(want(args), seen, undefined, false).refuse).toBeUndefined();
  });

  describe("with a file system that 0.1.0 took over with it", () => {
    const args = { directory: { recursive: true, otherFileSystems: "leave" } };
    const root = { path: "/foo/bar/sub", identity: "3f1c:256:1763877001.5", outer: "/foo/bar" };
    const inner = { name: "77b2", path: "/foo/bar/sub", root, linksMapped: false, hadPrivileges: 0 };
    const [innerBack, innerForgotten] = [
      "give all in /foo/bar/sub back to whom it was taken from",
      "forget what the entries of file systems in /foo/bar had",
    ];

    test("it is left as it is on the way up", () => {
      const seen = seenOf({ ...taken, takenWith: [inner] });
      expect(does(hostDirectory.plan(want(args), seen, undefined, false))).toEqual([]);
    });

    test("it is given back with it, links and all, and privileges are counted", () => {
      const seen = seenOf({ ...taken, takenWith: [{ ...inner, hadPrivileges: 3, linksMapped: true }] });
      const back = hostDirectory.restore(want(args), before, seen, undefined);
      expect(does(back).slice(0, 5)).toEqual([
        innerBack,
        treeBack,
        "make the links in /foo/bar/sub again that were there",
        innerForgotten,
        forget,
      ]);
      expect(back.warnings).toEqual([expect.stringMatching(/^in \/foo\/bar these had setuid.*: 3 files$/)]);
    });

    test("where it is not there, nothing is given back by half", () => {
      const seen = seenOf({ ...taken, takenWith: [{ ...inner, root: undefined }] });
      const back = hostDirectory.restore(want(args), before, seen, undefined);
      expect([back.steps, back.refuse?.map(({ code }) => code)]).toEqual([[], ["sourceVanished"]]);
    });

    test("it is forgotten where nothing is to be given back", () => {
      const leave = { directory: { ...args.directory, onDelete: "leave" } };
      const seen = seenOf({ ...taken, takenWith: [inner] });
      expect(does(hostDirectory.restore(want(leave), before, seen, undefined))).toEqual([
        innerForgotten,
        forget,
      ]);
    });
  });

  describe("where one share has a directory in another's tree", () => {
    const inside = { ...taken, takenAround: ["/foo"], ...recordsOf("/foo", "/foo/bar") };
    const asIs = { readOnly: true, directory: {} };

    test.each<[string, Record<string, unknown>, Partial<Seen>, boolean]>([
      ["the smaller one, in a tree that was taken over", {}, inside, true],
      ["the smaller one with a mode", { ...asIs, directory: { mode: "0750" } }, inside, true],
      ["not one that is read-only", asIs, inside, false],
      ["not one that leaves owners alone", { accessMode: "passthrough" }, inside, false],
      ["not where the larger one is no share's any more", {}, { ...inside, records: [] }, false],
      [
        "the larger one, whose takeover would take owners that another has changed",
        all,
        { ...others, changedInside: ["/foo/bar/in"] },
        true,
      ],
      [
        "not the larger one that takes nothing over",
        { directory: { recursive: false } },
        { ...others, changedInside: ["/foo/bar/in"] },
        false,
      ],
    ])("is refused: %s", (_, args, seen, refused) => {
      const { refuse = [] } = hostDirectory.plan(want(args), seenOf(seen), undefined, false);
      expect(refuse.map(({ code }) => code)).toEqual(refused ? ["treeOfOthers"] : []);
      if (refused) expect(refuse[0]?.what).toMatch(/\/foo\/bar.* (\/foo|\/foo\/bar\/in), /);
    });

    test("the owner that the larger one has changed is that one's to give back", () => {
      const back = hostDirectory.restore(want(asIs), before, seenOf(inside), undefined);
      expect(does(back)).not.toContain("give /foo/bar back to 0:0");
      expect(does(hostDirectory.restore(want(asIs), before, seenOf(taken), undefined))).toContain(
        "give /foo/bar back to 0:0",
      );
    });
  });

  test("is taken over with setuid files where they may lose that", () => {
    const args = { directory: { recursive: true, privileged: "strip" } };
    expect(
      hostDirectory.plan(want(args), seenOf(kinds({ privileged: two })), undefined, false).refuse,
    ).toBeUndefined();
  });

  test("without a snapshot it is said what destroy cannot do", () => {
    const forGood = { directory: { ...all.directory, keepOwners: false } };
    const told = (seen: Partial<Seen>) =>
      hostDirectory.plan(want(forGood), seenOf(seen), undefined, false).warnings;
    expect(told({ ...others, tree: treeOf([0, "root", 9]) })).toEqual([
      "directory.keepOwners is false, so whose the entries of /foo/bar were is written down nowhere, and destroy cannot give them back: 9 of root (0)",
    ]);
    expect(told({ entry: qemu, tree: treeOf([64055, "libvirt-qemu", 9]) })).toEqual([]);
  });

  test("what is not taken over is drift", () => {
    const drift = hostDirectory.drift(want(all), seenOf({ ...taken, tree: treeOf([0, "root", 2]) }));
    expect(drift).toEqual({
      state: "differs",
      args: {},
      notes: ["/foo/bar holds entries that are not taken over: 2 of root (0)"],
    });
  });

  const before: DirectoryBefore = {
    created: false,
    uid: 0,
    gid: 0,
    mode: "0755",
    inode: "11",
    born: "1763877000",
    attributes: {},
  };
  test.each<[string, Record<string, unknown>, Partial<Seen>, DirectoryBefore, string[], RegExp[]]>([
    [
      "given back before the directory",
      all,
      taken,
      before,
      [treeBack, forget, "give /foo/bar back to 0:0"],
      [],
    ],
    [
      "of our own directory too",
      all,
      taken,
      { created: true },
      [treeBack, forget],
      [/there are files in it/],
    ],
    [
      "left, and forgotten",
      { directory: { recursive: true, onDelete: "leave" } },
      taken,
      before,
      [forget],
      [],
    ],
    [
      "kept in mind where the directory is gone",
      all,
      { ...taken, entry: undefined },
      before,
      [],
      [/is kept on the host, in \/var\/lib\/virtio9p\/owners\/[0-9a-f]{32}$/],
    ],
    [
      "told what does not come back",
      all,
      { ...taken, hadPrivileges: two },
      before,
      [treeBack, forget, "give /foo/bar back to 0:0"],
      [/a, b, and 5 more$/],
    ],
  ])("on the way back is %s", (_, args, seen, then, steps, warnings) => {
    const plan = hostDirectory.restore(want(args), then, seenOf(seen));
    expect(does(plan)).toEqual(steps);
    expect(plan.warnings ?? []).toEqual(warnings.map((one) => expect.stringMatching(one) as string));
  });
});
