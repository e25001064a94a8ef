import { execFileSync } from "node:child_process";
import fc from "fast-check";
import { comment, lines, sh } from "../../../../provider/remote/shell/sh";

/** Words without NUL, which no argument can carry; lone surrogates are no text that a shell could give back. */
const word = fc
  .oneof(
    fc.string({ unit: "binary" }),
    fc.string({ unit: fc.constantFrom(...Array.from("'\"\\$`!*?[]{}()<>|&;#~-= \t\n\r\x01\x7fäa")) }),
  )
  .filter((text) => !text.includes("\0") && text.isWellFormed());

const printed = (script: string): string => execFileSync("/bin/sh", ["-c", script], { encoding: "utf8" });

describe("sh", () => {
  test("a shell gives back any words exactly, and as many", () => {
    fc.assert(
      fc.property(fc.array(word, { maxLength: 8 }), word, (words, one) => {
        const script = sh`printf '<%s>' ${words} ${one}`;
        expect(printed(script.text)).toBe([...words, one].map((text) => `<${text}>`).join(""));
      }),
      { numRuns: 150 },
    );
  });

  test("a word stays one in an assignment, a test and a case", () => {
    fc.assert(
      fc.property(word, (text) => {
        const script = sh`a=${text}; [ "$a" = ${text} ] && case $a in ${text}) printf '%s.' "$a";; esac`;
        expect(printed(script.text)).toBe(`${text}.`);
      }),
      { numRuns: 50 },
    );
  });

  test.each([
    ["a string is one word", sh`ls -- ${"a b"}`, "ls -- 'a b'"],
    ["an empty string too", sh`ls -- ${""}`, "ls -- ''"],
    ["a single quote", sh`echo ${"it's"}`, "echo 'it'\\''s'"],
    ["an array is many words", sh`ls -- ${["a", "b c"]}`, "ls -- 'a' 'b c'"],
    ["an empty array is none", sh`ls ${[]}`, "ls "],
    ["a number is its digits", sh`exit ${-3}`, "exit -3"],
    ["a script goes in as it is", sh`( ${sh`echo ${"a"}`} )`, "( echo 'a' )"],
    ["a backslash in the template is one in the script", sh`printf '\n'`, "printf '\\n'"],
  ])("%s", (_, script, text) => {
    expect(script.text).toBe(text);
  });

  test.each(["a\0b", ["a", "\0"]])("throws for a NUL in %j", (part) => {
    expect(() => sh`echo ${part}`).toThrow(new RangeError("a NUL cannot be part of a command"));
  });

  test.each([1.5, NaN, Infinity, 2 ** 53])("throws for %d", (part) => {
    expect(() => sh`exit ${part}`).toThrow(new RangeError(`${part} is not a whole number`));
  });
});

test("lines puts scripts below each other, and a shell can run none of them", () => {
  expect(lines([sh`a`, sh`b`]).text).toBe("a\nb");
  expect(printed(lines([]).text)).toBe("");
});

test.each([
  ["plain", "# plain"],
  ["a\nrm -rf /\r\x1b", "# a?rm -rf /??"],
  ["grüße", "# grüße"],
])("comment %j is one line", (text, expected) => {
  expect(comment(text).text).toBe(expected);
});
