import { execFileSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { heldPrivileges, inMotion } from "../../../../../provider/layers/directory/tree/failures";
import { inTree, textOf } from "../../../../../provider/layers/shared/tree-program";

const folder = join(__dirname, "../../../../../provider/layers/shared/tree");
const modules = readdirSync(folder).map((file) => file.replace(/\.py$/, ""));
const python = (program: string, ...args: string[]): string =>
  execFileSync("python3", ["-I", "-c", program, ...args], { encoding: "utf8" });

test("each module is clean by pyflakes", () => {
  const files = modules.map((module) => join(folder, `${module}.py`));
  expect(execFileSync("pyflakes3", files, { encoding: "utf8" })).toBe("");
});

test.each(["count", "takeover", "symlinks", "labels"])(
  "%s has each module that it imports once, and before it",
  (name) => {
    const text = textOf(name);
    expect(text).not.toMatch(/^from (base|entry|walk|snapshot|search) import/m);
    // A name that two modules define would be the later one's for both.
    const defined = [...text.matchAll(/^(?:def|class) (\w+)|^(\w+) = /gm)].map(
      ([, one, other]) => one ?? other,
    );
    expect(new Set(defined).size).toBe(defined.length);
    python(`import ast, sys; ast.parse(sys.argv[1], feature_version=(3, 6))`, text);
  },
);

test("a file name is a word, and what it is called ends no program", () => {
  const { text } = inTree("restore", "/srv/it's\nEND_OF_PROGRAM\nhere");
  expect(text.split("\n")[0]).toBe(`python3 -I -S -B - '/srv/it'\\''s`);
  expect(textOf("takeover")).not.toMatch(/^END_OF_PROGRAM$/m);
});

test("what failures are known by is what the program says", () => {
  expect(textOf("takeover")).toContain(`"${heldPrivileges}\\n"`);
  expect(textOf("takeover")).toContain(`"${inMotion}"`);
});
