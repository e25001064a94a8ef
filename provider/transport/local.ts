import { spawn } from "node:child_process";
import { StringDecoder } from "node:string_decoder";
import { ShareError } from "../errors";
import { type Limits, maxOutputBytes, type Output, type Transport } from "./transport";

/** Milliseconds between asking a hung script to end and ending it. */
const graceMs = 2000;

/**
 * This machine, through a shell of its own process group; as root where that was asked.
 *
 * `auto` is `sudo -n` for anybody but root. `sudo -n` never asks for a password: where one is wanted,
 * the error has the sudoers line to add.
 */
export function localTransport(escalate: "auto" | "sudo" | "none"): Transport {
  const withSudo = escalate === "sudo" || (escalate === "auto" && process.getuid?.() !== 0);
  const command = withSudo ? ["sudo", "-n", "--", "sh", "-s"] : ["sh", "-s"];
  return { machine: "this machine", run: (script, limits) => runProcess(command, script, limits) };
}

/** Starts `command`, feeds it `script`, and gathers what it prints within the limits. */
function runProcess(command: readonly string[], script: string, limits: Limits): Promise<Output> {
  const [program = "sh", ...args] = command;
  return new Promise((resolve, reject) => {
    // A process group of its own, so that what the script started ends with it.
    const child = spawn(program, args, { detached: true, stdio: ["pipe", "pipe", "pipe"] });
    const stdout: Buffer[] = [];
    const stderr: Buffer[] = [];
    let bytes = 0;
    let failure: ShareError | undefined;
    let idle: NodeJS.Timeout | undefined;
    let kill: NodeJS.Timeout | undefined;

    const end = (signal: NodeJS.Signals): void => {
      try {
        if (child.pid !== undefined) process.kill(-child.pid, signal);
      } catch (error) {
        // Gone already; or root's, through sudo: then only its pipes can be closed on it.
        const { code } = error as NodeJS.ErrnoException;
        if (code !== "ESRCH" && code !== "EPERM") throw error;
      }
    };
    const giveUp = (error: ShareError): void => {
      if (failure) return;
      failure = error;
      end("SIGTERM");
      kill = setTimeout(() => {
        end("SIGKILL");
        // Whoever left the process group may hold the pipes for as long as it likes.
        child.stdout.destroy();
        child.stderr.destroy();
        // A child that is root's may never end for us: the call does.
        child.unref();
        reject(error);
      }, graceMs);
    };
    const sign = (): void => {
      clearTimeout(idle);
      idle = setTimeout(() => {
        giveUp(hung(limits.idleMs));
      }, limits.idleMs);
    };
    const take = (into: Buffer[], chunk: Buffer): void => {
      sign();
      bytes += chunk.length;
      if (bytes > maxOutputBytes) giveUp(tooLarge());
      else into.push(chunk);
    };

    const progress = lineReader(limits.onProgress);
    child.stdout.on("data", (chunk: Buffer) => {
      take(stdout, chunk);
    });
    child.stderr.on("data", (chunk: Buffer) => {
      take(stderr, chunk);
      progress(chunk);
    });
    // A script that ends early (a missing shell) closes its standard input: its status tells why.
    child.stdin.on("error", () => undefined);
    child.on("error", (error) => {
      clearTimeout(idle);
      reject(notStarted(program, error));
    });
    child.on("close", (code, signal) => {
      clearTimeout(idle);
      clearTimeout(kill);
      const output = { status: code ?? 128, stdout: Buffer.concat(stdout), stderr: Buffer.concat(stderr) };
      const wantsPassword = program === "sudo" && bytes < 4096 ? sudoRefusal(output) : undefined;
      if (failure ?? wantsPassword) reject(failure ?? (wantsPassword as ShareError));
      else if (signal) reject(ended(signal));
      else resolve(output);
    });
    sign();
    child.stdin.end(script);
  });
}

/** Splits what comes in chunks into whole lines. */
function lineReader(onLine: ((line: string) => void) | undefined): (chunk: Buffer) => void {
  if (!onLine) return () => undefined;
  const decoder = new StringDecoder("utf8");
  let rest = "";
  return (chunk) => {
    const pieces = (rest + decoder.write(chunk)).split("\n");
    rest = pieces.pop() ?? "";
    pieces.forEach(onLine);
  };
}

const here = { layer: "host", machine: "this machine" } as const;

function hung(idleMs: number): ShareError {
  return new ShareError({
    ...here,
    code: "commandTimedOut",
    what: `a script gave no sign of progress for ${idleMs / 1000} s, and was ended`,
    remedy: "see what the machine is waiting for; timeouts.commandMs is the limit",
  });
}

function tooLarge(): ShareError {
  return new ShareError({
    ...here,
    code: "outputTooLarge",
    what: `a script printed more than ${maxOutputBytes} bytes`,
  });
}

function notStarted(program: string, error: Error): ShareError {
  return new ShareError(
    { ...here, code: "transportFailed", what: `${program} could not be started`, returned: error.message },
    { cause: error },
  );
}

function ended(signal: string): ShareError {
  return new ShareError({ ...here, code: "transportFailed", what: `a script was ended by ${signal}` });
}

/** sudo's own words when it may not go on without a password or a terminal (sudo 1.9.13, plugins/sudoers). */
function sudoRefusal(output: Output): ShareError | undefined {
  const text = output.stderr.toString("utf8");
  if (output.status !== 1 || !/^sudo: /m.test(text)) return undefined;
  const user = process.env["USER"] ?? String(process.getuid?.());
  return new ShareError({
    ...here,
    code: "sudoNeedsPassword",
    what: `sudo does not let ${user} run a command without a password`,
    tried: "sudo -n -- sh -s",
    returned: text,
    remedy: `add the line "${user} ALL=(root) NOPASSWD: ALL" with visudo -f /etc/sudoers.d/virtio9p, or run as root`,
  });
}
