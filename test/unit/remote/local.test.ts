import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runInThisContext } from "node:vm";
import type { ShareError } from "../../../provider/errors";
import { localTransport } from "../../../provider/remote/local";
import { maxOutputBytes } from "../../../provider/remote/transport";
import { whatScriptsPrint } from "../../support/what-scripts-print";

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

whatScriptsPrint(() => local);

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
    const script = `for i in 1 2 3 4 5 6; do sleep 0.6; ${sign}; done`;
    expect((await run(script, 3000)).status).toBe(0);
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
