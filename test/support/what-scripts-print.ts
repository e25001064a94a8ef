import type { Transport } from "../../provider/remote/transport";

/** A script, its exit status, what it prints, and what it prints as an error. */
const rows: readonly (readonly [string, number, string, string])[] = [
  ["", 0, "", ""],
  ["echo out; echo err >&2", 0, "out\n", "err\n"],
  ["echo out; exit 7", 7, "out\n", ""],
  ["no-such-command-at-all 2>/dev/null", 127, "", ""],
  ["printf '\\033[2J\\000'", 0, "\x1b[2J\0", ""],
];

/** What is the same by every transport: a script's output, however it ended. */
export function whatScriptsPrint(transport: () => Transport): void {
  const limits = { idleMs: 10_000 };
  const run = async (script: string) => {
    const { status, stdout, stderr } = await transport().run(script, limits);
    return { status, stdout: stdout.toString(), stderr: stderr.toString() };
  };

  describe("what a script printed, however it ended", () => {
    test.each(rows)("%j", async (script, status, stdout, stderr) => {
      expect(await run(script)).toEqual({ status, stdout, stderr });
    });

    test("a script larger than a pipe and a window, and what it prints too", async () => {
      const padding = `: ${"x".repeat(3_000_000)}\n`;
      const { status, stdout } = await run(`${padding}head -c 3000000 /dev/zero | tr '\\000' y`);
      expect([status, stdout.length]).toEqual([0, 3_000_000]);
    });

    test("a script that ends before it was read whole", async () => {
      expect((await run(`exit 3\n: ${"x".repeat(3_000_000)}\n`)).status).toBe(3);
    });

    test("bytes that are no UTF-8", async () => {
      const { stdout } = await transport().run("printf '\\377\\376'", limits);
      expect([...stdout]).toEqual([0xff, 0xfe]);
    });

    test("each line of standard error is told as it comes, whole, however it was cut", async () => {
      const told: string[] = [];
      const script = "printf 'a'; printf 'on\\303' >&2; sleep 0.2; printf '\\244e\\ntwo\\nrest' >&2";
      const { stderr } = await transport().run(script, { ...limits, onProgress: (line) => told.push(line) });
      expect([told, stderr.toString()]).toEqual([["onäe", "two"], "onäe\ntwo\nrest"]);
    });
  });
}
