#!/usr/bin/env node
// Measures what it takes to take a tree over, beside what it takes by hand, in one run on one tree. Prints markdown; the
// decision that rests on it is docs/decisions/0015-tree-program.md.
//
//   npm run build && sudo node test/bench/ownership.js [ENTRIES [ROUNDS]]     200000 entries, 3 rounds: some 5 minutes
//
// It makes /srv/v9p-bench and removes it. ansible-playbook is measured too where it is on the PATH
// (pip install ansible-core).
const { execFileSync, spawnSync } = require("node:child_process");
const {
  takeOver,
  takeOverForGood,
  giveTreeBack,
  forgetTree,
} = require("../../dist/layers/directory/tree/takeover.js");
const { treeIn } = require("../../dist/layers/directory/tree/probe.js");

const entries = Number(process.argv[2] ?? 200_000);
const rounds = Number(process.argv[3] ?? 3);
const home = "/srv/v9p-bench";
const tree = `${home}/tree`;
/** Inode and birth, as a look sees them. */
const at = () => ({ path: tree, identity: String(sh(`stat -c %i:%.9W ${tree}`)).trim() });
const taker = { uid: 64055, gid: 64055, keepOwners: true, opens: true, strips: false };

function sh(text) {
  const script = `set -e\nLC_ALL=C; export LC_ALL; umask 077\nrecords=${home}/records mark=m\n${text}`;
  return execFileSync("/bin/sh", ["-c", script], { stdio: ["ignore", "pipe", "pipe"], maxBuffer: 1e9 });
}

const times = new Map();
/** Seconds; every round adds one. */
function time(name, text) {
  const began = performance.now();
  sh(text);
  const seconds = (performance.now() - began) / 1000;
  times.set(name, [...(times.get(name) ?? []), seconds]);
}
const median = (name) => [...times.get(name)].sort((a, b) => a - b)[Math.floor(times.get(name).length / 2)];

const owners = `cd ${tree}; setfacl --restore=${home}/owners`;
const wipe = `cd ${tree}; for one in uid gid mode; do find . -print0 | xargs -0 setfattr -h -x user.virtfs.$one -- 2>/dev/null || :; done`;

sh(`rm -rf ${home}; mkdir -p ${tree}; cd ${tree}
seq 0 ${Math.ceil(entries / 100) - 1} | sed 's/^/d/' | xargs mkdir
seq 0 ${entries - 1} | awk '{ print "d" int($1 / 100) "/f" $1 }' | xargs touch
{ seq 0 ${Math.ceil(entries / 100) - 1} | awk '{ print "# file: d" $1 "\\n# owner: 1000\\n# group: 7\\nuser::rwx\\ngroup::r-x\\nother::r-x\\n" }'
seq 0 ${entries - 1} | awk '{ print "# file: d" int($1 / 100) "/f" $1 "\\n# owner: " 1000 + $1 % 50 "\\n# group: 7\\nuser::rw-\\ngroup::r--\\nother::---\\n" }'; } > ${home}/owners
setfacl --restore=${home}/owners`);
sh(takeOver(at(), taker).run.text);
sh(
  `cd ${tree}; find . -mindepth 1 -print0 | xargs -0 getfattr -h -d -m '^user.virtfs' -e hex -- > ${home}/dump 2>/dev/null`,
);
sh(`${giveTreeBack(at()).run.text}\n${forgetTree(tree).run.text}`);

const playbook = `${home}/play.yml`;
sh(`cat > ${playbook} <<'EOF'
- hosts: localhost
  connection: local
  gather_facts: false
  tasks: [{ file: { path: ${tree}, recurse: true, owner: "64055", group: "64055" } }]
EOF`);
const hasAnsible = spawnSync("ansible-playbook", ["--version"]).status === 0;

for (let round = 0; round < rounds; round++) {
  time("`chown -hR`", `chown -hR 64055:64055 ${tree}`);
  sh(owners);
  time("taken over without `keepOwners`", takeOverForGood(at(), { ...taker, opens: false }).run.text);
  sh(owners);
  time(
    "`setfattr --restore`, `chown -hR`",
    `cd ${tree}; setfattr -h --restore=${home}/dump; chown -hR 64055:64055 .`,
  );
  sh(`${wipe}\n${owners}`);
  time("taken over with `keepOwners`", takeOver(at(), taker).run.text);
  // So short that one of each says little.
  for (let look = 0; look < 5; look++) {
    time("`find -printf`", `find ${tree} -printf '%U %G %m\\n' > /dev/null`);
    time("a look with nothing to do", treeIn(tree).script.text);
  }
  time("given back", giveTreeBack(at()).run.text);
  sh(forgetTree(tree).run.text);
  if (hasAnsible) {
    time("Ansible's `file: recurse`", `LC_ALL=C.UTF-8 ansible-playbook ${playbook}`);
    sh(owners);
  }
}
sh(`rm -rf ${home}`);

console.log(`${entries} entries, median of ${rounds} rounds\n`);
console.log("| | seconds | against | ratio | at most |\n| --- | --- | --- | --- | --- |");
const row = (name, against, most = "") =>
  console.log(
    `| ${name} | ${median(name).toFixed(2)} | ${against ? `${against}: ${median(against).toFixed(2)}` : ""} | ${against ? (median(name) / median(against)).toFixed(2) : ""} | ${most} |`,
  );
row("taken over without `keepOwners`", "`chown -hR`", "1.2");
row("taken over with `keepOwners`", "`setfattr --restore`, `chown -hR`", "1.1");
row("a look with nothing to do", "`find -printf`", "1.3");
row("given back", "taken over with `keepOwners`", "1.3");
if (hasAnsible) row("Ansible's `file: recurse`", "taken over with `keepOwners`");
