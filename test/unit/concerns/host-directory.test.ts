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
import type { DirectoryBefore, DirectoryWant } from "../../../provider/concerns/directory-facts";
import { hostDirectory } from "../../../provider/concerns/host-directory";
import { alone, type Fact } from "../../../provider/engine/concern";
import { untilFailure } from "../../../provider/engine/script";
import type { Mount } from "../../../provider/formats/mountinfo";
import { sh } from "../../../provider/formats/shell";
import { device, domainOf, specOf } from "../sample";
import { does, runFact, runScript, runSteps } from "../shell-machine";

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

const seenOf = (more: Partial<Seen> = {}): Seen => ({
  entry: root,
  realPath: "/foo/bar",
  mounts: [],
  recorded: [],
  parents: above,
  attributes: {},
  owners: [],
  principals: {},
  live: undefined,
  persistent: domainOf([]),
  baselabels: noLabels,
  user: { user: "1000", group: "1001" },
  ...more,
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
          "user.virtfs.mode": "0xed410000",
        },
      },
      [take],
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
    [
      "QEMU's own files in it",
      {},
      { owners: [{ uid: 64055, user: "libvirt-qemu", count: 3 }] },
      [keep, take],
    ],
    [
      "others' files, and only the directory is taken",
      { directory: { recursive: false } },
      { owners: [{ uid: 0, user: "root", count: 3 }] },
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
    const mounts = [mount("/", "/"), mount("/srv/a", "/foo/bar"), mount("/srv/a", "/elsewhere", "8:2")];
    const codes = (recorded: readonly string[], before?: DirectoryBefore, known = false) =>
      hostDirectory.plan(want(), seenOf({ mounts, recorded }), before, known).refuse ?? [];

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
      "/foo/bar is not the directory that it was: inode 11 made at 1763877000, it was 11 made at 1763870000",
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
        owners: [
          { uid: 0, user: "root", count: 9 },
          { uid: 64055, user: "libvirt-qemu", count: 5 },
          { uid: 12, user: "12", count: 1 },
        ],
      },
      undefined,
      "/foo/bar holds entries of other owners: 9 of root (0), 1 of 12 (12)",
      "write directory.recursive: false to take only the directory itself; taking a tree over with its owners kept is not available in this release",
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
    const seen = seenOf({ persistent: domainOf([], { dacLabel: undefined }) });
    const plan = hostDirectory.plan(
      want({ host: { libvirtUri: "qemu:///session" } }),
      seen,
      undefined,
      false,
    );
    expect(plan.refuse ?? []).toEqual([]);
    expect(does(plan)).toEqual([keep, "chown /foo/bar from 0:0 to 1000:1001"]);
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
    const context = { ...alone, stood: { directory: stood } };
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
      [
        "give /foo/bar back to 0:0",
        "chmod /foo/bar from 0755 to 0755",
        "give /foo/bar its attributes back (user.virtfs.*)",
      ],
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
      { entry: qemu, owners: [{ uid: 64055, user: "q", count: 1 }] },
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
  ])("%s", (_, seen, then, args, steps, warnings) => {
    const [stepsFound, warningsFound] = restored(seen, then, args);
    expect(stepsFound).toEqual(steps);
    // The words of a warning are open, that there is one is not.
    expect(warningsFound).toHaveLength(warnings.length);
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
  const names = ["plain", "with space", "quote'\"$(id)", "-n", "back\\tslash", "grüße"];

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
    expect(lookAt(path)).toEqual(first);
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
printf %s "$failed"`);
      expect(failed.toString()).toBe("0");
      expect(lookAt(path)).toEqual(first);
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
    expect(seen.owners).toEqual([
      { count: 2, uid: 0, user: "root" },
      { count: 1, uid: 12345, user: "12345" },
    ]);
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
