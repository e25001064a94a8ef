import { denialsAt } from "../../../../provider/layers/shared/denials";
import { directoryFacts, type DirectorySeen } from "../../../../provider/layers/directory/probes";
import { hostDirectory } from "../../../../provider/layers/directory/index";
import { mountPointOf } from "../../../../provider/layers/mount/probes";
import { labelsOf } from "../../../../provider/layers/selinux/probes";
import { treeIn } from "../../../../provider/layers/directory/tree/probe";
import { giveLinksBack, mapLinks } from "../../../../provider/layers/directory/tree/symlinks";
import { giveTreeBack, takeOver } from "../../../../provider/layers/directory/tree/takeover";
import { parseMountinfo } from "../../../../provider/formats/mountinfo";
import { domainOf, specOf, treeOf } from "../../sample";
import { ScratchTree } from "../../scratch-tree";
import { runFact, runScript } from "../../shell-machine";
import { ClosedMounts } from "../../support/closed-mounts";

/** Mounts below a share's directory, or on it, that not even root can look at. */
// Before the folder is removed.
const mounts = new ClosedMounts();
afterEach(() => {
  mounts.release();
});
const scratch = new ScratchTree(
  String.raw`mkdir -p tree/sub/own $'tree/de\nad [x]*' tree/sub/own/hidden; touch tree/a tree/sub/b; ln -s a tree/link
chown -R 1000:1001 tree`,
);
const { records } = scratch;
const { missing } = ClosedMounts;
if (missing !== undefined)
  process.stderr.write(`${missing}: nothing is tried with mounts that let nobody in\n`);
const tried = missing === undefined ? test : test.skip;
const none = { count: 0, names: [] };
const mountBoth = async (): Promise<void> => {
  await mounts.ofUser(`${scratch.path}/sub/own`);
  await mounts.dead(`${scratch.path}/de\nad [x]*`);
};

/** The value of a fact that was not waited for until the dead mount went. */
const quickly = <T>(look: () => T): T => {
  const began = Date.now();
  const seen = look();
  expect(Date.now() - began).toBeLessThan(25_000);
  return seen;
};

const counted = () => {
  const { entries, unreadable, otherFileSystems } = runFact(treeIn(scratch.path), records);
  const kinds = entries.map(({ kind, count, uid, gid }) => `${count} ${kind} ${uid}:${gid}`).sort();
  return { kinds, unreadable, names: [...otherFileSystems.names].sort() };
};

tried("in the tree they are named, not entered, and block nothing", async () => {
  await mountBoth();
  expect(counted()).toEqual({
    kinds: ["1 directory 1000:1001", "1 link 1000:1001", "2 file 1000:1001"],
    unreadable: none,
    names: ["de\nad [x]*", "sub/own"],
  });
});

tried("what lies beside them is taken over, and given back", async () => {
  await mountBoth();
  const everything = (): string =>
    scratch.bash("cd tree; stat -c '%n %U:%G %a %F' a sub sub/b link; readlink link || :");
  const before = everything();
  runScript(
    takeOver(scratch.at, { uid: 1, gid: 2, keepOwners: true, opens: true, strips: false }).run,
    records,
  );
  runScript(mapLinks(scratch.at, { uid: 1, gid: 2 }).run, records);
  expect(counted().kinds).toEqual(["1 directory 1:2", "3 file 1:2"]);
  runScript(giveTreeBack(scratch.at).run, records);
  runScript(giveLinksBack(scratch.at).run, records);
  expect(everything()).toBe(before);
});

tried.each(["command -v matchpathcon", "false"])(
  "the labels beside them are counted, by %s",
  async (known) => {
    const label = "system_u:object_r:var_t:s0";
    scratch.bash(`find tree -exec setfattr -h -n security.selinux -v ${label} {} +
mkdir -p fs etc/targeted/contexts/files; touch fs/enforce etc/targeted/contexts/files/file_contexts`);
    await mountBoth();
    const seen = runFact(labelsOf(scratch.path), (text) =>
      scratch
        .records(text)
        .replaceAll("/sys/fs/selinux", `${scratch.folder}/fs`)
        .replaceAll("/etc/selinux", `${scratch.folder}/etc`)
        .replaceAll("command -v matchpathcon", known),
    );
    expect(seen).toEqual({ own: label, inside: [{ context: label, count: 4 }], links: true });
  },
);

tried("a denial beside them is found", async () => {
  const inode = scratch.bash("stat -c %i tree/sub/b").trim();
  const line = `avc:  denied  { write } for  pid=812 comm="qemu-system-x86" name="b" dev="vda" ino=${inode} scontext=system_u:system_r:svirt_t:s0:c1,c2 tcontext=system_u:object_r:etc_t:s0 tclass=file permissive=0`;
  scratch.bash(`echo '[1.0] audit(${Math.floor(Date.now() / 1000)}.123:45): ${line}' > log; touch audit`);
  await mountBoth();
  const inFolder = (text: string): string =>
    records(text)
      .replace("dmesg", `cat ${scratch.folder}/log`)
      .replace("/var/log/audit/audit.log", `${scratch.folder}/audit`);
  expect(quickly(() => runFact(denialsAt(scratch.path), inFolder))).toEqual([line]);
});

tried("what is beside them in a mount point is listed, and they are named", async () => {
  scratch.bash("rmdir tree/de*; mkdir tree/dead; touch tree/sub/own/below");
  await mounts.ofUser(`${scratch.path}/sub/own`);
  await mounts.dead(`${scratch.path}/dead`);
  const { entries } = quickly(() => runFact(mountPointOf(scratch.path), records));
  expect([...(entries ?? [])].sort()).toEqual(
    ["a", "dead", "link", "sub", "sub/b", "sub/own"].map((name) => `${scratch.path}/${name}`),
  );
});

/** What is seen of the directory itself, with a domain. */
const seen = (): DirectorySeen => {
  const { entry, unreadable, realPath, attributes, tree, parents } = directoryFacts(want());
  const look = { entry, unreadable, realPath, attributes, tree, parents };
  const found = Object.fromEntries(
    Object.entries(look).map(([name, fact]) => [name, runFact<unknown>(fact, records)]),
  );
  return {
    groupRights: undefined,
    records: [],
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
    baselabels: () => undefined,
    user: { user: "0", group: "0", groups: ["0"] },
    mounts: parseMountinfo(scratch.bash("cat /proc/self/mountinfo")),
    ...(found as Pick<DirectorySeen, keyof typeof look>),
  };
};
const want = (args: Record<string, unknown> = {}) => {
  const wanted = hostDirectory.want(specOf({ source: scratch.path, accessMode: "squash", ...args }));
  if (!wanted) throw new Error("not managed");
  return wanted;
};

tried("the source itself is refused by its name, and the way back leaves it with a warning", async () => {
  await mounts.ofUser(scratch.path);
  const plan = hostDirectory.plan(want(), seen(), undefined, false);
  expect(plan.steps).toEqual([]);
  expect(plan.refuse?.map(({ code, what }) => `${code}: ${what}`)[0]).toBe(
    `sourceUnreadable: ${scratch.path} cannot be looked at: Permission denied; it is on ${scratch.path} (fuse of nobody), which lets in nobody but the user 65534, not even root`,
  );
  const before = {
    created: false,
    uid: 0,
    gid: 0,
    mode: "0755",
    inode: "1",
    born: "1",
    attributes: {},
  } as const;
  expect(hostDirectory.restore(want(), before, seen())).toEqual({
    steps: [],
    warnings: [`${scratch.path} cannot be looked at (Permission denied): its owner was left as it is`],
  });
  expect(hostDirectory.drift(want(), seen()).state).toBe("unknown");
});

tried("one that lets root in and not QEMU is refused, too", async () => {
  await mounts.ofUser(scratch.path, 1000);
  const there = {
    kind: "directory",
    uid: 1000,
    gid: 1000,
    user: "alice",
    group: "alice",
    mode: 0o755,
    inode: "1",
    born: "0",
  } as const;
  const codes = (uid: string) =>
    hostDirectory
      .plan(
        want(),
        {
          ...seen(),
          entry: there,
          unreadable: undefined,
          tree: treeOf(),
          persistent: domainOf([], { dacLabel: { user: uid, group: uid } }),
        },
        undefined,
        false,
      )
      .refuse?.map(({ code }) => code);
  expect(codes("64055")).toContain("sourceUnreadable");
  expect(codes("1000") ?? []).not.toContain("sourceUnreadable");
});
