import { spawn } from "node:child_process";
import { searchPath } from "./shell/environment";
import type { Script } from "./shell/sh";

/** What was said of many entries, a character for each byte. */
export class Sayings {
  count = 0;
  /** The first ten: there may be as much as entries. */
  readonly first: string[] = [];

  add(text: string): void {
    this.count += 1;
    if (this.first.length < 10) this.first.push(text);
  }
}

/** How a script ended: its exit status, 128 when a signal ended it, and its standard error. */
export interface PipedEnd {
  readonly status: number;
  readonly said: Sayings;
}

/**
 * Starts a script on this machine as who we are, whose streams are used while it runs, for what it prints or takes has no
 * end. `ended` never rejects. `stop` ends it, and what it started.
 *
 * Of its standard error, lines that match `passed` do not count, and equal ones that follow each other count once.
 */
export function piped(script: Script, passed?: RegExp) {
  const child = spawn("sh", ["-c", script.text], {
    detached: true,
    stdio: ["pipe", "pipe", "pipe"],
    env: { PATH: searchPath, LC_ALL: "C" },
  });
  // Who writes to one that has ended learns it from how it ended.
  child.stdin.on("error", () => undefined);
  const said = new Sayings();
  let [rest, last] = ["", ""];
  const hear = (line: string): void => {
    // setfattr(1) says of an entry for each of its attributes that it cannot be set.
    if (line === "" || line === last || passed?.test(line) === true) return;
    last = line;
    said.add(line);
  };
  child.stderr.setEncoding("latin1").on("data", (text: string) => {
    const lines = (rest + text).split("\n");
    rest = (lines.pop() ?? "").slice(0, 10_000);
    lines.forEach(hear);
  });
  const ended = new Promise<PipedEnd>((resolve) => {
    child.on("error", (error) => {
      said.add(error.message);
      resolve({ status: 127, said });
    });
    child.on("close", (code) => {
      hear(rest);
      resolve({ status: code ?? 128, said });
    });
  });
  const stop = (): void => {
    try {
      if (child.pid !== undefined && child.exitCode === null) process.kill(-child.pid, "SIGTERM");
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
    }
  };
  return { stdin: child.stdin, stdout: child.stdout, ended, stop };
}
