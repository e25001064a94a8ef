import { linksMapped } from "../../../../../provider/layers/shared/inode-snapshot";
import type { TreeAt } from "../../../../../provider/layers/shared/tree-at";
import { hasLinks, treeIn } from "../../../../../provider/layers/directory/tree/probe";
import { giveLinksBack, mapLinks } from "../../../../../provider/layers/directory/tree/symlinks";
import { type Script, sh } from "../../../../../provider/remote/shell/sh";
import { ScratchTree } from "../../../scratch-tree";
import { killedAfter, runFact, runScript } from "../../../shell-machine";

const scratch = new ScratchTree(`mkdir tree; cd tree; mkdir sub 'two  blanks'; echo content > plain
ln -s ../plain sub/relative; ln -s /etc/passwd absolute; ln -s 'a target  with blanks ' 'two  blanks/ name '
ln -s $'target\\nof\\\\two\\nlines' $'new\\nline'; ln -s plain $'back\\\\slash'; ln -s $'\\xff' -- -rf; ln -s '\\040' octal
ln -s plain "$(printf %0240d 1)"; ln -s sub directory; ln -s "$(printf 'x%.0s' $(seq 4000))" far
n=0; for one in * sub/* two*/*; do n=$((n + 1)); chown -h $((1000 + n)):$n -- "$one"; done; touch -h -d @1763877000.25 far -- -rf`);
const { records } = scratch;
const bash = (script: string): string => scratch.bash(script);
const tree = (): string => scratch.path;
const at = (): TreeAt => scratch.at;
const everything = (): string =>
  bash("cd tree; find . -printf '%p %y %U:%G %m %n %l\\n' | sort; find . -printf '%p %T@\\n' | sort");
const map = () => mapLinks(at(), { uid: 64055, gid: 64056 });

test("each becomes what a guest's own link is, and comes back", () => {
  const before = everything();
  const found = bash("cd tree; find . -type l -printf '%p\\n' | sort");
  runScript(map().run, records);
  expect(runFact(linksMapped(tree()), records)).toBe(true);
  expect(bash("find tree -type l; find tree -name '*v9p*'")).toBe("");
  expect(bash("stat -c '%F %u:%g %a' tree/far tree/absolute; cat tree/absolute; wc -c < tree/far")).toBe(
    "regular file 64055:64056 600\nregular file 64055:64056 600\n/etc/passwd4000\n",
  );
  expect(bash("getfattr -h -d -m virtfs -e hex tree/absolute")).toMatch(
    /user.virtfs.gid=0x\w\w000000\nuser.virtfs.mode=0xffa10000\nuser.virtfs.uid=0x\w\w030000/,
  );
  expect(bash("cat $'tree/new\\nline'")).toBe("target\nof\\two\nlines");
  runScript(giveLinksBack(at()).run, records);
  expect(everything()).toBe(before);
  expect(found).not.toBe("");
  expect(bash("find records -type f")).toBe("");
});

describe.each(["dash", "bash"])("with %s as sh", (shell) => {
  const as = (text: string): string =>
    `PATH=${scratch.folder}/bin:$PATH; export PATH\nexec sh -c ${sh`${`set -e\numask 077\n${records(text)}`}`.text}`;

  test.each([0, 1, 17, 40, 300])("%i links become plain files and come back", (count) => {
    bash(String.raw`mkdir bin; ln -s /bin/${shell} bin/sh; rm -rf tree; mkdir -p tree/sub; cd tree
i=0; while [ $i -lt ${count} ]; do case $((i % 7)) in
0) one="l $i" to="f $i";; 1) one=$'line\n'$i to=$'to\n'$i;; 2) one=-$i to=-rf;; 3) one=$'\xff'$i to=$'\xfe';;
4) one=sub/$i to="../sub/ $i ";; 5) one="@$i" to="f$i";; 6) one=$'q\'"\\'$i to='\040$(x)';; esac
ln -s -- "$to" "$one"; chown -h $i:$((i + 1)) -- "$one"; touch -h -d @17638770$((10 + i % 90)).5 -- "$one"; i=$((i + 1)); done`);
    const before = everything();
    runScript(map().run, as);
    expect(bash("find tree -type l -printf x; find tree -type f -printf f | wc -c")).toBe(`${count}\n`);
    runScript(giveLinksBack(at()).run, as);
    expect(everything()).toBe(before);
    expect(bash("find records -type f")).toBe("");
  });
});

test("again with more links; what the guest removed or replaced stays so", () => {
  runScript(map().run, records);
  bash(
    "ln -s later tree/later; rm tree/far; rm tree/octal; echo guest > tree/octal; mv tree/absolute tree/sub/moved",
  );
  runScript(map().run, records);
  runScript(giveLinksBack(at()).run, records);
  expect(
    bash("cd tree; readlink later sub/moved directory; cat octal; ls far 2>&1 || :; find . -name '*v9p*'"),
  ).toBe("later\n/etc/passwd\nsub\nguest\nls: cannot access 'far': No such file or directory\n");
});

test("undone, those of an earlier run stay mapped", () => {
  runScript(map().run, records);
  const mapped = everything();
  bash("touch -r tree when; ln -s later tree/later");
  const step = map();
  runScript(step.run, records);
  if (!step.undo) throw new Error("it has no undo");
  runScript(step.undo, records);
  expect(bash("readlink tree/later; rm tree/later; touch -r when tree")).toBe("later\n");
  expect(everything()).toBe(mapped);
});

/** Somebody does something once, right before what is staged for `absolute` takes its place. */
const beforeExchange = ({ text }: Script, code: string): Script => {
  const call = "        rename(directory.fd, staged, name, RENAME_EXCHANGE)\n    except";
  expect(text).toContain(call);
  return { text: text.replace(call, `        name != b"absolute" or (${code})\n${call}`) };
};

test("what takes a link's place in between is put back", () => {
  const replace = `os.unlink("absolute"), open("absolute", "w").write("precious\\n")`;
  runScript(beforeExchange(map().run, replace), records);
  expect(bash("cat tree/absolute; find tree -name '*v9p*'")).toBe("precious\n");
  runScript(giveLinksBack(at()).run, records);
  expect(bash("cat tree/absolute; readlink tree/directory")).toBe("precious\nsub\n");
});

test("so is a directory", () => {
  const replace = `os.unlink("absolute"), os.mkdir("absolute"), open("absolute/a", "w").write("precious\\n")`;
  runScript(beforeExchange(map().run, replace), records);
  expect(bash("cat tree/absolute/a; find tree -name '*v9p*'")).toBe("precious\n");
});

test("what fails before any is in place leaves nothing beside them", () => {
  bash(`truncate -s 1M image; mkfs.ext4 -q -N 48 image; mkdir small; mount -o loop image small; cd small
for one in $(seq 30); do ln -s target$one $one; done`);
  const small = { path: `${scratch.folder}/small`, identity: bash("stat -c %i:%.9W small").trim() };
  const all = (): string => bash("cd small; find . -printf '%p %y %l %T@\\n' | sort");
  const before = all();
  try {
    expect(() => runScript(mapLinks(small, { uid: 1, gid: 2 }).run, records)).toThrow();
    expect(all()).toBe(before);
    expect(bash("find records -type f")).toBe("");
  } finally {
    bash("umount small");
  }
});

test("where a guest gave one a name that leaves no room for a mark, or a path of any length", () => {
  runScript(map().run, records);
  bash(`cd tree; mv absolute "$(printf %0250d 2)"; ls -A > ../names`);
  runScript(giveLinksBack(at()).run, records);
  expect(bash(`cd tree; readlink "$(printf %0250d 2)" directory; ls -A | diff ../names -`)).toBe(
    "/etc/passwd\nsub\n",
  );
  runScript(map().run, records);
  bash(`cd tree; far=$PWD/directory; for i in $(seq 17); do mkdir "$(printf %0250d 1)"; cd "$(printf %0250d 1)"; done
mv "$far" "$(printf %065d 3)"`);
  runScript(giveLinksBack(at()).run, records);
  const far = `for i in $(seq 17); do cd "$(printf %0250d 1)"; done; readlink "$(printf %065d 3)"`;
  // The byte 0xff, which is no UTF-8.
  expect(bash(`readlink tree/-rf; find tree -name '*v9p*'; cd tree; ${far}`)).toBe("\ufffd\nsub\n");
});

test("a way back that fails leaves no name of its own, and the next one finishes", () => {
  bash("cd tree; for i in $(seq 300); do ln -s target$i $i; done");
  const before = everything();
  runScript(map().run, records);
  const mapped = bash("cd tree; ls -A");
  const call = "            os.symlink(unescaped(";
  const failing = giveLinksBack(at()).run.text.replace(
    call,
    `            if b"target200" in target: raise OSError(28, "no room")\n${call}`,
  );
  expect(() => runScript({ text: failing }, records)).toThrow("200: no room");
  expect(bash("cd tree; ls -A")).toBe(mapped);
  expect(bash("cd tree; find . -type l | wc -l; readlink 199 201; cat 200")).toBe(
    "310\ntarget199\ntarget201\ntarget200",
  );
  runScript(giveLinksBack(at()).run, records);
  expect(everything()).toBe(before);
  expect(bash("find records -type f")).toBe("");
});

test("one whose name leaves no room for a suffix stays, and counts as such", () => {
  bash(`cd tree; find . -mindepth 1 -delete; ln -s plain "$(printf %0243d 1)"`);
  expect(hasLinks(runFact(treeIn(tree()), records))).toBe(false);
  runScript(map().run, records);
  expect(bash("find tree -type l | wc -l")).toBe("1\n");
  expect(runFact(linksMapped(tree()), records)).toBe(false);
  bash(`ln -s plain "tree/$(printf %0242d 1)"`);
  expect(hasLinks(runFact(treeIn(tree()), records))).toBe(true);
  runScript(map().run, records);
  expect(bash("find tree -type l | wc -l")).toBe("1\n");
});

test("killed at any moment, the next run finishes it, and all comes back", async () => {
  const before = everything();
  const took = (run: () => void): number => {
    const began = Date.now();
    run();
    return Date.now() - began;
  };
  // The first time is slower than those that follow, and all of those would end before they are killed.
  runScript(map().run, records);
  runScript(giveLinksBack(at()).run, records);
  const there = took(() => runScript(map().run, records));
  const mapped = withoutTimes(everything());
  const back = took(() => runScript(giveLinksBack(at()).run, records));
  let killed = 0;
  for (const part of [0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8]) {
    killed += Number(await killedAfter(there * part, map().run, records));
    runScript(map().run, records);
    expect(withoutTimes(everything())).toBe(mapped);
    killed += Number(await killedAfter(back * part, giveLinksBack(at()).run, records));
    runScript(giveLinksBack(at()).run, records);
    expect(everything()).toBe(before);
  }
  expect(killed).toBeGreaterThan(5);
}, 120_000);

/** Those of the plain files that are made. */
const withoutTimes = (text: string): string => text.replace(/^\S.* \d+\.\d+$/gm, "");
