import { decodeOctalEscapes, encodeOctalEscapes } from "./octal-escape";

/** One entry of fstab(5), every field decoded. */
export interface FstabEntry {
  /** `UUID=...`, `/dev/vda1`; for 9p the tag. */
  readonly source: string;
  readonly mountPoint: string;
  readonly type: string;
  /** Separated by commas, as written; empty where the line has none. */
  readonly options: string;
  /** For dump(8); 0 where the line has none. */
  readonly dump: number;
  /** For fsck(8); 0 where the line has none. */
  readonly pass: number;
}

/** An entry and where it stands. */
export interface FstabLine {
  readonly entry: FstabEntry;
  /** Byte offset of the line. */
  readonly start: number;
  /** Byte offset after the line and its terminator (LF or CRLF), if there is one. */
  readonly end: number;
  /** The line without its terminator, decoded from UTF-8. */
  readonly text: string;
}

/** An edit at one place: at byte `offset`, `remove` bytes give way to `insert` (bytes too, see `parseFstab`). */
export interface Splice {
  readonly offset: number;
  readonly remove: number;
  readonly insert: string;
}

/**
 * Finds the entries of an fstab; comments, blank lines and lines that mount(8) would ignore as malformed are
 * skipped.
 *
 * ```
 * foobar    /mnt/foo\040bar    9p   trans=virtio,version=9p2000.L,_netdev 0 0
 * ```
 * `bytes` is the file as a "binary" string, one character per byte (`buffer.toString("latin1")`), so that
 * offsets are byte offsets and that what is not ours survives whatever its encoding is.
 *
 * Source: fstab(5) and libmount/src/tab_parse.c `mnt_parse_table_line` of util-linux 2.38 (options, dump and
 * pass may be missing, one CR at the end is no part of the line, only space and tab separate).
 */
export function parseFstab(bytes: string): FstabLine[] {
  return [...bytes.matchAll(/[^\n]*\n|[^\n]+$/g)].flatMap((match) => {
    const line = withoutTerminator(match[0]);
    const entry = parseEntry(line);
    const end = match.index + match[0].length;
    return entry ? [{ entry, start: match.index, end, text: decodeUtf8(line) }] : [];
  });
}

/**
 * One line, without terminator, in the columns of the seed: four spaces after source and mount point, three
 * after the type, one after the rest.
 *
 * ```
 * foobar    /mnt/foobar    9p   trans=virtio,version=9p2000.L,_netdev 0 0
 * ```
 * Blanks, line ends, backslashes, and a `#` that would make the line a comment are written as octal escapes.
 * No field may be empty.
 */
export function formatFstabEntry(entry: FstabEntry): string {
  const source = encodeField(entry.source).replace(/^#/, "\\043");
  const [mountPoint, type, options] = [entry.mountPoint, entry.type, entry.options].map(encodeField);
  return `${source}    ${mountPoint}    ${type}   ${options} ${entry.dump} ${entry.pass}`;
}

/**
 * Appends a line.
 *
 * A file that ends with a line end (or is empty) gets the line and a line end. A file that does not gets a
 * line end and then the line, itself without one: so the bytes alone tell `removeLine` that the line end
 * before ours came with it, and `remove(add(bytes))` is `bytes` in both cases, also when others have added
 * lines after ours meanwhile. The line end is CRLF where all the others are, LF otherwise.
 */
export function addLine(bytes: string, lineText: string): Splice {
  const terminator = terminatorOf(bytes);
  const line = encodeUtf8(lineText);
  const isTerminated = bytes === "" || bytes.endsWith("\n");
  return {
    offset: bytes.length,
    remove: 0,
    insert: isTerminated ? line + terminator : terminator + line,
  };
}

/**
 * Takes a line out: with its own line end, or, when it is the last one and has none, with the one before it
 * (see `addLine`).
 */
export function removeLine(bytes: string, line: FstabLine): Splice {
  const isTerminated = bytes[line.end - 1] === "\n";
  const start = isTerminated ? line.start : startOfTerminatorBefore(bytes, line.start);
  return { offset: start, remove: line.end - start, insert: "" };
}

/** Puts another text in the place of a line, and keeps its terminator. */
export function replaceLine(bytes: string, line: FstabLine, lineText: string): Splice {
  return {
    offset: line.start,
    remove: withoutTerminator(bytes.slice(line.start, line.end)).length,
    insert: encodeUtf8(lineText),
  };
}

/** Carries an edit out. */
export function applySplice(bytes: string, splice: Splice): string {
  return bytes.slice(0, splice.offset) + splice.insert + bytes.slice(splice.offset + splice.remove);
}

function withoutTerminator(line: string): string {
  return line.replace(/\r?\n$|\r$/, "");
}

function parseEntry(line: string): FstabEntry | undefined {
  const [source, mountPoint, type, options = "", dump = "0", pass = "0"] = line
    .split(/[ \t]+/)
    .filter((field) => field !== "");
  if (source === undefined || source.startsWith("#")) return undefined;
  if (mountPoint === undefined || type === undefined) return undefined;
  if (!isInteger(dump) || !isInteger(pass)) return undefined;
  return {
    source: decodeField(source),
    mountPoint: decodeField(mountPoint),
    type: decodeField(type),
    options: decodeField(options),
    dump: Number(dump),
    pass: Number(pass),
  };
}

function isInteger(text: string): boolean {
  return /^[-+]?[0-9]+$/.test(text);
}

function decodeField(bytes: string): string {
  return decodeUtf8(decodeOctalEscapes(bytes));
}

function encodeField(text: string): string {
  return encodeOctalEscapes(text, /[ \t\n\r\\]/g);
}

function terminatorOf(bytes: string): "\r\n" | "\n" {
  return bytes.includes("\n") && !/(?<!\r)\n/.test(bytes) ? "\r\n" : "\n";
}

/**
 * Where the terminator begins that ends at `start`. Whether a CR belongs to it is asked of the lines before
 * it, just as `addLine` asked before it wrote: a CR that merely ended the former file stays.
 */
function startOfTerminatorBefore(bytes: string, start: number): number {
  if (start === 0) return 0;
  const isCrlf = bytes.endsWith("\r\n", start) && terminatorOf(bytes.slice(0, start - 1)) === "\r\n";
  return start - (isCrlf ? 2 : 1);
}

function decodeUtf8(bytes: string): string {
  return Buffer.from(bytes, "latin1").toString("utf8");
}

function encodeUtf8(text: string): string {
  return Buffer.from(text, "utf8").toString("latin1");
}
