import { ShareError } from "../errors";
import { DumpReader, type Dumped } from "../formats/attribute-dump";
import { type Script, sh } from "../formats/shell";
import { isAtOrBelow } from "../formats/path";
import { shownName } from "../formats/shown-name";
import { bitsOf, fileTypeOf, type Status, virtfsAttributes } from "../formats/virtfs";
import { withoutLinks } from "../formats/without-links";
import { mountPointsIn } from "../transport/mount-points";
import { type Located, piped, type PipedEnd } from "../transport/piped";

/** Entries of a tree, as they come: a million need no more memory than a thousand. */

/** One entry. */
export interface Listed {
  /** As find(1) names it from the directory: `.`, `./sub/a`. A character for each byte (latin1). */
  readonly name: string;
  readonly host: Status;
  readonly sizeBytes: number;
  /** Seconds since 1970. */
  readonly modified: number;
  /** Its `user.virtfs.*`; undefined: they may not be read, and nobody can say what a guest sees of it. */
  readonly attributes: ReadonlyMap<string, Buffer> | undefined;
}

/** What is listed. */
export interface Start extends Located {
  /** Levels below it; undefined: all. */
  readonly depth: number | undefined;
}

/** What is told when all is listed. */
export interface ListEnd extends PipedEnd {
  /** Where other file systems and subvolumes begin, which were not entered. As {@link Listed.name}. */
  readonly elsewhere: readonly string[];
}

/** Entries that one stat(1) and one getfattr(1) tell of. */
const batch = 1000;
/** Bytes of their names: Linux takes 2 MiB of arguments at least with the usual stack limit (execve(2)). */
const batchBytes = 1_000_000;

const pattern = `^(${virtfsAttributes.join("|").replaceAll(".", "\\.")})$`;

/** What goes while it is listed is no error: the tree lives. */
export const gone = /: (No such file or directory|Not a directory)$/;

/** Scripts on a tree: where no link in it is followed, which only root can have made so. */
export function inTree({ directory, identity }: Located, run: Script, writes: boolean): Script {
  return process.getuid?.() === 0
    ? withoutLinks(directory, writes, run, identity)
    : sh`cd -P -- ${directory} || exit
${run}`;
}

/**
 * Lists a tree in the order of its directories.
 *
 * `said` is told at the end what could not be read. Throws `lookFailed` when the list ended early.
 */
export async function* listed(start: Start, said: (end: ListEnd) => void): AsyncGenerator<Listed> {
  const depth = start.depth === undefined ? [] : ["-maxdepth", String(start.depth)];
  const each = sh`stat --printf 's%d %f %u %g %s %Y %t %T %n\0' -- "$@"
printf a
getfattr -h --absolute-names -d -e hex -m ${pattern} -- "$@"
printf '\0'`;
  const mounts = mountPointsIn(start.directory);
  const elsewhere = new Set<string>();
  if (mounts.includes(start.name)) {
    throw new ShareError({
      code: "lookFailed",
      layer: "directory",
      machine: "this machine",
      what: `${start.directory}/${shownName(start.name.slice(2))} is a file that another one is mounted on`,
      remedy: "give the path that it was mounted from",
    });
  }
  const process = piped(
    inTree(
      start,
      // How find and xargs ended, told when both have.
      sh`exec 3>&1
ends=$( { { find ${start.name} -xdev ${depth} -print0 3>&- 4>&-; echo "find $?" >&4; } |
  { xargs -0 -r -n ${batch} -s ${batchBytes} sh -c ${each.text} sh >&3 4>&-; echo "xargs $?" >&4; }; } 4>&1 )
printf 'end\n%s\0' "$ends"`,
      false,
    ),
    gone,
  );
  try {
    const list = new ListReader();
    for await (const chunk of process.stdout) {
      for (const { device, entry } of list.take((chunk as Buffer).toString("latin1"))) {
        // What a mount hides is in the directory that it is mounted on: no guest sees it, and nobody here.
        const mount = mounts.find((one) => isAtOrBelow(entry.name, one));
        if (mount !== undefined) elsewhere.add(mount);
        else if (device !== list.device) elsewhere.add(entry.name);
        else yield entry;
      }
    }
    const end = await process.ended;
    if (!list.isWhole || end.status !== 0) {
      throw new ShareError({
        code: "lookFailed",
        layer: "directory",
        machine: "this machine",
        what: `the list of ${start.directory} ended early`,
        tried: "find, stat and getfattr in it",
        returned: end.first.map(shownName).join("\n"),
        remedy: "run it again",
      });
    }
    said({ ...end, elsewhere: [...elsewhere] });
  } finally {
    process.stop();
  }
}

const none: ReadonlyMap<string, Buffer> = new Map();

interface Found {
  /** Of its file system. */
  readonly device: string;
  readonly entry: Listed;
}

/**
 * Reads what the script of {@link listed} prints, piece by piece: for a thousand entries what stat(1) says, which a NUL
 * ends each, and then all that getfattr(1) says, line by line, of those that have attributes, in the same order. So no
 * more of it is kept than one line: a guest may have written 64 KiB into each attribute.
 */
class ListReader {
  /** Of the file system that the first entry is on. */
  device: string | undefined;
  /** Whether it was said at the end that nothing is missing. */
  isWhole = false;
  #pieces: string[] = [];
  #inAttributes = false;
  #dump = new DumpReader();
  #waiting: Found[] = [];

  take(chunk: string): Found[] {
    const found: Found[] = [];
    let nul = chunk.indexOf("\0");
    for (let at = 0; at < chunk.length;) {
      if (this.#pieces.length === 0 && !this.#inAttributes && chunk[at] === "a") {
        this.#inAttributes = true;
        this.#dump = new DumpReader();
        at += 1;
        continue;
      }
      const line = this.#inAttributes ? chunk.indexOf("\n", at) : -1;
      const isLine = line >= 0 && (nul < 0 || line < nul);
      const end = isLine ? line : nul;
      if (end < 0) {
        this.#pieces.push(chunk.slice(at));
        break;
      }
      const text = this.#pieces.join("") + chunk.slice(at, end);
      this.#pieces = [];
      at = end + 1;
      if (isLine) this.#attributesOf(this.#dump.take(text), found);
      else {
        nul = chunk.indexOf("\0", at);
        if (this.#inAttributes) this.#endOfBatch(found);
        else if (text.startsWith("s")) this.#status(text.slice(1));
        else this.isWhole = /^find [01]$/m.test(text) && /^xargs (0|123)$/m.test(text);
      }
    }
    return found;
  }

  #status(text: string): void {
    const status = parseStatus(text);
    this.device ??= status.device;
    this.#waiting.push(status);
  }

  /** Those before it have none. */
  #attributesOf(dumped: Dumped | undefined, found: Found[]): void {
    if (!dumped) return;
    const at = this.#waiting.findIndex(({ entry }) => entry.name === dumped.name);
    // stat(1) did not find it any more, or not yet.
    if (at < 0) return;
    for (const one of this.#waiting.splice(0, at + 1)) {
      const attributes = one.entry.name === dumped.name ? dumped.attributes : one.entry.attributes;
      found.push({ ...one, entry: { ...one.entry, attributes } });
    }
  }

  #endOfBatch(found: Found[]): void {
    this.#attributesOf(this.#dump.end(), found);
    found.push(...this.#waiting);
    this.#waiting = [];
    this.#inAttributes = false;
  }
}

/** Sample: `2049 81a4 1000 100 12 1763877000 0 0 ./sub/a`; the numbers of a device file are hexadecimal. */
function parseStatus(line: string): Found {
  const [, device = "", mode = "0", uid, gid, size, modified, major = "0", minor = "0", name = ""] =
    /^(\S+) (\S+) (\S+) (\S+) (\S+) (\S+) (\S+) (\S+) ([^]*)$/.exec(line) ?? [];
  const bits = Number.parseInt(mode, 16);
  const type = fileTypeOf(bits);
  const isDevice = type === "block" || type === "character";
  const host: Status = {
    type,
    mode: bits & 0o7777,
    uid: Number(uid),
    gid: Number(gid),
    ...(isDevice ? { device: { major: Number.parseInt(major, 16), minor: Number.parseInt(minor, 16) } } : {}),
  };
  return {
    device,
    entry: {
      name,
      sizeBytes: Number(size),
      modified: Number(modified),
      host,
      attributes: mayHaveAttributes(host) && !mayRead(host) ? undefined : none,
    },
  };
}

/** Whether an entry can have user attributes at all (xattr(7) of man-pages 6.03). */
export function mayHaveAttributes({ type }: Status): boolean {
  return type === "file" || type === "directory";
}

/** By its mode alone; where an access list of the host allows it, its attributes say so. */
function mayRead({ mode, uid, gid }: Status): boolean {
  const me = process.geteuid?.() ?? 0;
  if (me === 0) return true;
  if (uid === me) return (mode & 0o400) !== 0;
  const isMine = gid === process.getegid?.() || process.getgroups?.().includes(gid) === true;
  return (mode & (isMine ? 0o040 : 0o004)) !== 0;
}

/** The whole st_mode of what is seen. */
export function wholeMode({ type, mode }: Status): number {
  return mode | (type === undefined ? 0 : bitsOf(type));
}
