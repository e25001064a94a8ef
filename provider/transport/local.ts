import { spawn } from "node:child_process";
import { ShareError } from "../errors";
import { Listener } from "./listener";
import { type Runner, runnerFor, sudoRefusal } from "./sudo";
import type { Limits, Output, Transport } from "./transport";

/** Milliseconds between asking a hung script to end and ending it. */
const graceMs = 2000;

const here = { layer: "host", machine: "this machine" } as const;

/**
 * This machine, through a shell of its own process group; as root where that was asked.
 *
 * `auto` is `sudo -n` for anybody but root. `sudo -n` never asks for a password: where one is wanted,
 * the error has the sudoers line to add.
 */
export function localTransport(escalate: "auto" | "sudo" | "none"): Transport {
  const runner = runnerFor(escalate, process.getuid?.() === 0);
  return { machine: here.machine, run: (script, limits) => runProcess(runner, script, limits) };
}

/** Starts the runner's shell, feeds it `script`, and gathers what it prints within the limits. */
function runProcess(runner: Runner, script: string, limits: Limits): Promise<Output> {
  const [program, ...args] = runner.command;
  return new Promise((resolve, reject) => {
    // A process group of its own, so that what the script started ends with it.
    const child = spawn(program, args, { detached: true, stdio: ["pipe", "pipe", "pipe"] });
    let failure: ShareError | undefined;
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
    const listener = new Listener(limits, here, (error) => {
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
    });
    // All that is left is what cannot be ended: with its pipes closed here, nobody waits for it.
    const leave = (): void => {
      if (child.exitCode === null || !listener.hasLast) return;
      child.stdout.destroy();
      child.stderr.destroy();
    };
    child.stdout.on("data", (chunk: Buffer) => {
      listener.stdout(chunk);
      leave();
    });
    child.stderr.on("data", (chunk: Buffer) => {
      listener.stderr(chunk);
      leave();
    });
    child.on("exit", leave);
    // A script that ends early (a missing shell) closes its standard input: its status tells why.
    child.stdin.on("error", () => undefined);
    child.on("error", (error) => {
      listener.stop();
      reject(notStarted(program, error));
    });
    child.on("close", (code, signal) => {
      listener.stop();
      clearTimeout(kill);
      const output = listener.output(code ?? 128);
      const refused =
        failure ?? sudoRefusal(runner, here, process.env["USER"] ?? String(process.getuid?.()), output);
      if (refused) reject(refused);
      else if (signal) reject(ended(signal));
      else resolve(output);
    });
    child.stdin.end(script);
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
