/** Milliseconds between two showings. */
const everyMs = 100;

/** How many entries so far, and how fast: a line on a terminal that is gone at the end; elsewhere nothing. */
export class Tally {
  count = 0;
  readonly #began = performance.now();
  readonly #isShown = process.stderr.isTTY;
  #shown = 0;

  add(): void {
    this.count += 1;
    if (!this.#isShown || this.count % 64 !== 0) return;
    const now = performance.now();
    if (now - this.#shown < everyMs) return;
    this.#shown = now;
    process.stderr.write(`\r\x1b[K${this.text()}`);
  }

  /** Sample: `12,000 entries, 34,000/s`. */
  text(): string {
    const seconds = (performance.now() - this.#began) / 1000;
    const rate = Math.round(this.count / Math.max(seconds, 0.001));
    const entries = `${this.count.toLocaleString("en-US")} ${this.count === 1 ? "entry" : "entries"}`;
    return `${entries}, ${rate.toLocaleString("en-US")}/s`;
  }

  /** Takes the line away. */
  end(): void {
    if (this.#shown !== 0) process.stderr.write("\r\x1b[K");
    this.#shown = 0;
  }
}
