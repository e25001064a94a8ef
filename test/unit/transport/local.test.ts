import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runInThisContext } from "node:vm";
import type { ShareError } from "../../../provider/errors";
import { localTransport } from "../../../provider/transport/local";
import { maxOutputBytes } from "../../../provider/transport/transport";

const local = localTransport("none");
const run = async (script: string, idleMs = 5000) => {
  const { status, stdout, stderr } = await local.run(script, { idleMs });
  return { status, stdout: stdout.toString(), stderr: stderr.toString() };
};
const failure = (script: string, idleMs: number): Promise<ShareError> =>
  run(script, idleMs).then(
    (output) => {
      throw new Error(`it ended: ${JSON.stringify(output)}`);
    },
    (error: unknown) => error as ShareError,
  );

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "virtio9p-local-"));
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});

test("is called this machine", () => {
  expect(local.machine).toBe("this machine");
});

describe("what a script printed, however it ended", () => {
  test.each([
    ["", 0, "", ""],
    ["echo out; echo err >&2", 0, "out\n", "err\n"],
    ["echo out; exit 7", 7, "out\n", ""],
    ["no-such-command-at-all 2>/dev/null", 127, "", ""],
    ["printf '\\033[2J\\000'", 0, "\x1b[2J\0", ""],
  ])("%j", async (script, status, stdout, stderr) => {
    expect(await run(script)).toEqual({ status, stdout, stderr });
  });

  test("a script larger than a pipe", async () => {
    const padding = `: ${"x".repeat(200_000)}\n`;
    expect(await run(`${padding}echo end`)).toEqual({ status: 0, stdout: "end\n", stderr: "" });
  });

  test("a script that ends before it was read whole", async () => {
    expect((await run(`exit 3\n: ${"x".repeat(2_000_000)}\n`)).status).toBe(3);
  });

  test("bytes that are no UTF-8", async () => {
    const { stdout } = await local.run("printf '\\377\\376'", { idleMs: 5000 });
    expect([...stdout]).toEqual([0xff, 0xfe]);
  });
});

test("each line of standard error is told as it comes, whole, however it was cut", async () => {
  const told: string[] = [];
  const script = "printf 'a'; printf 'on\\303' >&2; sleep 0.1; printf '\\244e\\ntwo\\nrest' >&2";
  const { stderr } = await local.run(script, { idleMs: 5000, onProgress: (line) => told.push(line) });
  expect([told, stderr.toString()]).toEqual([["onäe", "two"], "onäe\ntwo\nrest"]);
});

describe("limits", () => {
  test("without any output it is ended, and what it started too", async () => {
    const mark = join(folder, "survived");
    const error = await failure(`(sleep 3; : > '${mark}') &\nsleep 3`, 300);
    expect(error).toMatchObject({
      name: "ShareError",
      code: "commandTimedOut",
      message:
        "host on this machine: a script gave no sign of progress for 0.3 s, and was ended [commandTimedOut]\n" +
        "    to do: see what the machine is waiting for; timeouts.commandMs is the limit",
    });
    await new Promise((resolve) => setTimeout(resolve, 3200));
    expect(existsSync(mark)).toBe(false);
  }, 10_000);

  test.each(["echo x", "echo x >&2"])("a sign of progress is any output: %s", async (sign) => {
    const script = `for i in 1 2 3 4 5 6; do sleep 0.2; ${sign}; done`;
    expect((await run(script, 700)).status).toBe(0);
  });

  test("one that ignores SIGTERM is killed", async () => {
    const begin = Date.now();
    expect((await failure(`trap '' TERM\nwhile :; do sleep 0.1; done`, 300)).code).toBe("commandTimedOut");
    expect(Date.now() - begin).toBeLessThan(5000);
  }, 10_000);

  test("one that left a process outside of its group is given up all the same", async () => {
    const pid = join(folder, "pid");
    const begin = Date.now();
    const error = await failure(`setsid sh -c 'echo $$ > "${pid}"; exec sleep 8' &\nsleep 8`, 300);
    const took = Date.now() - begin;
    process.kill(Number(readFileSync(pid, "utf8")));
    expect(error.code).toBe("commandTimedOut");
    expect(took).toBeLessThan(5000);
  }, 12_000);

  test("more output than the limit ends it", async () => {
    expect(await failure("yes", 5000)).toMatchObject({
      code: "outputTooLarge",
      message: `host on this machine: a script printed more than ${maxOutputBytes} bytes [outputTooLarge]`,
    });
  }, 20_000);

  test("as much as the limit is taken", async () => {
    const { stdout } = await local.run(`head -c ${maxOutputBytes} /dev/zero`, { idleMs: 5000 });
    expect(stdout.length).toBe(maxOutputBytes);
  }, 20_000);
});

test("a script that is killed from outside is an error, not a status", async () => {
  expect(await failure("kill -9 $$", 5000)).toMatchObject({
    code: "transportFailed",
    message: "host on this machine: a script was ended by SIGKILL [transportFailed]",
  });
});

test("what cannot be started is an error that names it", async () => {
  // Jest's own process has a copy of the environment, which no child gets.
  const { env } = runInThisContext("process") as NodeJS.Process;
  const path = env["PATH"];
  env["PATH"] = folder;
  try {
    const error = await localTransport("sudo")
      .run("echo", { idleMs: 1000 })
      .catch((caught: unknown) => caught);
    expect(error).toMatchObject({
      code: "transportFailed",
      message:
        "host on this machine: sudo could not be started [transportFailed]\n    answer: spawn sudo ENOENT",
    });
  } finally {
    env["PATH"] = path;
  }
});
