import { join } from "node:path";
import { nameOf } from "../../../../provider/layers/shared/inode-snapshot";
import { forgetTakenWith, takenWith, unreturnable } from "../../../../provider/layers/directory/taken-with";
import { snapshotOf, type TreeAt } from "../../../../provider/layers/shared/tree-at";
import { giveTreeBack, takeOver } from "../../../../provider/layers/directory/tree/takeover";
import { nestedIdentity } from "../../../../provider/remote/shell/inode";
import { encodeOctalEscapes } from "../../../../provider/formats/octal-escape";
import { sh } from "../../../../provider/remote/shell/sh";
import { ScratchTree } from "../../scratch-tree";
import { runFact, runScript } from "../../shell-machine";

/** What 0.1.0 took over with a tree: a file system that is mounted in a real one, as root. */
const name = "in ner\\x%ä";
afterEach(() => {
  bash(`umount 'tree/${name}' || :`);
});
const scratch = new ScratchTree(`mkdir -p 'tree/${name}'
truncate -s 8M image; mkfs.ext4 -q image; mount -o loop image 'tree/${name}'
cd 'tree/${name}'; touch a; chown 1234:7 .; chown 5:6 a; chmod 750 .`);
const { records } = scratch;
const bash = (script: string): string => scratch.bash(script);
const inner = (): string => join(scratch.path, name);
const taken = () => runFact(takenWith(scratch.path), records);
const everything = (): string =>
  bash(`cd 'tree/${name}'; find . -printf '%p %y %U:%G %m %n %s %T@ %l\\n' | sort
find . -print0 | sort -z | xargs -0 getfattr -h -d -m - -e hex -- 2>/dev/null`);

/** As 0.1.0 did it. */
const takeItOver = (): TreeAt => {
  const identity = runScript(nestedIdentity(sh`${inner()}`))
    .toString()
    .trim();
  const root = { path: inner(), identity, outer: scratch.path };
  runScript(
    takeOver(root, { uid: 64055, gid: 64056, keepOwners: true, opens: true, strips: false }).run,
    records,
  );
  const line = `${nameOf(snapshotOf("owners", root).path)} ${encodeOctalEscapes(inner(), /[\\ \t\n\v\f\r]/g)}`;
  runScript(sh`printf '%s\n' ${line} >> "$records"/owners/nested.${nameOf(scratch.path)}`, records);
  return root;
};

test("is found by what it is, given back, and forgotten", () => {
  expect(taken()).toEqual([]);
  const before = everything();
  const root = takeItOver();
  expect(everything()).not.toBe(before);
  expect(taken()).toEqual([
    {
      name: nameOf(snapshotOf("owners", root).path),
      path: inner(),
      root,
      linksMapped: false,
      hadPrivileges: 0,
    },
  ]);
  for (const one of taken()) if (one.root) runScript(giveTreeBack(one.root).run, records);
  for (const step of forgetTakenWith(scratch.path, taken())) runScript(step.run, records);
  expect(everything()).toBe(before);
  expect([taken(), bash("find records -type f")]).toEqual([[], ""]);
});

test.each([
  ["is away", `umount 'tree/${name}'`],
  [
    "has another one in its place",
    `umount 'tree/${name}'; truncate -s 8M other; mkfs.ext4 -q other; mount -o loop other 'tree/${name}'`,
  ],
])("one that %s is not given back, nor forgotten", (_, away) => {
  takeItOver();
  bash(away);
  expect(taken()).toMatchObject([{ path: inner(), root: undefined }]);
  expect(unreturnable(scratch.path, taken())).toMatchObject([
    { code: "sourceVanished", remedy: expect.stringMatching(/rm -f .*owners\/\w{32}\* /) as string },
  ]);
});

test("links and privileges of it are told", () => {
  const snapshot = nameOf(snapshotOf("owners", takeItOver()).path);
  bash(
    `mkdir -p records/links; touch records/links/${snapshot}; printf './a\\n./b\\n' > records/owners/${snapshot}.privileged`,
  );
  expect(taken()).toMatchObject([{ linksMapped: true, hadPrivileges: 2 }]);
});
