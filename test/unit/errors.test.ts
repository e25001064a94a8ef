import { formatProblem, printable, printableLines, type Problem, ShareError } from "../../provider/errors";

const problem: Problem = {
  code: "mountBusy",
  layer: "mount",
  machine: "guest web1",
  what: "/mnt/foobar is in use",
};

describe("formatProblem", () => {
  test.each<[string, Partial<Problem>, string]>([
    ["nothing more", {}, ""],
    ["empty details", { tried: "", returned: "", remedy: "" }, ""],
    [
      "all details",
      { tried: "umount", returned: "busy", remedy: "stop it" },
      "\n    tried: umount\n    answer: busy\n    to do: stop it",
    ],
    ["an answer of two lines", { returned: "a\nb\n" }, "\n    answer: a\n      b"],
  ])("%s", (_, more, expected) => {
    expect(formatProblem({ ...problem, ...more })).toBe(
      `mount on guest web1: /mnt/foobar is in use [mountBusy]${expected}`,
    );
  });

  test("what a guest chose to call a process cannot drive the terminal", () => {
    const what = "/mnt/foobar is in use in the guest by \x1b]0;owned\x07 (412)";
    // eslint-disable-next-line no-control-regex -- that is the point
    expect(formatProblem({ ...problem, what })).not.toMatch(/[\x00-\x09\x0b-\x1f\x7f-\x9f]/);
  });
});

describe("ShareError", () => {
  test("of one problem", () => {
    const error = new ShareError(problem);
    expect(error).toMatchObject({
      name: "ShareError",
      code: "mountBusy",
      problems: [problem],
      message: "mount on guest web1: /mnt/foobar is in use [mountBusy]",
    });
  });

  test("of several: each said once, the code is the first one's", () => {
    const second: Problem = { code: "tagTaken", layer: "device", machine: "this machine", what: "taken" };
    const cause = new Error("cause");
    const error = new ShareError([problem, second], { cause });
    expect(error.message).toBe(`${formatProblem(problem)}\n${formatProblem(second)}`);
    expect([error.code, error.cause]).toEqual(["mountBusy", cause]);
  });
});

describe("printable", () => {
  test.each([
    ["  a\tb\n", "a\tb"],
    ["a\nb", "a\n      b"],
    ["\x1b[2J", "\\x1b[2J"],
    ["a\rb\x07\x7f", "a\\x0db\\x07\\x7f"],
    ["a\u202eb", "a\\x202eb"],
    ["a\u{e0041}b", "a\\xe0041b"],
    ["grüße 🙂", "grüße 🙂"],
    ["x".repeat(1000), "x".repeat(1000)],
    ["x".repeat(1001), `${"x".repeat(1000)} ... (1001 characters)`],
  ])("%j", (text, expected) => {
    expect(printable(text)).toBe(expected);
  });
});

describe("printableLines", () => {
  test.each([
    ["  a\tb\n\n", "  a\tb\n\n"],
    ["a\r\n\x1b[2J\u202e", "a\\x0d\n\\x1b[2J\\x202e"],
    ["x".repeat(2000), "x".repeat(2000)],
  ])("%j", (text, expected) => {
    expect(printableLines(text)).toBe(expected);
  });
});
