import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { giveRuleBack, removeRule, setRule as setRuleAt } from "../../../../provider/layers/selinux/rules";
import type { Step } from "../../../../provider/engine/layer";
import {
  type FileContextRule,
  isTreeRule,
  mayMatchInside,
  parseFileContexts,
  treePattern,
} from "../../../../provider/formats/file-contexts";
import { type Script, sh } from "../../../../provider/remote/shell/sh";
import { runScript } from "../../shell-machine";
import { semanage } from "../../support/semanage";

/** The transaction in a real shell, on a real file; only semanage is a stand-in. */
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
/** Where no rule matches the directory itself. */
const setRule = (path: string, context: string, seen: readonly FileContextRule[], placed = true): Step =>
  setRuleAt(path, context, seen, {
    at: seen.findLastIndex((rule) => isTreeRule(rule, path)),
    inside: seen.flatMap((rule, at) =>
      !isTreeRule(rule, path) && !rule.pattern.startsWith("/srv(") && mayMatchInside(rule.pattern, path)
        ? [at]
        : [],
    ),
    placed,
  });
const run = (script: Script): string => runScript(script, rewrite).toString();
/** As the engine carries out what is done together. */
const together = (...steps: Step[]): void => {
  const asked = steps.map(({ queued }) => queued ?? "").join("");
  run(sh`queued=${asked}
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

test("a rule of ours that stands behind those for something inside is put before them", () => {
  put(line("/x"), line("/srv/a/b-d(/.*)?"), line("/srv/a(/.*)?", other), line("/y"));
  together(setRule("/srv/a", image, rules(), false));
  expect(local()).toEqual([line("/x"), line("/srv/a(/.*)?", image), line("/srv/a/b-d(/.*)?"), line("/y")]);
});

/** What `semanage import` of 3.5 and later looks for in a line, to take it into its first transaction. */
test("every line is of the kind that semanage takes into one transaction", () => {
  put(line("/srv/a/b(/.*)?"), line("/srv/a/x", "<<none>>"));
  together(setRule("/srv/a", image, rules()));
  const asked = readFileSync(join(folder, "asked"), "utf8").trim().split("\n");
  expect(asked).toHaveLength(5);
  expect(asked.filter((one) => !one.includes("-d"))).toEqual([]);
});

test("a rule with single quotes is moved", () => {
  put(line("/srv/a/it's"), line("/y"));
  together(setRule("/srv/a", image, rules()));
  expect(local()).toEqual([line("/srv/a(/.*)?", image), line("/srv/a/it's"), line("/y")]);
});

test("a rule with double quotes cannot be moved: that is an error, and nothing is changed", () => {
  const before = [line('/srv/a/"it"'), line("/y")];
  put(...before);
  expect(() => {
    together(setRule("/srv/a", image, rules()));
  }).toThrow(/cannot be moved: \/srv\/a\/"it"/);
  expect(local()).toEqual(before);
});
