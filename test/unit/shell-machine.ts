import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { guestPrelude } from "../../provider/layers/shared/guest";
import type { Fact, Step } from "../../provider/engine/layer";
import type { Script } from "../../provider/remote/shell/sh";

/** Runs facts and steps of a concern in a real shell on this machine, against a temporary directory. */

/** What a script prints; `rewrite` puts other paths in the place of the system's own. */
export function runScript(
  script: Script,
  rewrite: (text: string) => string = (text) => text,
  shell = "/bin/sh",
): Buffer {
  const [program = "", ...args] = shell.split(" ");
  const work = mkdtempSync(join(tmpdir(), "virtio9p-work-"));
  try {
    return execFileSync(
      program,
      [...args, "-c", `set -e\numask 077\nwork=${work}\n${rewrite(`${guestPrelude.text}\n${script.text}`)}`],
      {
        env: { ...process.env, LC_ALL: "C" },
        stdio: ["ignore", "pipe", "pipe"],
        maxBuffer: 1 << 26,
      },
    );
  } finally {
    rmSync(work, { recursive: true });
  }
}

/** Looks up one fact. */
export function runFact<T>(fact: Fact<T>, rewrite?: (text: string) => string): T {
  const bytes = runScript(fact.script, rewrite);
  return fact.parse(bytes.toString("utf8"), bytes);
}

/** Carries steps out, in order. */
export function runSteps(steps: readonly Step[], rewrite?: (text: string) => string): void {
  for (const step of steps) runScript(step.run, rewrite);
}

/** What steps do, in the operator's words. */
export function does(plan: { readonly steps: readonly Step[] }): string[] {
  return plan.steps.map((step) => step.does);
}

/** Runs a script until it is killed with all that it started, after so many milliseconds; whether it was. */
export const killedAfter = (
  ms: number,
  script: Script,
  rewrite: (text: string) => string = (text) => text,
): Promise<boolean> =>
  new Promise((resolve) => {
    const child = spawn("/bin/sh", ["-c", `set -e\numask 077\n${rewrite(script.text)}`], {
      detached: true,
      stdio: "ignore",
      env: { ...process.env, LC_ALL: "C" },
    });
    const timer = setTimeout(() => process.kill(-(child.pid ?? 0), "SIGKILL"), ms);
    child.on("close", (_, signal) => {
      clearTimeout(timer);
      resolve(signal !== null);
    });
  });
