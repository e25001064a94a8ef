import { type ErrorCode, type Problem, ShareError } from "../errors";
import { countOf } from "../formats/count";
import { shownName } from "../formats/shown-name";
import type { Sayings } from "../remote/piped";

/** Milliseconds between two showings. */
const everyMs = 100;

/**
 * What a command says, and exits with. How many entries so far, and how fast, is a line on a terminal that is gone at the
 * end; elsewhere nothing.
 */
export class Report {
  entries = 0;
  /** 1: some entries could not be done, or were left out. */
  status = 0;
  readonly #began = performance.now();
  #shown = 0;

  add(): void {
    this.entries += 1;
    if (!process.stderr.isTTY || this.entries % 64 !== 0) return;
    const now = performance.now();
    if (now - this.#shown < everyMs) return;
    this.#shown = now;
    // 12,000 entries, 34,000/s
    const rate = Math.round((this.entries / (now - this.#began)) * 1000);
    const [entries, aSecond] = [this.entries, rate].map((one) => one.toLocaleString("en-US"));
    process.stderr.write(`\r\x1b[K${entries} entries, ${aSecond}/s`);
  }

  /** `text`: a character for each byte. */
  tell(text: string): void {
    this.end();
    process.stderr.write(`virtio9p: ${shownName(text)}\n`);
  }

  /** What could not be `done`. */
  couldNot(done: string, { count, first }: Sayings): void {
    if (count === 0) return;
    this.status = 1;
    for (const line of first) this.tell(line);
    const rest = count > first.length ? `; the first ${first.length} are above` : "";
    this.tell(`${entriesOf(count)} could not be ${done}${rest}`);
  }

  /** Where other file systems begin, which were not entered. */
  leftOut(places: readonly string[]): void {
    if (places.length === 0) return;
    this.status = 1;
    const some = places.slice(0, 5).join(", ") + (places.length > 5 ? ", ..." : "");
    this.tell(
      places.length === 1
        ? `another file system, subvolume or mount begins there and was left out, to be given by itself: ${some}`
        : `${places.length} other file systems, subvolumes or mounts begin there and were left out, to be given by themselves: ${some}`,
    );
  }

  /** `isJson`: in a line of JSON on standard output. */
  summary(changed: number, failed: number, isJson = false): void {
    this.end();
    const { entries } = this;
    if (isJson) process.stdout.write(`${JSON.stringify({ entries, changed, failed })}\n`);
    else this.tell(`${entriesOf(entries)}, ${changed} changed, ${failed} failed`);
  }

  /** Takes the line away. */
  end(): void {
    if (this.#shown !== 0) process.stderr.write("\r\x1b[K");
    this.#shown = 0;
  }
}

export function entriesOf(count: number): string {
  return countOf(count, "entry", "entries");
}

/** An error of the command. */
export function failure(
  code: ErrorCode,
  what: string,
  remedy: string,
  { cause, ...more }: Pick<Problem, "tried" | "returned"> & { readonly cause?: unknown } = {},
): ShareError {
  return new ShareError(
    { code, layer: "directory", machine: "this machine", what, remedy, ...more },
    { cause },
  );
}
