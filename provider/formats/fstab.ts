import { posix } from "node:path";
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

/** A line that a reader of fstab takes for an entry. */
export interface FstabLine {
  /** As mount(8) reads it; where that ignores the line, as systemd does. */
  readonly entry: FstabEntry;
  /** The line without its terminator, a character for each byte. */
  readonly bytes: string;
  /** The same, decoded from UTF-8: for people. */
  readonly text: string;
  /** How mount(8) and the boot read it differently, in the operator's words; undefined: they do not. */
  readonly differs: string | undefined;
}

/**
 * Finds the entries of an fstab; comments, blank lines and what no reader takes for an entry are skipped.
 *
 * ```
 * foobar    /mnt/foo\040bar    9p   trans=virtio,version=9p2000.L,_netdev 0 0
 * ```
 * `bytes` is the file as a "binary" string, one character per byte (`buffer.toString("latin1")`), so that what is not
 * ours survives whatever its encoding is.
 *
 * There are two readers: libmount, by which mount(8) reads (tab_parse.c `mnt_parse_table_line` of util-linux 2.38), and
 * getmntent of glibc, by which systemd-fstab-generator does (misc/mntent_r.c, 2.36; systemd 252). A line that only one
 * of them takes, `foobar /mnt/a 9p nofail # by hand`, is here with the way in which they differ. Tried with both.
 */
export function parseFstab(bytes: string): FstabLine[] {
  return [...bytes.matchAll(/[^\n]*\n|[^\n]+$/g)].flatMap((match) => {
    const ended = match[0].replace(/\n$/, "");
    const line = ended.replace(/\r$/, "");
    const byMount = readByLibmount(line);
    const byBoot = readByGlibc(ended);
    const entry = byMount ?? byBoot;
    return entry
      ? [{ entry, bytes: line, text: decodeUtf8(line), differs: difference(byMount, byBoot) }]
      : [];
  });
}

/** The mount point of an entry as both readers compare it: without doubled, dotted and last slashes. */
export function mountPointOf(entry: FstabEntry): string {
  return posix.normalize(entry.mountPoint).replace(/(.)\/$/, "$1");
}

/** Bytes of the longest line that getmntent(3) does not cut (BUFFER_SIZE of misc/mntent.c less LF and NUL, glibc 2.36). */
export const maxFstabLineBytes = 4094;

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

/** A line as the bytes that stand in the file. */
export function bytesOf(lineText: string): string {
  return Buffer.from(lineText, "utf8").toString("latin1");
}

function difference(byMount: FstabEntry | undefined, byBoot: FstabEntry | undefined): string | undefined {
  if (!byMount) return "mount(8) ignores the line, and the boot does not";
  if (!byBoot) return "the boot ignores the line, and mount(8) does not";
  if (byMount.mountPoint.split("/").includes("..")) return "the boot takes no path with ..";
  const differences = (["source", "mountPoint", "type", "options"] as const)
    .filter((field) => byMount[field] !== byBoot[field])
    .map((field) => `mount(8) reads "${byMount[field]}" where the boot reads "${byBoot[field]}"`);
  return differences.length === 0 ? undefined : differences.join(", ");
}

/** Options, dump and pass may be missing, one CR at the end is no part of the line, only space and tab separate. */
function readByLibmount(line: string): FstabEntry | undefined {
  const fields = fieldsOf(line);
  const [dump = "0", pass = "0"] = fields.slice(4);
  if (fields.length < 3 || ![dump, pass].every((number) => /^[-+]?[0-9]+$/.test(number))) return undefined;
  return entryOf(fields, decodeField, [dump, pass]);
}

/** What stands behind the options is a number or nothing, a CR is a character, and of the escapes there are five. */
function readByGlibc(line: string): FstabEntry | undefined {
  const fields = fieldsOf(line.slice(0, maxFstabLineBytes + 1));
  if (fields.length < 2) return undefined;
  const decode = (field: string): string =>
    decodeUtf8(
      field.replace(/\\(?:040|011|012|134|\\)/g, (escape) =>
        escape === "\\\\" ? "\\" : decodeOctalEscapes(escape),
      ),
    );
  return entryOf(fields, decode, /^(-?\d+)?(?: (-?\d+))?/.exec(fields.slice(4).join(" "))?.slice(1) ?? []);
}

function entryOf(
  fields: readonly string[],
  decode: (field: string) => string,
  [dump = "0", pass = "0"]: readonly (string | undefined)[],
): FstabEntry {
  const [source = "", mountPoint = "", type = "", options = ""] = fields.slice(0, 4).map(decode);
  return { source, mountPoint, type, options, dump: Number(dump), pass: Number(pass) };
}

/** None where the line is a comment. */
function fieldsOf(line: string): string[] {
  const fields = line.split(/[ \t]+/).filter((field) => field !== "");
  return fields[0]?.startsWith("#") ? [] : fields;
}

function encodeField(text: string): string {
  return encodeOctalEscapes(text, /[ \t\n\r\\]/g);
}

/** A field as mount(8) reads it. */
export function decodeField(field: string): string {
  return decodeUtf8(decodeOctalEscapes(field));
}

export function decodeUtf8(bytes: string): string {
  return Buffer.from(bytes, "latin1").toString("utf8");
}
