// Writes the table of a full run, docs/evidence/SUITE.md, from jest's results; ends with their counts.
const { existsSync, readFileSync, writeFileSync, mkdirSync } = require("node:fs");
const { basename, dirname, join } = require("node:path");

// Standard input has a line for each test file: its path, and where its result is.
const [hash, suite, via] = process.argv.slice(2);
const root = join(__dirname, "..");

const results = new Map(
  readFileSync(0, "utf8")
    .trim()
    .split("\n")
    .map((line) => line.split(" ")),
);
const files = [...results.keys()];
const at = (file) => results.get(file);
const missing = files.filter((file) => !existsSync(at(file)));
if (missing.length > 0) {
  console.log(`no table yet: ${missing.length} of ${files.length} files have no result for this content`);
  process.exit(0);
}

const rows = [];
let passed = 0;
let failed = 0;
for (const file of files) {
  const result = JSON.parse(readFileSync(at(file), "utf8"));
  for (const one of result.testResults) {
    if (one.assertionResults.length === 0) failed += 1;
    for (const test of one.assertionResults) {
      if (test.status === "passed") passed += 1;
      else failed += 1;
      const seconds = ((test.duration ?? 0) / 1000).toFixed(1);
      rows.push(
        `| ${basename(one.name)} | ${test.fullName.replaceAll("|", "\\|")} | ${test.status} | ${seconds} |`,
      );
    }
  }
}
const name = suite.replaceAll("/", "-") + (via === "local" ? "" : `-via-${via}`);
const way = { local: [], host: ["The host", ""], guest: ["The guest", ""], both: ["Host and guest", ""] }[
  via
].map((who) => (who === "" ? "" : `${who} over SSH, as a user with sudo.`));
const text = [
  `# Full run: ${suite}`,
  "",
  `What was tested: content ${hash} (sha256 over provider, test, package.json, package-lock.json,`,
  "tsconfig.json and jest.config.js, as `test/run full` computes it).",
  "",
  ...way,
  `${passed} passed, ${failed} failed.`,
  "",
  "| file | case | result | seconds |",
  "|---|---|---|---|",
  ...rows,
  "",
].join("\n");
const target = join(root, "docs/evidence", `${name}.md`);
mkdirSync(dirname(target), { recursive: true });
writeFileSync(target, text);
console.log(`wrote docs/evidence/${name}.md`);
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 && passed > 0 ? 0 : 1;
