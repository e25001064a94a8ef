#!/usr/bin/env node
// Measures what memory and time `virtio9p inspect` takes for a small tree and for a large one, in one run. Prints markdown.
//
//   npm run build && sudo node test/bench/inspect.js [ENTRIES]     1000000 entries: some 2 minutes
//
// It makes /srv/v9p-bench and removes it.
const { execFileSync, spawnSync } = require("node:child_process");
const { join } = require("node:path");

const home = "/srv/v9p-bench";
const command = join(__dirname, "../../dist/cli/virtio9p.js");
const told = "data:text/javascript,process.on('exit',()=>console.error(process.resourceUsage().maxRSS))";
const sh = (text) => execFileSync("/bin/sh", ["-ec", text], { stdio: ["ignore", "ignore", "inherit"] });

/** Files of a guest's user, a thousand in each directory. */
function made(entries) {
  sh(`rm -rf ${home}; mkdir -p ${home}; cd ${home}
seq 0 ${Math.ceil(entries / 1000) - 1} | sed 's/^/d/' | xargs mkdir
seq 0 ${entries - 1} | awk '{ print "d" int($1 / 1000) "/f" $1 }' | xargs touch
find . -type f -print0 | xargs -0 setfattr -n user.virtfs.uid -v 0xe8030000 --`);
}

function seconds(run) {
  const began = performance.now();
  run();
  return (performance.now() - began) / 1000;
}

const rows = [1000, Number(process.argv[2] ?? 1_000_000)].map((entries) => {
  made(entries);
  let peak;
  const find = seconds(() => sh(`find ${home} -printf '%U %G %m\\n'`));
  const inspect = seconds(() => {
    const { status, stderr } = spawnSync(process.execPath, ["--import", told, command, "inspect", home], {
      stdio: ["ignore", "ignore", "pipe"],
      encoding: "utf8",
    });
    if (status !== 0) throw new Error(stderr);
    peak = Number(stderr.trim()) / 1024;
  });
  return { entries, peak, find, inspect };
});
sh(`rm -rf ${home}`);

console.log("| entries | most memory, MiB | seconds | entries a second | `find -printf`, seconds |");
console.log("| --- | --- | --- | --- | --- |");
for (const { entries, peak, find, inspect } of rows) {
  console.log(
    `| ${entries} | ${peak.toFixed(0)} | ${inspect.toFixed(1)} | ${Math.round(entries / inspect)} | ${find.toFixed(1)} |`,
  );
}
