import { StringDecoder } from "node:string_decoder";
import { ShareError } from "../errors";
import { type Limits, maxOutputBytes, type Output } from "./transport";

/** Where a script runs, in an error's words. */
export interface Where {
  readonly layer: "host" | "guest";
  readonly machine: string;
}

/**
 * Gathers what one script prints, and gives up where it passes its limits: silent for too long, or too much.
 *
 * `giveUp` is told once, and whoever runs the script ends it. After {@link stop} nothing more happens.
 */
export class Listener {
  readonly #out: Buffer[] = [];
  readonly #err: Buffer[] = [];
  readonly #lines: (chunk: Buffer) => void;
  #bytes = 0;
  #idle: NodeJS.Timeout | undefined;
  #over = false;
  /** Of each stream what may be the beginning of its last line; undefined: it has come. */
  readonly #ends: { out: string | undefined; err: string | undefined } = { out: "", err: "" };

  constructor(
    private readonly limits: Limits,
    private readonly where: Where,
    private readonly giveUp: (error: ShareError) => void,
  ) {
    this.#lines = lineReader(limits.onProgress);
    this.#sign();
  }

  /** Bytes so far, of both streams. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Whether the script has printed its last line on both streams. */
  get hasLast(): boolean {
    return this.#ends.out === undefined && this.#ends.err === undefined;
  }

  stdout(chunk: Buffer): void {
    this.#take(this.#out, chunk);
    this.#listen("out", chunk);
  }

  stderr(chunk: Buffer): void {
    this.#take(this.#err, chunk);
    if (!this.#over) this.#lines(chunk);
    this.#listen("err", chunk);
  }

  /** What was printed until now. */
  output(status: number): Output {
    return { status, stdout: Buffer.concat(this.#out), stderr: Buffer.concat(this.#err) };
  }

  stop(): void {
    this.#over = true;
    clearTimeout(this.#idle);
  }

  #listen(stream: "out" | "err", chunk: Buffer): void {
    const before = this.#ends[stream];
    if (this.limits.last === undefined || before === undefined) return;
    const line = `\n${this.limits.last}\n`;
    const text = before + chunk.toString("latin1");
    this.#ends[stream] = text.includes(line) ? undefined : text.slice(-line.length);
  }

  #take(into: Buffer[], chunk: Buffer): void {
    if (this.#over) return;
    this.#sign();
    this.#bytes += chunk.length;
    if (this.#bytes <= maxOutputBytes) into.push(chunk);
    else this.#end(tooLarge(this.where));
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
  return new ShareError({
    ...where,
    code: "commandTimedOut",
    what: `a script gave no sign of progress for ${idleMs / 1000} s, and was ended`,
    remedy: "see what the machine is waiting for; timeouts.commandMs is the limit",
  });
}

function tooLarge(where: Where): ShareError {
  return new ShareError({
    ...where,
    code: "outputTooLarge",
    what: `a script printed more than ${maxOutputBytes} bytes`,
  });
}
