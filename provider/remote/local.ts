import { spawn } from "node:child_process";
import type { ShareError } from "../errors";
import { Listener } from "./listener";
import { type Runner, runnerFor, sudoRefusal } from "./sudo";
import { failed, type Limits, type Output, type Transport } from "./transport";

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
  const [program, ...args] = runner;
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
    const closePipes = (): void => {
      child.stdout.destroy();
      child.stderr.destroy();
    };
    const listener = new Listener(limits, here, (error) => {
      failure = error;
      end("SIGTERM");
      kill = setTimeout(() => {
        end("SIGKILL");
        // Whoever left the process group may hold the pipes for as long as it likes.
        closePipes();
        // A child that is root's may never end for us: the call does.
        child.unref();
        reject(error);
      }, graceMs);
    });
    // All that is left is what cannot be ended: with its pipes closed here, nobody waits for it.
    const leave = (): void => {
      if (child.exitCode !== null && listener.hasLast) closePipes();
    };
    listener.listen(child.stdout, child.stderr, leave);
    child.on("exit", leave);
    // A script that ends early (a missing shell) closes its standard input: its status tells why.
    child.stdin.on("error", () => undefined);
    child.on("error", (error) => {
      listener.stop();
      const returned = error.message;
      reject(
        failed(here, "transportFailed", `${program} could not be started`, { returned }, { cause: error }),
      );
    });
    child.on("close", (code, signal) => {
      listener.stop();
      clearTimeout(kill);
      const output = listener.output(code ?? 128);
      const user = process.env["USER"] ?? String(process.getuid?.());
      const refused = failure ?? sudoRefusal(runner, here, user, output);
      if (refused) reject(refused);
      else if (signal) reject(failed(here, "transportFailed", `a script was ended by ${signal}`));
      else resolve(output);
    });
    child.stdin.end(script);
  });
}
