import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { giveRuleBack, removeRule, setRule } from "../../../provider/concerns/selinux-rules";
import type { Step } from "../../../provider/engine/concern";
import { parseFileContexts, treePattern } from "../../../provider/formats/file-contexts";
import { type Script, sh } from "../../../provider/formats/shell";
import { runScript } from "../shell-machine";

/**
 * The transaction in a real shell, on a real file; only semanage is a stand-in that edits the file as 3.4 does:
 * it takes quotes away, appends, and refuses what is there already or is not there.
 */
const semanage = `#!/bin/sh
[ "$1" = import ] || exit 2
cat > "$FOLDER/asked"
[ ! -e "$FOLDER/locked" ] || { rm "$FOLDER/locked"; echo 'Could not get direct transaction lock at /x/semanage.trans.LOCK.' >&2; exit 1; }
exec awk -v file="$FOLDER/local" '
BEGIN { while ((getline line < file) > 0) { n++; rule[n] = line; split(line, word, " "); at[word[1]] = n } }
{ gsub("\\047", ""); pattern = $NF; kind = ""; for (i = 1; i < NF; i++) { if ($i == "-f") letter = $(i + 1); if ($i == "-s") user = $(i + 1); if ($i == "-t") type = $(i + 1); if ($i == "-r") range = ":" $(i + 1) } }
$2 == "-d" { if (!(pattern in at)) { print "not defined" > "/dev/stderr"; failed = 1; exit }; rule[at[pattern]] = ""; delete at[pattern] }
$2 == "-a" { if (pattern in at) { print "already defined" > "/dev/stderr"; failed = 1; exit }
  rule[++n] = pattern (letter == "a" ? "" : letter == "f" ? " --" : " -" letter) " " (type == "<<none>>" ? type : user ":object_r:" type range); at[pattern] = n }
END { if (failed) exit 1; printf "" > file; for (i = 1; i <= n; i++) if (rule[i] != "") print rule[i] > file }' "$FOLDER/asked"
`;

let folder: string;
const path = process.env["PATH"];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "virtio9p-rules-"));
  mkdirSync(join(folder, "bin"));
  writeFileSync(join(folder, "bin/semanage"), semanage);
  chmodSync(join(folder, "bin/semanage"), 0o755);
  process.env["PATH"] = `${join(folder, "bin")}:${path ?? ""}`;
  process.env["FOLDER"] = folder;
});
afterEach(() => {
  process.env["PATH"] = path;
  rmSync(folder, { recursive: true });
});

const image = "system_u:object_r:svirt_image_t:s0";
const other = "system_u:object_r:var_t:s0";
const line = (pattern: string, context = other, kind = ""): string =>
  [pattern, ...(kind === "" ? [] : [kind]), context].join(" ");
const put = (...lines: string[]): void => {
  writeFileSync(join(folder, "local"), lines.map((one) => `${one}\n`).join(""));
};
const local = (): string[] => readFileSync(join(folder, "local"), "utf8").split("\n").slice(0, -1);
const rules = () => parseFileContexts(local().join("\n"));
const rewrite = (text: string): string =>
  text.replaceAll('"/etc/selinux/$policy/contexts/files"/file_contexts.local', join(folder, "local"));
const run = (script: Script): string => runScript(script, rewrite).toString();
/** As the engine carries out what is done together. */
const together = (...steps: Step[]): void => {
  const asked = steps.map(({ together: common }) => common?.asked ?? "").join("");
  run(sh`asked=${asked}
${steps[0]?.run ?? sh`:`}`);
};

test("a rule comes behind those that are there", () => {
  put(line("/srv/other(/.*)?"), line("/srv(/.*)?"));
  together(setRule("/srv/a b", image, rules()));
  expect(local()).toEqual([line("/srv/other(/.*)?"), line("/srv(/.*)?"), line("/srv/a\\x20b(/.*)?", image)]);
});

test.each<[string, string[], string[]]>([
  [
    "one for something inside it, and all that came later keep their order",
    [line("/x"), line("/srv/a/b(/.*)?"), line("/y", other, "-d"), line("/srv/a/.*\\.log", "<<none>>", "--")],
    [
      line("/x"),
      line("/srv/a(/.*)?", image),
      line("/srv/a/b(/.*)?"),
      line("/y", other, "-d"),
      line("/srv/a/.*\\.log", "<<none>>", "--"),
    ],
  ],
  [
    "a range with categories",
    [line("/srv/a/b", "u:object_r:t:s0:c1,c2")],
    [line("/srv/a(/.*)?", image), line("/srv/a/b", "u:object_r:t:s0:c1,c2")],
  ],
  [
    "the same pattern with another context: it gets ours in its place",
    [line("/srv/a(/.*)?"), line("/y")],
    [line("/srv/a(/.*)?", image), line("/y")],
  ],
])("before %s; taken out, all is as it was", (_, before, after) => {
  put(...before);
  const step = setRule("/srv/a", image, rules());
  together(step);
  expect(local()).toEqual(after);
  run(step.undo ?? sh`:`);
  expect(local()).toEqual(before);
  together(step);
  const [rule] = rules().filter(({ pattern }) => pattern === treePattern("/srv/a"));
  if (!rule) throw new Error("no rule");
  const former = before.find((one) => one.startsWith("/srv/a(/.*)? "));
  together(former === undefined ? removeRule(rule) : giveRuleBack(rule, other));
  expect(local()).toEqual(before);
});

test("of several in one transaction the nested ones come behind, whatever their order", () => {
  put(line("/x"));
  const seen = rules();
  together(...["/srv/a/b", "/srv/a", "/srv/c", "/srv"].map((one) => setRule(one, image, seen)));
  expect(rules().map(({ pattern }) => pattern)).toEqual(
    ["/srv", "/srv/a", "/srv/a/b", "/srv/c"].map(treePattern).toSpliced(0, 0, "/x"),
  );
  const made = rules().filter(({ pattern }) => pattern !== "/x");
  together(...made.map(removeRule));
  expect(local()).toEqual([line("/x")]);
});

test("what is there already asks semanage for nothing, nor does what is gone", () => {
  put(line("/srv/a(/.*)?", image));
  together(setRule("/srv/a", image, rules()));
  together(removeRule({ pattern: "/srv/gone(/.*)?", kind: "", context: image }));
  expect(() => readFileSync(join(folder, "asked"))).toThrow(/ENOENT/);
});

test("another semanage that has the store is waited for", () => {
  put();
  writeFileSync(join(folder, "locked"), "");
  together(setRule("/srv/a", image, []));
  expect(local()).toEqual([line("/srv/a(/.*)?", image)]);
});

test("a rule with quotes cannot be moved: that is an error, and nothing is changed", () => {
  const before = [line("/srv/a/it's"), line("/y")];
  put(...before);
  expect(() => {
    together(setRule("/srv/a", image, rules()));
  }).toThrow(/cannot be moved: \/srv\/a\/it's/);
  expect(local()).toEqual(before);
});
