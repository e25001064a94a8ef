import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { adjust, chmodStep, create, restoreAttributes } from "../../../../provider/layers/directory/steps";
import type { DirectorySeen, DirectoryWant } from "../../../../provider/layers/directory/probes";
import { type Entry, entryOf } from "../../../../provider/layers/shared/directory-entry";
import { treeAt } from "../../../../provider/layers/shared/tree-at";
import type { Mount } from "../../../../provider/formats/mountinfo";
import type { Step } from "../../../../provider/engine/layer";
import { ScratchTree } from "../../scratch-tree";
import { runFact, runScript } from "../../shell-machine";

/** On real directories, as root. */
const tree = new ScratchTree(
  "mkdir -p tree/x/log victim/log; chmod 700 victim/log; chown 1000:1000 tree/x/log",
);
const path = (): string => join(tree.path, "x/log");
const entry = (): Entry => {
  const found = runFact(entryOf(path()));
  if (!found) throw new Error("it is not there");
  return found;
};
const owner = { uid: 64055, gid: 64056 };
const want = (): DirectoryWant => ({ path: path(), mode: 0o770, keepOwners: true }) as DirectoryWant;
const seen = { attributes: {}, groupRights: undefined, mounts: [] as readonly Mount[] } as DirectorySeen;
const swap = (): string => tree.bash('mv tree/x tree/away; ln -s "$PWD/victim" tree/x');
const victim = (): string => tree.bash("stat -c '%u:%g %a' victim/log; getfattr -d -m - victim/log");
const run = (steps: readonly Step[]): void => {
  for (const step of steps) runScript(step.run);
};

test("what is done, and undone", () => {
  const before = entry();
  const steps = adjust(want(), seen, before, owner);
  run(steps);
  expect(entry()).toMatchObject({ uid: 64055, gid: 64056, mode: 0o770 });
  expect(tree.bash("getfattr -n user.virtfs.uid -e hex tree/x/log")).toContain("=0xe8030000");
  for (const { undo } of [...steps].reverse()) if (undo) runScript(undo);
  expect(entry()).toEqual(before);
  expect(tree.bash("getfattr -d tree/x/log")).toBe("");
});

test.each([0, 1, 2])("a link that is put in its place before step %i is not followed", (index) => {
  const steps = [
    ...adjust(want(), seen, entry(), owner),
    ...restoreAttributes(treeAt(path(), entry()), { "user.virtfs.uid": "0x01000000" }, {}),
  ];
  const before = victim();
  run(steps.slice(0, index));
  swap();
  for (const step of steps.slice(index)) {
    expect(() => runScript(step.run)).toThrow("another directory has taken the place");
    if (step.undo) expect(() => runScript(step.undo as Step["run"])).toThrow("another directory has taken");
  }
  expect(victim()).toBe(before);
});

test("nor where it was made just now", () => {
  tree.bash("rmdir tree/x/log");
  const [make, ...rest] = create({ ...want(), mode: undefined }, owner);
  if (make) runScript(make.run);
  const before = victim();
  swap();
  expect(rest).toHaveLength(2);
  for (const step of rest) expect(() => runScript(step.run)).toThrow("another directory has taken the place");
  expect(victim()).toBe(before);
});

test("on an overlay, which gives a directory another birth with its first change", () => {
  tree.bash(`mkdir low low/log up up/u up/w over; mount -t tmpfs tmpfs up; mkdir up/u up/w
mount -t overlay -o lowerdir=low,upperdir=up/u,workdir=up/w none over`);
  const log = join(tree.folder, "over/log");
  const at = (): Entry => runFact(entryOf(log)) as Entry;
  try {
    const before = at();
    const steps = adjust({ ...want(), path: log }, seen, before, owner);
    run(steps);
    expect(at()).toMatchObject({ uid: 64055, mode: 0o770 });
    for (const { undo } of [...steps].reverse()) if (undo) runScript(undo);
    expect(at()).toMatchObject({ uid: before.uid, mode: before.mode });
    expect(tree.bash("getfattr -d over/log")).toBe("");
  } finally {
    tree.bash("umount over up");
  }
});

test("of a user who may not enter it", () => {
  tree.bash("chmod 755 .; mkdir own; chmod 600 own; chown 1234 own");
  const own = { path: join(tree.folder, "own"), identity: tree.bash("stat -c %i:%.9W own").trim() };
  const { run, undo } = chmodStep(own, 0o700, 0o600);
  const as = (script: Step["run"]): string =>
    execFileSync("setpriv", ["--reuid=1234", "--clear-groups", "sh", "-ec", script.text], {
      stdio: "pipe",
    }).toString();
  as(run);
  expect(tree.bash("stat -c %a own")).toBe("700\n");
  if (undo) as(undo);
  expect(tree.bash("stat -c %a own")).toBe("600\n");
});
