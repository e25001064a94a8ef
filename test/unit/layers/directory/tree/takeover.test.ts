import { spawn } from "node:child_process";
import {
  forgetTree,
  giveTreeBack,
  takeOver,
  takeOverForGood,
} from "../../../../../provider/layers/directory/tree/takeover";
import { privilegesTaken, treeIn } from "../../../../../provider/layers/directory/tree/probe";
import type { TreeAt } from "../../../../../provider/layers/shared/tree-at";
import { inMotion } from "../../../../../provider/layers/directory/tree/failures";
import { mountsIn } from "../../../../../provider/layers/shared/tree-mounts";
import { mountPointsIn } from "../../../../../provider/remote/mount-points";
import type { Script } from "../../../../../provider/remote/shell/sh";
import { ScratchTree } from "../../../scratch-tree";
import { killedAfter, runFact, runScript } from "../../../shell-machine";

const scratch = new ScratchTree();
const { records } = scratch;
const bash = (script: string): string => scratch.bash(script);
const tree = (): string => scratch.path;
const at = (): TreeAt => scratch.at;
const taker = { uid: 64055, gid: 64056, keepOwners: true, opens: true, strips: false };

const populate = `mkdir tree && cd tree
mkdir -m 2755 setgid; mkdir -m 1777 sticky; mkdir -m 0500 closed; mkdir plain
touch plain/a plain/b 'plain/two  blanks ' $'plain/new\\nline' 'plain/back\\slash' $'plain/\\xff\\xfe' plain/-rf "plain/$(printf %0255d 1)"
chmod 440 plain/a; chmod 0 plain/b; chmod 711 plain/-rf
ln plain/a setgid/hard; ln -s /etc/passwd link; mkfifo -m 640 fifo; mknod node c 1 3
setfacl -m u:1234:rwx,g:99:r plain/b; setfacl -d -m u:77:rx plain
setfattr -n user.other -v mine plain/a; setfattr -n user.virtfs.uid -v 0x07000000 sticky
i=0; find . -print0 | while IFS= read -r -d '' one; do i=$((i+1)); chown -h $((1000+i)):$((2000+i%7)) "$one"; done
chmod 2755 setgid`;
const everything = (): string =>
  bash(`cd tree; find . -mindepth 1 -printf '%p %y %U:%G %m %n %s %T@ %l\\n' | sort
find . -mindepth 1 -print0 | sort -z | xargs -0 getfattr -h -d -m - -e hex -- 2>/dev/null`);
/** What QEMU makes of it: attributes before what the host has. */
const seenByGuest = (): string =>
  bash(`cd tree; find . -mindepth 1 -print0 | sort -z | while IFS= read -r -d '' one; do
  value() { getfattr -h --only-values -n user.virtfs.$1 -- "$one" 2>/dev/null | od -An -t$2 --endian=little | tr -d ' '; }
  uid=$(value uid u4); gid=$(value gid u4); mode=$(value mode x4)
  printf '%q %s %s %x\\n' "$one" "\${uid:-$(stat -c %u -- "$one")}" "\${gid:-$(stat -c %g -- "$one")}" "0x\${mode:-$(stat -c %f -- "$one")}"
done`);

test("all that was there comes back, and meanwhile a guest sees it as it was", () => {
  bash(populate);
  const [before, seen] = [everything(), seenByGuest()];
  const step = takeOver(at(), taker);
  runScript(step.run, records);
  expect(
    bash(
      "find tree -mindepth 1 '(' -type f -o -type d ')' '(' ! -uid 64055 -o ! -gid 64056 -o ! -perm -u+rw ')'",
    ),
  ).toBe("");
  expect(byOwn(seenByGuest())).toBe(byOwn(seen));
  // The group's bits are what the access list lets it, not its mask: u:1234:rwx,g:99:r on a file with mode 0.
  expect(seen).toMatch(/^\.\/plain\/b 1010 2003 8038$/m);
  expect(seenByGuest()).toMatch(/^\.\/plain\/b 1010 2003 8000$/m);
  runScript(takeOver(at(), taker).run, records);
  runScript(giveTreeBack(at()).run, records);
  expect(everything()).toBe(before);
  runScript(forgetTree(tree()).run, records);
  expect(bash("find records -type f")).toBe("");
});

/** A script whose helper does something first where it is about to do what `call` does. */
const before_ = ({ text }: Script, call: string, code: string): Script => {
  expect(text).toContain(call);
  return {
    text: text.replace(call, `(${code}, ${call.replace(/\(.*/, "")})[1](${call.replace(/^[^(]*\(/, "")}`),
  };
};

/** Without the file that has an access list. */
const byOwn = (text: string): string => text.replace(/^\.\/plain\/b .*$/m, "");
const snapshots = (): string => bash("find records -type f -o -type l 2>/dev/null || :");

test("what fails on the way is taken back, and nothing is kept of it", () => {
  bash(populate);
  bash("chattr +i tree/plain/-rf");
  const before = everything();
  try {
    expect(() => runScript(takeOver(at(), taker).run, records)).toThrow(/-rf.*Operation not permitted/);
    expect(everything()).toBe(before);
    expect(snapshots()).toBe("");
  } finally {
    bash("chattr -i tree/plain/-rf");
  }
});

test("undone, only what this run took over goes back", () => {
  bash(populate);
  runScript(takeOver(at(), taker).run, records);
  bash("touch tree/late && chown 5:6 tree/late");
  const [taken, late] = [everything(), takeOver(at(), taker)];
  runScript(late.run, records);
  expect(bash("stat -c %u tree/late")).toBe("64055\n");
  if (!late.undo) throw new Error("it has no undo");
  runScript(late.undo, records);
  expect(everything()).toBe(taken);
  expect(snapshots().trim().split("\n")).toHaveLength(2);
});

test("setuid, setgid and capabilities are refused, or go for good", () => {
  bash(`${populate}
chmod 4755 plain/a; chmod 1644 plain/-rf; setcap cap_net_raw=ep 'plain/two  blanks '`);
  const before = everything();
  expect(() => runScript(takeOver(at(), taker).run, records)).toThrow(
    /(plain\/a|setgid\/hard)\n[^]*two {2}blanks|two {2}blanks[^]*\n.*(plain\/a|setgid\/hard)/,
  );
  expect(everything()).toBe(before);
  runScript(takeOver(at(), { ...taker, strips: true }).run, records);
  const found = runFact(privilegesTaken(tree()), records);
  expect(found).toEqual({
    count: 2,
    names: expect.arrayContaining(["plain/two  blanks "]) as string[],
  });
  runScript(giveTreeBack(at()).run, records);
  expect(everything()).toBe(
    before
      .replace(/ 4755 2 /g, " 755 2 ")
      .replace(/# file: plain\/two {2}blanks \nsecurity.capability=\S+\n\n/, ""),
  );
});

test("a guest that moves, removes and makes entries: what was there has what it had, the rest stays", () => {
  bash(populate);
  runScript(takeOver(at(), taker).run, records);
  bash(`cd tree; rm plain/-rf; mv plain/a moved; touch plain/-rf; chown 64055:64056 plain/-rf
setfattr -n user.virtfs.uid -v 0x01000000 moved plain/-rf`);
  runScript(giveTreeBack(at()).run, records);
  expect(
    bash("stat -c '%u:%g %a' tree/moved tree/plain/-rf; getfattr -d -m virtfs -- tree/moved tree/plain/-rf"),
  ).toMatch(/^1014:\d+ 440\n64055:64056 644\n# file: tree\/plain\/-rf\nuser.virtfs.uid=/);
});

test("what moves while it is taken over is taken over all the same", () => {
  bash(populate);
  const before = everything();
  bash("touch -r tree/plain when");
  // The first time that owners change, an entry has just got another name.
  const moving = `os.path.exists("${scratch.folder}/moved") or (open("${scratch.folder}/moved", "w").close(), os.rename("plain/two  blanks ", "plain/elsewhere"))`;
  runScript(before_(takeOver(at(), taker).run, "os.chown(pinned.at, self.uid", moving), records);
  expect(bash("echo $PWD/moved; stat -c %u:%g tree/plain/elsewhere")).toBe(
    `${scratch.folder}/moved\n64055:64056\n`,
  );
  bash("mv tree/plain/elsewhere 'tree/plain/two  blanks '; touch -r when tree/plain");
  runScript(giveTreeBack(at()).run, records);
  expect(everything()).toBe(before);
});

test("what lost privileges is told of every run that took some", () => {
  bash(`${populate}
chmod 4755 plain/a`);
  runScript(takeOver(at(), { ...taker, strips: true }).run, records);
  bash("touch tree/late; chmod 4755 tree/late");
  runScript(takeOver(at(), { ...taker, strips: true }).run, records);
  bash("touch tree/later");
  runScript(takeOver(at(), { ...taker, strips: true }).run, records);
  expect(runFact(privilegesTaken(tree()), records)).toMatchObject({ count: 2 });
});

test("setuid that a guest made itself is not given to root's file, though the mode is as it was", () => {
  bash("mkdir tree; touch tree/tool; chmod 4755 tree/tool");
  runScript(takeOver(at(), { ...taker, strips: true }).run, records);
  bash("echo evil > tree/tool; chmod 4755 tree/tool");
  runScript(giveTreeBack(at()).run, records);
  expect(bash("stat -c '%u:%g %a' tree/tool")).toBe("0:0 755\n");
});

test("undone, what an earlier run wrote down stands, though it was taken anew", () => {
  bash(populate);
  const before = everything();
  runScript(takeOver(at(), taker).run, records);
  // As a kill between chown and chmod, or a hand, leaves it.
  bash("chmod 400 tree/plain/b; chown 9 tree/plain/-rf");
  const step = takeOver(at(), taker);
  runScript(step.run, records);
  if (!step.undo) throw new Error("it has no undo");
  runScript(step.undo, records);
  runScript(giveTreeBack(at()).run, records);
  expect(everything()).toBe(before);
});

test("names that are swapped while it is given back: each inode gets its own", () => {
  bash("mkdir tree bin; touch tree/a; chown 1000:100 tree/a; chmod 444 tree/a");
  runScript(takeOver(at(), taker).run, records);
  bash("touch tree/guest; chown 64055:64056 tree/guest");
  const swap = `os.path.exists("../once") or (open("../once", "w").close(), os.rename("a", "b"), os.rename("guest", "a"), os.rename("b", "guest"))`;
  runScript(before_(giveTreeBack(at()).run, "os.chown(pinned.at, uid", swap), records);
  expect(bash("ls once; stat -c '%n %u:%g %a' tree/guest")).toBe("once\ntree/guest 1000:100 444\n");
});

test("a link in the place of the directory is not followed", () => {
  bash("mkdir tree outside; touch outside/secret; chown 5 outside/secret");
  const real = at();
  bash("rmdir tree; ln -s outside tree");
  expect(() => runScript(takeOver(real, taker).run, records)).toThrow(
    /another directory has taken the place/,
  );
  expect(() => runScript(giveTreeBack(real).run, records)).not.toThrow();
  expect(bash("stat -c %u outside/secret")).toBe("5\n");
});

test("for good, setuid and capabilities are refused too", () => {
  bash("mkdir tree; touch tree/tool tree/other; chmod 755 tree/tool; setcap cap_net_raw=ep tree/tool");
  expect(() => runScript(takeOverForGood(at(), taker).run, records)).toThrow(/capabilities:\n.*tool/);
  expect(bash("stat -c %u tree/tool; getcap tree/tool")).toBe("0\ntree/tool cap_net_raw=ep\n");
  runScript(takeOverForGood(at(), { ...taker, strips: true }).run, records);
  expect(bash("stat -c %u tree/tool; getcap tree/tool")).toBe("64055\n");
});

test("for good, all of it is the taker's", () => {
  bash(populate);
  runScript(takeOverForGood(at(), taker).run, records);
  expect(
    bash("find tree '(' ! -uid 64055 -o ! -gid 64056 ')' -o '(' -type f -o -type d ')' ! -perm -u+rw"),
  ).toBe("");
  expect(bash("stat -c %u /etc/passwd; cd tree; getfattr -R -d -m virtfs -- . | grep -c virtfs || :")).toBe(
    "0\n1\n",
  );
  expect(snapshots()).toBe("");
});

test("killed at any moment, the next run finishes it, and all comes back", async () => {
  bash(`${populate}
mkdir many; cd many; touch $(seq 60); for one in *; do chown $one:7 $one; done`);
  const [before, seen] = [everything(), seenByGuest()];
  const began = Date.now();
  runScript(takeOver(at(), taker).run, records);
  const whole = Date.now() - began;
  const taken = everything();
  runScript(giveTreeBack(at()).run, records);
  runScript(forgetTree(tree()).run, records);
  expect(everything()).toBe(before);
  let killed = 0;
  for (const part of [0.1, 0.2, 0.3, 0.45, 0.6, 0.8]) {
    killed += Number(await killedAfter(whole * part, takeOver(at(), taker).run, records));
    runScript(takeOver(at(), taker).run, records);
    expect(everything()).toBe(taken);
    expect(byOwn(seenByGuest())).toBe(byOwn(seen));
    killed += Number(await killedAfter(whole * part, giveTreeBack(at()).run, records));
    runScript(giveTreeBack(at()).run, records);
    expect(everything()).toBe(before);
    runScript(forgetTree(tree()).run, records);
  }
  expect(killed).toBeGreaterThan(3);
}, 120_000);

test("directories that are swapped for links all the time: nothing outside is touched, and nothing is forgotten", async () => {
  bash(`for place in tree/swapped outside; do mkdir -p $place/sub; (cd $place; seq 30 | sed 's/^/f/' | xargs touch
seq 30 | sed 's|^|sub/f|' | xargs touch; chown -R 1234:5678 .; chmod 640 f*); done
mkdir tree/rest; (cd tree/rest; seq 5000 | xargs touch; chown -R 4321 .)`);
  const outside = (): string =>
    bash("cd outside; find . -printf '%p %U:%G %m %C@\\n' | sort; getfattr -R -d -m - .");
  const inside = (): string =>
    bash("cd tree; find . -mindepth 1 ! -name link -printf '%p %U:%G %m\\n' | sort");
  const [out, before] = [outside(), inside()];
  const swap = `const { renameSync, symlinkSync, unlinkSync } = require("fs"); process.chdir("${tree()}"); symlinkSync("../outside", "link");
const end = Date.now() + 6000;
while (Date.now() < end) { renameSync("swapped", "kept"); renameSync("link", "swapped"); renameSync("swapped", "link"); renameSync("kept", "swapped"); }
unlinkSync("link")`;
  const swapping = spawn(process.execPath, ["-e", swap], { stdio: "inherit" });
  const ended = new Promise((resolve) => swapping.on("close", resolve));
  const answers = new Set<string>();
  let [known, turns] = [false, 0];
  const attempt = (run: Script): boolean => {
    turns += 1;
    try {
      runScript(run, records);
      return true;
    } catch (error) {
      answers.add(String((error as { stderr?: Buffer }).stderr ?? error));
      return false;
    } finally {
      expect(outside()).toBe(out);
    }
  };
  while (swapping.exitCode === null) {
    const { privileged, linkedOut, otherFileSystems } = runFact(treeIn(tree(), { taken: true }), records);
    expect([privileged, linkedOut, otherFileSystems].map(({ count }) => count)).toEqual([0, 0, 0]);
    known = attempt(takeOver(at(), taker).run) || known;
    if (attempt(giveTreeBack(at()).run)) {
      runScript(forgetTree(tree()).run, records);
      known = false;
    }
    await new Promise((resolve) => setImmediate(resolve));
  }
  expect(await ended).toBe(0);
  for (const answer of answers) expect(answer.replace(/^m at \d+$/gm, "").trim()).toBe(inMotion);
  expect(turns).toBeGreaterThan(2);
  runScript(takeOver(at(), taker).run, records);
  runScript(giveTreeBack(at()).run, records);
  expect(inside()).toBe(before);
}, 120_000);

test("what is mounted in it, and what lies under that, is left", () => {
  bash(`mkdir -p tree/m tree/b tree/src; touch tree/m/hidden tree/src/in tree/b/under; mount -t tmpfs tmpfs tree/m
touch tree/m/there; mount --bind tree/src tree/b`);
  const owners = (): string =>
    bash("stat -c %u tree/m/there tree/src/in; umount tree/m tree/b; stat -c %u tree/m/hidden tree/b/under");
  runScript(takeOver(at(), taker).run, records);
  expect(owners()).toBe("0\n64055\n0\n0\n");
  // It would be drift for ever.
  bash("mount --bind tree/src tree/b; mount -t tmpfs tmpfs tree/m");
  try {
    const seen = runFact(treeIn(tree()), records);
    const entries = seen.entries.map(({ kind, uid, count }) => `${kind} ${uid} ${count}`).sort();
    expect(entries).toEqual(["directory 64055 1", "file 64055 1"]);
    expect(seen.otherFileSystems.count).toBe(2);
    expect([...seen.otherFileSystems.names].sort()).toEqual(["b", "m"]);
  } finally {
    bash("umount tree/b tree/m");
  }
});

test("a mount that is hidden by a later one is none", () => {
  bash(
    `mkdir -p tree/sub; mount -t tmpfs tmpfs tree/sub; mount -t tmpfs tmpfs tree; mkdir tree/sub; touch tree/sub/f`,
  );
  try {
    expect(bash(mountsIn(tree()).text)).toBe("");
    expect(runFact(treeIn(tree()), records)).toMatchObject({
      entries: [{ kind: "directory" }, { kind: "file" }],
      otherFileSystems: { count: 0 },
    });
    expect(mountPointsIn(tree())).toEqual([]);
    bash("mount -t tmpfs tmpfs tree/sub");
    expect([bash(mountsIn(tree()).text), mountPointsIn(tree())]).toEqual(["sub\n", ["./sub"]]);
  } finally {
    bash("umount -R tree; umount tree/sub");
  }
});

test("paths of any length: what a guest moved there comes back, too", () => {
  bash("mkdir tree; touch tree/a tree/b; chown 1000 tree/a tree/b");
  runScript(takeOver(at(), taker).run, records);
  bash(
    `to=$PWD/tree/b; cd tree; for i in $(seq 18); do mkdir "$(printf %0250d 1)"; cd "$(printf %0250d 1)"; done; touch deep; mv "$to" .`,
  );
  runScript(takeOver(at(), taker).run, records);
  const { entries } = runFact(treeIn(tree()), records);
  expect(entries.map(({ kind, uid, count }) => `${kind} ${uid} ${count}`).sort()).toEqual([
    "directory 64055 18",
    "file 64055 3",
  ]);
  runScript(giveTreeBack(at()).run, records);
  expect(
    bash('cd tree; stat -c %u a; for i in $(seq 18); do cd "$(printf %0250d 1)"; done; stat -c %u b deep'),
  ).toBe("1000\n1000\n0\n");
});

test("more levels than one process may open are an error, and nothing is changed", () => {
  bash("mkdir -p tree/$(seq -s / 60); touch tree/a; chown 1000 tree/a");
  const few = (text: string): string => `ulimit -n 40\n${records(text)}`;
  expect(() => runScript(takeOver(at(), taker).run, few)).toThrow(/Too many open files/);
  expect(bash("stat -c %u tree/a tree/1")).toBe("1000\n0\n");
});
