import { type Problem, ShareError } from "../errors";

/**
 * How a script reaches a place. One file for each way: local, guest-agent, ssh.
 *
 * The I/O of this package lives in this folder alone.
 */
export interface Transport {
  /** The machine in the operator's words, for errors: `this machine`, `guest web1`. */
  readonly machine: string;
  /**
   * Runs one POSIX shell script there, from standard input, as one remote command.
   *
   * Resolves with whatever the script printed and its exit status, however it ended. Rejects with a
   * ShareError (`commandTimedOut`, `outputTooLarge`, `sudoNeedsPassword`, `transportFailed`,
   * `guestUnreachable`, ...) when it could not be started or had to be ended.
   */
  run(script: string, limits: Limits): Promise<Output>;
}

/** What a script may take before it is ended. */
export interface Limits {
  /** Milliseconds without any output, on either stream, until it counts as hung. */
  readonly idleMs: number;
  /**
   * The last line that the script prints on both streams, whatever else it prints. What still has them open when the
   * script has ended with it is not waited for: a process that waits in the kernel has them for as long as it does.
   */
  readonly last?: string;
  /** Told each line of standard error as it comes: a script's progress. */
  readonly onProgress?: (line: string) => void;
}

/** What came back. */
export interface Output {
  readonly status: number;
  readonly stdout: Buffer;
  readonly stderr: Buffer;
}

/** Where a script runs, in an error's words. */
export interface Where {
  readonly layer: "host" | "guest";
  readonly machine: string;
}

/** What went wrong there. */
export function failed(
  where: Where,
  code: Problem["code"],
  what: string,
  more: Pick<Problem, "tried" | "returned" | "remedy"> = {},
  options?: { readonly cause?: unknown },
): ShareError {
  return new ShareError({ ...where, code, what, ...more }, options);
}

/**
 * Bytes that one script may print in all. A look at a host prints some 100 KB; QEMU's guest agent
 * captures at most 16 MiB (qga/commands.c GUEST_EXEC_MAX_OUTPUT, QEMU 7.2).
 */
export const maxOutputBytes = 16 * 1024 * 1024;
