import { rightsOf } from "../layers/shared/directory-entry";
import { DumpReader, type Dumped } from "../formats/attribute-dump";
import { type Script, sh } from "../remote/shell/sh";
import { isAtOrBelow } from "../formats/path";
import { shownName } from "../formats/shown-name";
import { fileTypeOf, type Status, virtfsAttributes } from "../drivers/ninep/attributes";
import { withoutLinks } from "../remote/shell/no-symlinks";
import { mountPointsIn } from "../remote/mount-points";
import { piped } from "../remote/piped";
import type { Located } from "./located";
import { failure, type Report } from "./report";

/** Entries of a tree, as they come: a million need no more memory than a thousand. */

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
 * Lists a tree in the order of its directories, `depth` levels below its start (undefined: all). What could not be read, and
 * where other file systems begin, goes to `report`. Throws `lookFailed` when the list ended early.
 */
export async function* listed(
  start: Located,
  depth: number | undefined,
  report: Report,
): AsyncGenerator<Listed> {
  const depthOfFind = depth === undefined ? [] : ["-maxdepth", String(depth)];
  const each = sh`stat --printf 's%d %f %u %g %s %Y %t %T %n\0' -- "$@"
getfattr -h --absolute-names -d -e hex -m ${pattern} -- "$@" | tr '\n' '\0'
printf 'batch\0'`;
  const mounts = mountPointsIn(start.directory);
  const elsewhere = new Set<string>();
  if (mounts.includes(start.name)) {
    throw failure(
      "lookFailed",
      `${start.directory}/${shownName(start.name.slice(2))} is a file that another one is mounted on`,
      "give the path that it was mounted from",
    );
  }
  const process = piped(
    inTree(
      start,
      // How find and xargs ended, told when both have.
      sh`exec 3>&1
ends=$( { { find ${start.name} -xdev ${depthOfFind} -print0 3>&- 4>&-; echo "find $?" >&4; } |
  { xargs -0 -r -n ${batch} -s ${batchBytes} sh -c ${each.text} sh >&3 4>&-; echo "xargs $?" >&4; }; } 4>&1 )
printf 'end\n%s\0' "$ends"`,
      false,
    ),
    gone,
  );
  try {
    const list = new ListReader();
    for await (const chunk of process.stdout.setEncoding("latin1")) {
      for (const found of list.take(chunk as string)) {
        // What a mount hides is in the directory that it is mounted on: no guest sees it, and nobody here.
        const mount = mounts.find((one) => isAtOrBelow(found.name, one));
        if (mount !== undefined) elsewhere.add(mount);
        else if (found.fileSystem !== list.fileSystem) elsewhere.add(found.name);
        else yield found;
      }
    }
    const end = await process.ended;
    if (!list.isWhole || end.status !== 0) {
      throw failure("lookFailed", `the list of ${start.directory} ended early`, "run it again", {
        tried: "find, stat and getfattr in it",
        returned: end.said.first.map(shownName).join("\n"),
      });
    }
    report.couldNot("read", end.said);
    report.leftOut([...elsewhere]);
  } finally {
    process.stop();
  }
}

const none: ReadonlyMap<string, Buffer> = new Map();

interface Found extends Listed {
  readonly fileSystem: string;
}

/**
 * Reads what the script of {@link listed} prints, in pieces that a NUL ends: for a thousand entries what stat(1) says, an `s`
 * before each, then all lines of getfattr(1), of those that have attributes in the same order, then `batch`. So no more of it
 * is kept than one line: a guest may have written 64 KiB into each attribute.
 */
class ListReader {
  /** The one that the first entry is on. */
  fileSystem: string | undefined;
  /** Whether it was said at the end that nothing is missing. */
  isWhole = false;
  #rest = "";
  #dump = new DumpReader();
  #waiting: Found[] = [];

  take(chunk: string): Found[] {
    const pieces = (this.#rest + chunk).split("\0");
    this.#rest = pieces.pop() ?? "";
    return pieces.flatMap((piece) => this.#found(piece));
  }

  /** What is known whole with this piece. */
  #found(piece: string): Found[] {
    if (piece.startsWith("s")) {
      const found = parseStatus(piece.slice(1));
      this.fileSystem ??= found.fileSystem;
      this.#waiting.push(found);
      return [];
    }
    if (piece.startsWith("end\n")) {
      this.isWhole = /^find [01]$/m.test(piece) && /^xargs (0|123)$/m.test(piece);
      return [];
    }
    if (piece === "batch") return [...this.#attributesOf(this.#dump.end()), ...this.#waiting.splice(0)];
    return this.#attributesOf(this.#dump.take(piece));
  }

  /** Those before it have none. One that is not waiting stat(1) did not find any more, or not yet. */
  #attributesOf(dumped: Dumped | undefined): Found[] {
    const at = this.#waiting.findIndex(({ name }) => name === dumped?.name);
    return this.#waiting
      .splice(0, at + 1)
      .map((found, index) => (dumped && index === at ? { ...found, attributes: dumped.attributes } : found));
  }
}

/** Sample: `2049 81a4 1000 100 12 1763877000 0 0 ./sub/a`; the numbers of a device file are hexadecimal. */
function parseStatus(line: string): Found {
  const [fileSystem = "", mode = "", uid, gid, size, modified, major = "", minor = "", ...name] =
    line.split(" ");
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
    fileSystem,
    name: name.join(" "),
    sizeBytes: Number(size),
    modified: Number(modified),
    host,
    attributes: mayHaveAttributes(host) && !mayRead(host) ? undefined : none,
  };
}

/** Whether an entry can have user attributes at all (xattr(7) of man-pages 6.03). */
export function mayHaveAttributes({ type }: Status): boolean {
  return type === "file" || type === "directory";
}

/** By its mode alone; where an access list of the host allows it, its attributes say so. */
function mayRead(host: Status): boolean {
  const me = process.geteuid?.() ?? 0;
  if (me === 0) return true;
  const groups = [process.getegid?.(), ...(process.getgroups?.() ?? [])].map(String);
  return (rightsOf(host, me, groups) & 4) !== 0;
}
