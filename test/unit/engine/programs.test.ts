import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import * as ts from "typescript";
import { guestPrograms, hostPrograms } from "../../../provider/engine/programs";
import { commandsOf } from "../../support/commands-of";

const provider = join(__dirname, "../../../provider");
const files = readdirSync(provider, { recursive: true })
  .map(String)
  .filter((name) => name.endsWith(".ts"));

/** Every text of `sh` in a file; what is put into it is a word. */
function textsOf(file: string): string[] {
  const source = ts.createSourceFile(
    file,
    readFileSync(join(provider, file), "utf8"),
    ts.ScriptTarget.Latest,
  );
  const texts: string[] = [];
  const visit = (node: ts.Node): void => {
    const tag = ts.isTaggedTemplateExpression(node) ? node.tag.getText(source) : "";
    // There the rest are programs of awk(1).
    const isShell = tag === "sh" || (tag === "String.raw" && file === "engine/section.ts");
    if (ts.isTaggedTemplateExpression(node) && isShell) {
      const { template } = node;
      const pieces = ts.isNoSubstitutionTemplateLiteral(template)
        ? [template]
        : [template.head, ...template.templateSpans.map(({ literal }) => literal)];
      texts.push(pieces.map(({ rawText }) => rawText ?? "").join("'part'"));
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return texts;
}

const builtins = new Set(
  ". : [ break cd eval command continue echo exec exit export false kill printf pwd read return set shift sh trap true umask unset wait".split(
    " ",
  ),
);
const found = new Map(files.map((file) => [file, textsOf(file).map(commandsOf)]));
const functions = new Set([...found.values()].flatMap((all) => all.flatMap(({ defined }) => [...defined])));
const programsOf = (file: string): string[] => {
  const called = new Set((found.get(file) ?? []).flatMap((one) => [...one.called]));
  // Of `unshare --propagation private`.
  called.delete("private");
  return [...called].filter((name) => !builtins.has(name) && !functions.has(name)).sort();
};

/** What facts ask for by `tools`, or by lists of their own: each name stands there as a string. */
const askedByFacts =
  "getfattr matchpathcon python3 restorecon semanage semodule setfattr unshare virsh".split(" ");

/** What scripts do without where it is missing, or use only where it was seen to be. */
const doneWithout: Readonly<Record<string, string>> = {
  dmesg: "layers/shared/denials.ts: an error gets no hint of what the kernel denied",
  flock: "share/machines.ts: a guest without it has no lock",
  getent: "layers/shared/principals.ts: passwd(5) and group(5) are read",
  lsattr: "layers/shared/guest-files.ts: an immutable file is found when it is written",
  modprobe: "layers/modules/index.ts: only where 9p is a module of the guest's kernel",
  setsebool: "layers/booleans/index.ts: asked for by its fact",
  "systemd-run": "power/plan.ts: only where systemd runs",
  systemctl: "only where systemd runs",
  mount: "on the host with unshare alone, whose package brings it",
};

const isOfGuest = (file: string): boolean =>
  /^layers\/(modules|fstab|mount|root-owner|booleans|shared\/(guest|mount|line-edits))/.test(file);
const runsAnywhere = (file: string): boolean =>
  /^(engine\/|remote\/(shell\/(inode|atomic-write)|guest-identity)|layers\/shared\/principals)/.test(file);

test("the texts of scripts are found, and what they call", () => {
  expect(programsOf("remote/shell/atomic-write.ts")).toEqual(["mv", "rm", "sync"]);
  expect(programsOf("layers/mount/probes.ts")).toEqual(
    expect.arrayContaining(["awk", "head", "ls", "readlink"]),
  );
  expect(
    commandsOf('a=$(b "$(c)" | d) && case $e in f) g;; *h*) ( i );; esac # j\nk <<L\nm\nL\nn() { o; }'),
  ).toEqual({
    called: new Set(["b", "c", "d", "g", "i", "k", "o"]),
    defined: new Set(["n"]),
  });
  expect(commandsOf("xargs -0 -n 6 stat -c 'x y' --; exec find . -exec chmod 1 {} ';'").called).toEqual(
    new Set(["xargs", "stat", "exec", "find", "chmod"]),
  );
});

describe("every program that a script calls is asked for before anything is run", () => {
  test.each(files.filter((file) => programsOf(file).length > 0))("%s", (file) => {
    const asked = new Set([
      ...(isOfGuest(file) || runsAnywhere(file) ? guestPrograms : hostPrograms),
      ...(isOfGuest(file) ? [] : askedByFacts),
      ...Object.keys(doneWithout),
      // One of a person who reads an error.
      ...(file === "pulumi/recovery-hints.ts" ? ["pulumi"] : []),
    ]);
    expect(programsOf(file).filter((name) => !asked.has(name))).toEqual([]);
  });

  test.each(askedByFacts)("%s", (name) => {
    const text = files.map((file) => readFileSync(join(provider, file), "utf8")).join("");
    expect(text).toMatch(new RegExp(`program: "${name}"|^  ${name}: \\["`, "m"));
  });
});

test("no loop goes up a path by a program, which may be missing and then never comes to an end", () => {
  const all = files.flatMap(textsOf).join("\n");
  expect(all).not.toMatch(/\b(while|until|do)\b[^\n]*\$\((dirname|basename)\b/);
  expect(all).not.toMatch(/\/bin\/kill/);
});
