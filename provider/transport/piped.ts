import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { lstatSync, realpathSync, statSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import type { Readable, Writable } from "node:stream";
import { ShareError } from "../errors";
import { searchPath } from "../formats/environment";
import type { Script } from "../formats/shell";
import { identityFormat } from "../formats/identity";

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

/** Where scripts find an entry of this machine. */
export interface Located {
  /** A directory, by a path in which no link is. */
  readonly directory: string;
  /** Inode and birth, by which a script knows it again: `6029396:1763877000.123456789`. */
  readonly identity: string;
  /** The entry in it: `.` for itself, `./a`. */
  readonly name: string;
}

/**
 * Finds an entry of this machine; undefined: it is not there. A link is an entry, and is not followed; one on the way
 * there is refused with `sourceIsLink`, for a guest may have put it there.
 */
export function located(path: string): Located | undefined {
  const full = resolve(path);
  const parent = dirname(full);
  if (!statSync(parent, { throwIfNoEntry: false })?.isDirectory()) return undefined;
  const real = realpathSync(parent);
  if (real !== parent) {
    throw new ShareError({
      code: "sourceIsLink",
      layer: "directory",
      machine: "this machine",
      what: `${path} leads through a link to ${join(real, basename(full))}`,
      remedy: "give that path, if it is meant",
    });
  }
  const status = lstatSync(full, { throwIfNoEntry: false });
  if (!status) return undefined;
  const [directory, name] = status.isDirectory() ? [full, "."] : [parent, `./${basename(full)}`];
  const identity = execFileSync("stat", ["-c", identityFormat, "--", directory], { encoding: "utf8" }).trim();
  return { directory, name, identity };
}
