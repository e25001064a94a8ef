import { spawn } from "node:child_process";

/** How a command ended, with all that it printed. */
export interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly cwd?: string;
  readonly env?: NodeJS.ProcessEnv;
  readonly input?: string;
  /** Milliseconds until it is ended; every command of a test is bounded. */
  readonly timeoutMs?: number;
  /** Told the process id as soon as there is one. */
  readonly onStart?: (pid: number) => void;
  /** In a process group of its own, as a terminal's shell starts a job: `kill(-pid)` reaches all of it. */
  readonly ownGroup?: boolean;
}

/** Runs a command to its end; never rejects for an exit status. */
export function run(program: string, args: readonly string[], options: RunOptions = {}): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      cwd: options.cwd,
      env: options.env ?? process.env,
      stdio: ["pipe", "pipe", "pipe"],
      timeout: options.timeoutMs ?? 600_000,
      detached: options.ownGroup ?? false,
    });
    let stdout = "";
    let stderr = "";
    child.stdout.setEncoding("utf8").on("data", (chunk: string) => (stdout += chunk));
    child.stderr.setEncoding("utf8").on("data", (chunk: string) => (stderr += chunk));
    child.on("error", reject);
    child.on("close", (code, signal) => {
      resolve({ code: code ?? (signal ? 128 : 1), stdout, stderr });
    });
    if (child.pid !== undefined) options.onStart?.(child.pid);
    child.stdin.on("error", () => undefined);
    child.stdin.end(options.input ?? "");
  });
}

/** Runs a command that must succeed, and gives what it printed. */
export async function output(
  program: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<string> {
  const ended = await run(program, args, options);
  if (ended.code !== 0) {
    throw new Error(`${program} ${args.join(" ")} ended with ${ended.code}:\n${ended.stdout}${ended.stderr}`);
  }
  return ended.stdout;
}
