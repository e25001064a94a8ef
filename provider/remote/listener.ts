import type { Readable } from "node:stream";
import { StringDecoder } from "node:string_decoder";
import type { ShareError } from "../errors";
import { failed, type Limits, maxOutputBytes, type Output, type Where } from "./transport";

/** What came on one stream. */
interface Heard {
  readonly chunks: Buffer[];
  /** What may be the beginning of its last line; undefined: that has come. */
  tail: string | undefined;
}

/**
 * Gathers what one script prints, and gives up where it passes its limits: silent for too long, or too much.
 *
 * `giveUp` is told once, and whoever runs the script ends it. After {@link stop} nothing more happens.
 */
export class Listener {
  readonly #out: Heard = { chunks: [], tail: "" };
  readonly #err: Heard = { chunks: [], tail: "" };
  #bytes = 0;
  #idle: NodeJS.Timeout | undefined;
  #over = false;

  constructor(
    private readonly limits: Limits,
    private readonly where: Where,
    private readonly giveUp: (error: ShareError) => void,
  ) {
    this.#sign();
  }

  /** Listens to both streams; `heard` is called behind each chunk. */
  listen(stdout: Readable, stderr: Readable, heard: () => void): void {
    const lines = lineReader(this.limits.onProgress);
    stdout.on("data", (chunk: Buffer) => {
      this.#take(this.#out, chunk);
      heard();
    });
    stderr.on("data", (chunk: Buffer) => {
      this.#take(this.#err, chunk);
      if (!this.#over) lines(chunk);
      heard();
    });
  }

  /** Whether the script has printed its last line on both streams. */
  get hasLast(): boolean {
    return this.#out.tail === undefined && this.#err.tail === undefined;
  }

  /** What was printed until now. */
  output(status: number): Output {
    return { status, stdout: Buffer.concat(this.#out.chunks), stderr: Buffer.concat(this.#err.chunks) };
  }

  stop(): void {
    this.#over = true;
    clearTimeout(this.#idle);
  }

  #take(heard: Heard, chunk: Buffer): void {
    if (this.limits.last !== undefined && heard.tail !== undefined) {
      const line = `\n${this.limits.last}\n`;
      const text = heard.tail + chunk.toString("latin1");
      heard.tail = text.includes(line) ? undefined : text.slice(-line.length);
    }
    if (this.#over) return;
    this.#sign();
    this.#bytes += chunk.length;
    if (this.#bytes <= maxOutputBytes) heard.chunks.push(chunk);
    else
      this.#end(failed(this.where, "outputTooLarge", `a script printed more than ${maxOutputBytes} bytes`));
  }

  #sign(): void {
    clearTimeout(this.#idle);
    this.#idle = setTimeout(() => {
      this.#end(silent(this.where, this.limits.idleMs));
    }, this.limits.idleMs);
  }

  #end(error: ShareError): void {
    this.stop();
    this.giveUp(error);
  }
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

/** The error of a machine that was asked for something and did not say a word. */
export function silent(where: Where, idleMs: number): ShareError {
  const what = `a script gave no sign of progress for ${idleMs / 1000} s, and was ended`;
  const remedy = "see what the machine is waiting for; timeouts.commandMs is the limit";
  return failed(where, "commandTimedOut", what, { remedy });
}
