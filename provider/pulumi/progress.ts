import { printable } from "../errors";
import { parseLogLevel } from "../formats/log-level";
import type { Reporter } from "../share/reconcile";

/** What a line is. */
export type Kind = "step" | "warning" | "note";

/** Something that can show a line in the row that one resource has in Pulumi's own output. */
export interface Display {
  /**
   * `step`: shown until the next one, and gone when the call is done. `warning` and `note` stay in the diagnostics.
   * Resolves with what kept it from being shown, if anything did. Never rejects: it is a courtesy.
   */
  show(urn: string, kind: Kind, text: string): Promise<Error | undefined>;
}

/** Milliseconds that the end of a call may wait for all that was not shown yet: as long as one line may take. */
const lastLinesMs = 500;

/**
 * What a person sees of one call while it works.
 *
 * Steps and warnings go to the share's own row, where there is a display and the share's URN is known.
 * Elsewhere warnings are lines on standard error, which Pulumi shows without saying whose they are; so
 * each begins with the share's tag. When the display fails once, it is left alone for the rest of the call.
 *
 * `VIRTIO9P_LOG` = `steps` or `scripts` prints each step on standard error too, for without a terminal
 * Pulumi does not show what is gone when the call is done.
 */
export class Progress {
  readonly #urn: string;
  readonly #verbose: boolean;
  #display: Display | undefined;
  /** Each line waits for the one before it, so that their order holds. */
  #told: Promise<void> | undefined;
  #endsAt = Infinity;

  constructor(urn?: string, display?: Display) {
    const { steps, problem } = parseLogLevel(process.env["VIRTIO9P_LOG"]);
    this.#urn = urn ?? "";
    this.#verbose = steps;
    this.#display = urn === undefined ? undefined : display;
    if (problem !== undefined) warnOnce(problem);
  }

  /** Tells of the share that has this tag. */
  teller(tag: string): Reporter & { readonly note: (text: string) => void } {
    return {
      step: (does) => {
        if (this.#verbose) say(`${tag}: ${does}`);
        this.#tell("step", does);
      },
      // The tag stands in both: `pulumi --diff` shows a warning without its resource.
      warn: (text) => {
        this.#tell("warning", `${tag}: ${text}`, `${tag}: warning: ${text}`);
      },
      note: (text) => {
        this.#tell("note", `${tag}: ${text}`, `${tag}: ${text}`);
      },
    };
  }

  /** Resolves when every line was shown or given up; a call must not end before. */
  async delivered(): Promise<void> {
    this.#endsAt = performance.now() + lastLinesMs;
    await this.#told;
  }

  /** Shows a line in the row; `printed` stands on standard error in its place. */
  #tell(kind: Kind, text: string, printed?: string): void {
    const print = (): void => {
      if (printed !== undefined) say(printed);
    };
    if (!this.#display && !this.#told) {
      print();
      return;
    }
    this.#told = (this.#told ?? Promise.resolve()).then(async () => {
      const display = performance.now() < this.#endsAt ? this.#display : undefined;
      const hindrance = await display?.show(this.#urn, kind, printable(text));
      if (display && !hindrance) return;
      if (hindrance && this.#verbose)
        say(`virtio9p: Pulumi shows no more of this call: ${hindrance.message}`);
      this.#display = undefined;
      print();
    });
  }
}

const warned = new Set<string>();

/** What is wrong with the environment belongs to no share, and is said once in a process. */
function warnOnce(problem: string): void {
  if (warned.has(problem)) return;
  warned.add(problem);
  say(`virtio9p: warning: ${problem}`);
}

function say(text: string): void {
  process.stderr.write(`${printable(text)}\n`);
}
