/**
 * The text of `getfattr --dump`, which `setfattr --restore` takes: a part for each entry, which an empty line ends.
 *
 * ```
 * # file: sub/a b\012c
 * user.virtfs.mode=0xa4810000
 * user.virtfs.uid="\350\003\000\000"
 *
 * ```
 *
 * Of a name `\`, LF and CR stand as three octal digits, all else as it is. Of a value `0x` begins hexadecimal digits,
 * `0s` base64, and a quotation mark text. Text and names are bytes here: a character for each, 0 to 255 (latin1).
 * Source: getfattr.c and setfattr.c of attr 2.5.1.
 */
import { decodeOctalEscapes, encodeOctalEscapes } from "./octal-escape";

/** The attributes of one entry. */
export interface Dumped {
  readonly name: string;
  readonly attributes: ReadonlyMap<string, Buffer>;
  /** Of the line that names it, counted from 1. */
  readonly line: number;
}

/** A line that no getfattr writes. */
export class DumpError extends Error {
  override readonly name = "DumpError";
  constructor(line: number, text: string, what: string) {
    super(`line ${line}: ${what}: ${text.slice(0, 200)}`);
  }
}

/** Reads the entries one by one. Rejects with a {@link DumpError} at the first line that is not of that shape. */
export async function* parseDump(lines: AsyncIterable<string> | Iterable<string>): AsyncGenerator<Dumped> {
  const reader = new DumpReader();
  for await (const line of lines) {
    const whole = reader.take(line);
    if (whole) yield whole;
  }
  const last = reader.end();
  if (last) yield last;
}

/** The same line by line, as they come. */
export class DumpReader {
  #open: { name: string; line: number; attributes: Map<string, Buffer> } | undefined;
  #line = 0;

  /** The entry that this line ends. Throws a {@link DumpError}. */
  take(line: string): Dumped | undefined {
    this.#line += 1;
    if (line.startsWith("# file: ")) {
      const whole = this.end();
      this.#open = { name: decodeOctalEscapes(line.slice(8)), line: this.#line, attributes: new Map() };
      return whole;
    }
    if (line === "") return this.end();
    if (line.startsWith("#")) return undefined;
    if (!this.#open) throw new DumpError(this.#line, line, "it belongs to no file");
    const [attribute = "", ...text] = line.split("=");
    const value = text.length === 0 ? Buffer.alloc(0) : parseValue(text.join("="));
    if (!value) throw new DumpError(this.#line, line, "its value cannot be read");
    this.#open.attributes.set(attribute, value);
    return undefined;
  }

  /** The last one, that nothing ended. */
  end(): Dumped | undefined {
    const whole = this.#open;
    this.#open = undefined;
    return whole;
  }
}

/** One entry as a part of a dump, its values in hexadecimal digits. */
export function formatDumped(name: string, attributes: ReadonlyMap<string, Buffer>): string {
  const values = [...attributes].map(([attribute, value]) => `${attribute}=0x${value.toString("hex")}\n`);
  return `# file: ${encodeOctalEscapes(name, /[\\\n\r]/g)}\n${values.join("")}\n`;
}

function parseValue(text: string): Buffer | undefined {
  if (/^0[xX](?:[0-9a-fA-F]{2})*$/.test(text)) return Buffer.from(text.slice(2), "hex");
  if (/^0[sS](?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/.test(text))
    return Buffer.from(text.slice(2), "base64");
  const quoted = /^"((?:[^"\\]|\\[0-7]{3}|\\[^0-7])*)"$/.exec(text)?.[1];
  if (quoted === undefined) return undefined;
  const bytes = quoted.replace(/\\([0-7]{3}|[^0-7])/g, (_, escaped: string) =>
    escaped.length === 3 ? String.fromCharCode(Number.parseInt(escaped, 8) & 0xff) : escaped,
  );
  return Buffer.from(bytes, "latin1");
}
