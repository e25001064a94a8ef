import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Fact, Step } from "../../../provider/engine/layer";
import type { Machine } from "../../../provider/engine/requests";
import { takeLock } from "../../../provider/engine/lock";
import { type Script, sh } from "../../../provider/remote/shell/sh";
import type { Transport } from "../../../provider/remote/transport";
import { shellTransport } from "../shell-transport";

/** What the tests of sections have in common: scripts in a real shell, in a fresh folder for each test. */

export let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "virtio9p-section-"));
  mkdirSync(join(folder, "run"));
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});

export const machineOf = (transport: Transport, idleMs = 1000): Machine => ({
  place: "host",
  transport,
  prelude: sh`folder=${folder} records=${folder}/records`,
  lock: takeLock(sh`"$folder/lock"`, 1),
  programs: ["flock", "sha256sum"],
  idleMs,
  key: folder,
  scope: { key: "", enter: sh`:`, beforeWrite: sh`:` },
  most: Infinity,
});
export const fact = (name: string, script: Script, more: Partial<Fact<unknown>> = {}): Fact<unknown> => ({
  place: "host",
  does: `look at ${name}`,
  script,
  parse: (output) => output,
  ...more,
});
export const factsOf = (...facts: readonly Fact<unknown>[]) => new Map(facts.map((one) => [one.does, one]));
export const step = (does: string, run: Script, undo?: Script): Step => ({
  does,
  run,
  ...(undo ? { undo } : {}),
});
/** What is left of this test's scripts: each `sleep` with this word for its seconds. */
export const running = (word: string): string[] =>
  readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        const [command = "", variables = ""] = ["cmdline", "environ"].map((file) =>
          readFileSync(`/proc/${pid}/${file}`, "latin1"),
        );
        return command.includes(`sleep\0${word}\0`) && variables.includes(`signs=${folder}/`);
      } catch {
        return false;
      }
    });
/** Other tests' scripts have their folders in /run meanwhile. */
export const here = (shell: string): Transport =>
  shellTransport(shell, (text) => text.replace("for folder in /run ", `for folder in ${folder}/run `));
export const leftovers = (): string[] => readdirSync(join(folder, "run"));
export const timedOut = (does: string, how = "was ended"): object => ({
  code: "commandTimedOut",
  what: expect.stringMatching(
    new RegExp(`^"${does}" gave no sign of progress for \\d+ s, and ${how}`),
  ) as string,
  tried: does,
  remedy: expect.stringContaining("timeouts.commandMs") as string,
});
