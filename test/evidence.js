// What jest's results come to:
//   evidence.js count FILE    prints the counts of one run
//   evidence.js table WAY     puts full runs into docs/evidence/full.md, and prints their counts; standard input has
//                             a line for each test file: its path, its content's hash, and where its result is
const { existsSync, readFileSync, writeFileSync, mkdirSync } = require("node:fs");
const { dirname, join } = require("node:path");

const root = join(__dirname, "..");
const target = join(root, "docs/evidence/full.md");

/** Counts of a run: a file that could not even be loaded is a failed test. */
function countsOf(result) {
  const tests = result.testResults.flatMap(({ assertionResults }) => assertionResults);
  const times = result.testResults.map(({ startTime, endTime }) => endTime - startTime);
  return {
    passed: tests.filter(({ status }) => status === "passed").length,
    failed:
      tests.filter(({ status }) => status === "failed").length +
      result.testResults.filter(({ assertionResults }) => assertionResults.length === 0).length,
    skipped: tests.filter(({ status }) => status !== "passed" && status !== "failed").length,
    seconds: times.reduce((sum, time) => sum + time, 0) / 1000,
  };
}

/** Sample: `1837 passed, 0 failed`. */
function sumOf(counts) {
  const sum = (name) => counts.reduce((all, one) => all + Number(one[name]), 0);
  const skipped = sum("skipped") > 0 ? `, ${sum("skipped")} skipped` : "";
  return `${sum("passed")} passed, ${sum("failed")} failed${skipped}`;
}

/** The rows that the table has, by file and way. */
function rowsOf(text) {
  const rows = new Map();
  for (const line of text.split("\n")) {
    const [file, way, passed, failed, skipped, seconds, content] = line
      .split("|")
      .slice(1, -1)
      .map((cell) => cell.trim());
    if (/^test\//.test(file ?? ""))
      rows.set(`${file} ${way}`, { file, way, passed, failed, skipped, seconds, content });
  }
  return rows;
}

function tableOf(rows) {
  const sums = [...new Set(rows.map(({ way }) => way))].map((way) => {
    const own = rows.filter((row) => row.way === way);
    return `- ${way}: ${own.length} files, ${sumOf(own)}`;
  });
  return `# Full runs

The newest full run of each test file. \`way\` is how the machines were reached: \`local\` is this machine and the
guest's agent; \`host\`, \`guest\` and \`both\` are over SSH, as a user with sudo. \`content\` is what was tested: the
first digits of a sha256 over provider, test (of the test files only this one, and for the lab without what helps the
others), package.json, package-lock.json, tsconfig.json and jest.config.js, as \`test/run full\` computes it.

A row stays until its file is run again that way, so rows can be of different contents.

${sums.join("\n")}

| file | way | passed | failed | skipped | seconds | content |
|---|---|---|---|---|---|---|
${rows.map((row) => `| ${row.file} | ${row.way} | ${row.passed} | ${row.failed} | ${row.skipped} | ${row.seconds} | ${row.content} |\n`).join("")}`;
}

function writeTable(way) {
  const files = readFileSync(0, "utf8")
    .trim()
    .split("\n")
    .map((line) => line.split(" "));
  const rows = rowsOf(existsSync(target) ? readFileSync(target, "utf8") : "");
  const run = [];
  for (const [file, content, result] of files.filter(([, , result]) => existsSync(result))) {
    const counts = countsOf(JSON.parse(readFileSync(result, "utf8")));
    run.push(counts);
    rows.set(`${file} ${way}`, { file, way, ...counts, seconds: Math.round(counts.seconds), content });
  }
  const standing = [...rows.values()].filter(({ file }) => existsSync(join(root, file)));
  standing.sort((a, b) => (`${a.file} ${a.way}` < `${b.file} ${b.way}` ? -1 : 1));
  mkdirSync(dirname(target), { recursive: true });
  writeFileSync(target, tableOf(standing));
  if (run.length < files.length) {
    console.log(`${files.length - run.length} of ${files.length} files have no result for this content yet`);
  }
  return run;
}

const [command, argument] = process.argv.slice(2);
const counted =
  command === "count" ? [countsOf(JSON.parse(readFileSync(argument, "utf8")))] : writeTable(argument);
console.log(sumOf(counted));
process.exitCode =
  counted.some(({ failed }) => failed > 0) || !counted.some(({ passed }) => passed > 0) ? 1 : 0;
