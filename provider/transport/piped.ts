import { type ChildProcess, spawn } from "node:child_process";
import type { Readable, Writable } from "node:stream";
import { searchPath } from "../formats/environment";
import type { Script } from "../formats/shell";

/** A script on this machine whose streams are used while it runs, for what it prints or takes has no end. */
export interface Piped {
  readonly stdin: Writable;
  /** What it prints; ends with it. */
  readonly stdout: Readable;
  /** Resolves when it ended. Never rejects. */
  readonly ended: Promise<PipedEnd>;
  /** Ends it, and what it started. */
  stop(): void;
}

/** What was said of many entries: how often, and the first ten, a character for each byte. */
export interface Said {
  readonly said: number;
  readonly first: readonly string[];
}

/** Its standard error, of which equal lines that follow each other count once. */
export interface PipedEnd extends Said {
  /** Its exit status, 128 when a signal ended it. */
  readonly status: number;
}

/** Counts what is said, and keeps the first of it: there may be as much as entries. */
export class Sayings implements Said {
  said = 0;
  readonly first: string[] = [];

  add(text: string): void {
    this.said += 1;
    if (this.first.length < 10) this.first.push(text);
  }
}

/** Starts a script as who we are. Of what it says on standard error, lines that match `passed` are not counted. */
export function piped(script: Script, passed?: RegExp): Piped {
  const child = spawn("sh", ["-c", script.text], {
    detached: true,
    stdio: ["pipe", "pipe", "pipe"],
    env: { PATH: searchPath, LC_ALL: "C" },
  });
  // Who writes to one that has ended learns it from how it ended.
  child.stdin.on("error", () => undefined);
  return {
    stdin: child.stdin,
    stdout: child.stdout,
    ended: endOf(child, passed),
    stop: () => {
      try {
        if (child.pid !== undefined && child.exitCode === null) process.kill(-child.pid, "SIGTERM");
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
      }
    },
  };
}

function endOf(child: ChildProcess, passed: RegExp | undefined): Promise<PipedEnd> {
  const sayings = new Sayings();
  let [rest, last] = ["", ""];
  const hear = (line: string): void => {
    // setfattr(1) says of an entry for each of its attributes that it cannot be set.
    if (line === "" || line === last || passed?.test(line) === true) return;
    last = line;
    sayings.add(line);
  };
  child.stderr?.setEncoding("latin1").on("data", (text: string) => {
    const lines = (rest + text).split("\n");
    rest = (lines.pop() ?? "").slice(0, 10_000);
    lines.forEach(hear);
  });
  return new Promise((resolve) => {
    child.on("error", (error) => {
      resolve({ status: 127, said: 1, first: [error.message] });
    });
    child.on("close", (code) => {
      hear(rest);
      resolve({ status: code ?? 128, said: sayings.said, first: sayings.first });
    });
  });
}
