import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { output } from "./run";

/** What happens at one remote command of an operation. */
export interface Fault {
  /** The command, counted from 1. */
  readonly at: number;
  /**
   * `before`: the provider process is killed when it has sent the command, which does not begin; `after`: when
   * the command has ended, and its output is lost. On a host over SSH it is the connection that is cut, not
   * before the script has come: a channel that the client has not heard of is opened once more. `during`: the
   * command itself is killed after some milliseconds of its life.
   * `heldBefore`, `heldAfter`: nobody is killed; the command waits to be released before it begins, or when
   * all of it is done but its end.
   */
  readonly when: "before" | "after" | "during" | "heldBefore" | "heldAfter";
  readonly afterMs?: number;
}

/**
 * A `sh` that stands before the real one on the PATH of the provider process: it counts the remote
 * commands of an operation, and kills at one of them. The provider knows nothing of it.
 */
export class CountedShell {
  readonly folder = mkdtempSync(join(tmpdir(), "virtio9p-shell-"));
  readonly #log = join(this.folder, "log");

  constructor(fault?: Fault) {
    writeFileSync(join(this.folder, "sh"), this.#text(fault), { mode: 0o755 });
    this.reset();
  }

  reset(): void {
    writeFileSync(this.#log, "");
  }

  /** Remote commands since the last reset. */
  count(): number {
    return readFileSync(this.#log, "utf8")
      .split("\n")
      .filter((line) => line !== "").length;
  }

  /** Waits until the operation has come to the command that is held. */
  held(): Promise<void> {
    return this.#sees("held");
  }

  /** Lets it go on, and waits until it has ended. */
  async release(): Promise<void> {
    writeFileSync(join(this.folder, "release"), "");
    await this.#sees("over");
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }

  /** A file of the shell's folder, within two minutes. */
  async #sees(name: string): Promise<void> {
    await output("sh", [
      "-c",
      'for i in $(seq 2400); do if [ -e "$1" ]; then exit 0; fi; sleep 0.05; done; exit 1',
      "sh",
      join(this.folder, name),
    ]);
  }

  #text(fault: Fault | undefined): string {
    // Only what our transport starts (`sh -s`) counts: the engine's own launcher is a shell script too.
    const kill = fault
      ? `if [ "$count" = ${fault.at} ]; then
  ${fault.when === "before" ? "read -r sent; drop; exit 1" : ""}
  ${fault.when === "after" ? "/bin/sh -s >/dev/null 2>&1; drop; exit 1" : ""}
  ${fault.when === "during" ? `exec /usr/bin/timeout -s KILL ${(fault.afterMs ?? 0) / 1000} /bin/sh -s` : ""}
  ${fault.when === "heldBefore" ? `hold; /bin/sh -s; status=$?; : > ${this.folder}/over; exit $status` : ""}
  ${fault.when === "heldAfter" ? `/bin/sh -s; status=$?; hold; : > ${this.folder}/over; exit $status` : ""}
fi`
      : "";
    return `#!/bin/sh
if [ "$*" != -s ]; then exec /bin/sh "$@"; fi
echo command >> ${this.#log}
count=$(wc -l < ${this.#log})
# Who asked for the command: the provider itself, or, behind sudo, the connection that it came over.
drop() {
  asker=$PPID
  if [ "$(cat "/proc/$PPID/comm")" = sudo ]; then asker=$(ps -o ppid= -p "$PPID"); fi
  kill -KILL $asker
}
hold() {
  : > ${this.folder}/held
  for turn in $(seq 2400); do if [ -e ${this.folder}/release ]; then break; fi; sleep 0.05; done
}
${kill}
exec /bin/sh -s
`;
  }
}
