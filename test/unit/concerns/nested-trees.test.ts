import { join } from "node:path";
import { nameOf } from "../../../provider/concerns/ledger";
import { type NestedSeen, takenIn, unnestable, unreturnable } from "../../../provider/concerns/nested-checks";
import {
  identitiesAbove,
  nestedRoots,
  type NestedRoot,
  takenOnHost,
  takenWith,
} from "../../../provider/concerns/nested-facts";
import { forgetNested, keepNested } from "../../../provider/concerns/nested-steps";
import { ledgerOf } from "../../../provider/concerns/tree-at";
import { treeIn } from "../../../provider/concerns/tree-facts";
import { forgetTree, giveTreeBack, takeOver } from "../../../provider/concerns/tree-steps";
import type { Mount } from "../../../provider/formats/mountinfo";
import { ScratchTree } from "../scratch-tree";
import { runFact, runScript } from "../shell-machine";

/** With a file system mounted in a real tree, as root. */
const format = "truncate -s 8M image; mkfs.ext4 -q image; mount -o loop image 'tree/in ner\\x'";
afterEach(() => {
  bash("umount 'tree/in ner\\x' || :");
});
const scratch = new ScratchTree(`mkdir -p 'tree/in ner\\x'; touch tree/out; ${format}
cd 'tree/in ner\\x'; touch a; chown 1234:7 .; chown 5:6 a; chmod 750 .`);
const { records } = scratch;
const bash = (script: string): string => scratch.bash(script);
const tree = (): string => scratch.path;
const inner = (): string => join(tree(), "in ner\\x");
const taker = { uid: 64055, gid: 64056, keepOwners: true, opens: true, strips: false };

const everything = (): string =>
  bash(`cd 'tree/in ner\\x'; find . -printf '%p %y %U:%G %m %n %s %T@ %l\\n' | sort
find . -print0 | sort -z | xargs -0 getfattr -h -d -m - -e hex -- 2>/dev/null`);
const roots = (): readonly NestedRoot[] => runFact(nestedRoots(tree(), true), records).roots;

const taken = () =>
  takenIn({ nested: { roots: roots(), more: false }, takenWith: runFact(takenWith(tree()), records) });
const takeAll = (found = roots()): void => {
  runScript(keepNested(tree(), found, []).run, records);
  for (const root of found) runScript(takeOver(root, taker, []).run, records);
};

test("a file system in a tree is found with all in it, taken over with its own directory, and given back", () => {
  const found = roots();
  expect(found).toEqual([
    {
      path: inner(),
      identity: expect.stringMatching(/^[0-9a-f]{9,}:2:\d+\.\d{9}$/) as string,
      outer: tree(),
      lacks: [],
    },
  ]);
  const counted = runFact(treeIn(tree(), true, true), (text) => `mark=m\n${text}`);
  const entries = counted.entries.map(({ kind, uid, count }) => `${kind} ${uid} ${count}`).sort();
  // lost+found is there, too.
  expect(entries).toEqual(["directory 0 1", "directory 1234 1", "file 0 1", "file 5 1"]);
  expect(counted.otherFileSystems.count).toBe(0);
  const before = everything();
  takeAll();
  expect(
    bash(`find 'tree/in ner\\x' ! '(' -uid 64055 -a -gid 64056 -a -perm -u+rw ')'; stat -c %u tree/out`),
  ).toBe("0\n");
  expect(taken()).toMatchObject([
    {
      roots: [{ path: inner() }],
      taken: {
        path: inner(),
        viewKept: true,
        linksMapped: false,
        hadPrivileges: { count: 0 },
      },
    },
  ]);
  expect(runFact(takenWith(join(scratch.folder, "another")), records)).toEqual([]);
  expect([...runFact(takenOnHost, records)]).toEqual(taken().map((one) => one.taken.name));
  expect(runFact(identitiesAbove(join(inner(), "deep")), records)).toContain(found[0]?.identity);
  for (const root of found) runScript(giveTreeBack(root).run, records);
  runScript(
    forgetNested(
      tree(),
      taken().map((one) => one.taken.name),
    ).run,
    records,
  );
  expect(everything()).toBe(before);
  expect(taken()).toEqual([]);
  runScript(forgetTree(tree()).run, records);
  expect(bash("find records -type f")).toBe("");
});

test("it is known by what it is: by another path, and not what is at its path instead", () => {
  const before = everything();
  takeAll();
  bash(`umount 'tree/in ner\\x'; mkdir tree/other; mount -o loop image tree/other
truncate -s 8M second; mkfs.ext4 -q second; mount -o loop second 'tree/in ner\\x'`);
  try {
    const [at] = taken();
    const there = at?.roots[0];
    if (!there) throw new Error("it was not found");
    expect([there.path, at.taken.path]).toEqual([join(tree(), "other"), inner()]);
    // By its former path alone it is not touched, nor forgotten.
    expect(() => runScript(giveTreeBack({ ...there, path: inner() }).run, records)).toThrow(
      /taken the place/,
    );
    takeAll();
    runScript(giveTreeBack(there).run, records);
    bash("umount tree/other; umount 'tree/in ner\\x'; mount -o loop image 'tree/in ner\\x'");
    expect(everything()).toBe(before);
    const seen = { nested: { roots: roots(), more: false }, takenWith: runFact(takenWith(tree()), records) };
    expect(
      takenIn(seen)
        .map((one) => one.roots.length)
        .sort(),
    ).toEqual([0, 1]);
    expect(unreturnable(tree(), seen).map(({ code }) => code)).toEqual(["sourceVanished"]);
  } finally {
    bash("umount tree/other 2>/dev/null || :");
  }
});

test("undone, the list has what is taken over and no more", () => {
  const [root] = roots();
  if (!root) throw new Error("none was found");
  const step = keepNested(tree(), [root], []);
  if (!step.undo) throw new Error("it has no undo");
  runScript(step.run, records);
  runScript(step.undo, records);
  expect(bash("find records -type f")).toBe("");
  takeAll([root]);
  const more = keepNested(tree(), [root, { ...root, identity: "-:3:4.5", path: "/another" }], []);
  runScript(more.run, records);
  runScript(more.undo ?? more.run, records);
  expect(bash("cat records/owners/nested.* | cut -d ' ' -f 2-")).toBe(`${tree()}/in\\040ner\\134x\n`);
});

test("nothing is taken while the directory of a share is not where it was", () => {
  bash("mkdir -p tree/x/share");
  const share = { path: join(tree(), "x/share"), identity: bash("stat -c %i:%.9W tree/x/share").trim() };
  runScript(keepNested(tree(), roots(), [share]).run, records);
  bash("mv tree/x tree/y");
  for (const one of [share, { ...share, identity: undefined }])
    expect(() => runScript(keepNested(tree(), roots(), [one]).run, records)).toThrow(
      /the directory of a share is not there: .*x\/share/,
    );
});

test("a snapshot of btrfs, whose inodes and births are those of its original, is told from it", () => {
  bash(`truncate -s 120M btrfs; mkfs.btrfs -q btrfs; mkdir -p tree/b; mount -o loop btrfs tree/b
btrfs -q subvolume create tree/b/sub; echo x > tree/b/sub/f; chown 5:5 tree/b/sub/f
btrfs -q subvolume snapshot tree/b/sub tree/b/snap; chown 6:6 tree/b/snap/f`);
  try {
    takeAll();
    // As a guest can.
    bash("cd tree/b; mv sub z; mv snap sub; mv z snap");
    for (const one of taken()) for (const root of one.roots) runScript(giveTreeBack(root).run, records);
    expect(bash("stat -c %u tree/b/snap/f tree/b/sub/f")).toBe("5\n6\n");
  } finally {
    bash("umount tree/b");
  }
});

test("nothing is looked for where it is not asked, or where the directory is not there", () => {
  expect(runFact(nestedRoots(tree(), false), records).roots).toEqual([]);
  expect(runFact(nestedRoots(join(scratch.folder, "no"), true), records).roots).toEqual([]);
});

test("one whose name is no UTF-8 is not told", () => {
  bash(`cd tree; mkdir $'\\xff'; mount -t tmpfs none $'\\xff'`);
  try {
    const told = runFact(nestedRoots(tree(), true), records);
    expect([told.more, told.roots.map(({ path }) => path)]).toEqual([true, [inner()]]);
  } finally {
    bash(`umount tree/$'\\xff'`);
  }
});

describe("refused", () => {
  const root = (more: Partial<NestedRoot> = {}): NestedRoot => ({
    path: "/srv/a/sub",
    identity: "3f1c:2:1763877000.5",
    outer: "/srv/a",
    lacks: [],
    ...more,
  });
  const told = (...roots: readonly NestedRoot[]) => ({ roots, more: false });
  const mount = (device: string, of: string, mountPoint: string): Mount => ({
    id: 1,
    parent: 1,
    device,
    root: of,
    mountPoint,
    mountOptions: ["rw"],
    type: "ext4",
    source: "/dev/sda1",
    superOptions: ["rw"],
  });
  const nothing = {
    nested: told(root()),
    takenOnHost: new Set<string>(),
    mounts: [mount("8:1", "/", "/")],
    recorded: ["/srv/a"],
    takenWith: [],
  };
  const theirs = new Set([
    nameOf(ledgerOf("owners", { path: "/srv", outer: "/srv", identity: "3f1c:2:1763877000.5" })),
  ]);
  test.each<[string, Partial<NestedSeen>, string[]]>([
    ["nothing: a subvolume", {}, []],
    ["nothing: a mount", { mounts: [mount("8:1", "/", "/"), mount("8:2", "/", "/srv/a/sub")] }, []],
    ["more than can be told", { nested: { roots: [root()], more: true } }, ["treeOfFileSystems"]],
    [
      "a directory of the same file system that is mounted there",
      { nested: told(), mounts: [mount("8:1", "/", "/"), mount("8:1", "/etc", "/srv/a/sub")] },
      ["treeOfFileSystems"],
    ],
    [
      "a directory of another one that is mounted elsewhere",
      { mounts: [mount("8:2", "/", "/home"), mount("8:2", "/alice", "/srv/a/sub")] },
      ["treeOfFileSystems"],
    ],
    ["a file that is mounted there", { mounts: [mount("8:2", "/f", "/srv/a/file")] }, ["treeOfFileSystems"]],
    ["one that has a share of its own", { recorded: ["/srv/a", "/srv/a/sub/x"] }, ["treeOfFileSystems"]],
    [
      "one that was taken over with another directory",
      { takenOnHost: theirs, recorded: ["/srv", "/srv/a"] },
      ["treeOfFileSystems"],
    ],
    ["nothing: what a share that is no more took over", { takenOnHost: theirs }, []],
    [
      "a subvolume that is mounted elsewhere, too",
      { mounts: [mount("0:9", "/", "/"), mount("0:9", "/srv/a/sub", "/home")] },
      ["treeOfFileSystems"],
    ],
    [
      "one of which a part is mounted elsewhere, too",
      { mounts: [mount("8:1", "/", "/"), mount("8:2", "/", "/srv/a/sub"), mount("8:2", "/d", "/mnt")] },
      ["treeOfFileSystems"],
    ],
    [
      "two that are the same to us",
      { nested: told(root(), root({ path: "/srv/a/copy" })) },
      ["treeOfFileSystems"],
    ],
    ["one that tells no birth", { nested: told(root({ lacks: ["birth"] })) }, ["treeWithoutBirth"]],
    ["one without user attributes", { nested: told(root({ lacks: ["attributes"] })) }, ["noUserAttributes"]],
    ["one that takes no change", { nested: told(root({ lacks: ["writing"] })) }, ["fileSystemReadOnly"]],
  ])("%s", (_, more, codes) => {
    expect(unnestable("/srv/a", { ...nothing, ...more }, true).map(({ code }) => code)).toEqual(codes);
  });

  test("user attributes are not needed where the share is not mapped", () => {
    expect(
      unnestable("/srv/a", { ...nothing, nested: told(root({ lacks: ["attributes"] })) }, false),
    ).toEqual([]);
  });
});

test("what a root lacks is told: attributes, births, writing, and an overlay's births count for nothing", () => {
  bash(`cd tree; mkdir ram tmp over ro low up; mount -t ramfs none ram; mount -t tmpfs none tmp
mkdir up/u up/w; mount -t overlay -o lowerdir=low,upperdir=up/u,workdir=up/w none over
truncate -s 8M ../small; mkfs.ext4 -q ../small; mount -o loop,ro ../small ro`);
  try {
    const lacks = new Map(roots().map((root) => [root.path.split("/").at(-1), root.lacks]));
    expect(lacks.get("ram")).toEqual(["birth", "attributes"]);
    expect(lacks.get("tmp")).toContain("birth");
    expect(lacks.get("over")).toEqual(["birth"]);
    expect(lacks.get("ro")).toEqual(["writing"]);
  } finally {
    bash("cd tree; umount ram tmp over ro");
  }
});
