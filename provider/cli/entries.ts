import { ShareError } from "../errors";
import { parseDump } from "../formats/attribute-dump";
import { type Script, sh } from "../formats/shell";
import { bitsOf, fileTypeOf, type Status, virtfsAttributes } from "../formats/virtfs";
import { withoutLinks } from "../formats/without-links";
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
  /** Its `user.virtfs.*`. */
  readonly attributes: ReadonlyMap<string, Buffer>;
}

/** What is listed. */
export interface Start extends Located {
  /** Levels below it; undefined: all. Other file systems are not entered. */
  readonly depth: number | undefined;
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
export async function* listed(start: Start, said: (end: PipedEnd) => void): AsyncGenerator<Listed> {
  const depth = start.depth === undefined ? [] : ["-maxdepth", String(start.depth)];
  const each = sh`stat --printf 's%f %u %g %s %Y %t %T %n\0' -- "$@"
printf a
getfattr -h --absolute-names -d -e hex -m ${pattern} -- "$@"
printf '\0'`;
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
    let waiting: Omit<Listed, "attributes">[] = [];
    let whole = false;
    for await (const record of records(process.stdout)) {
      if (record.startsWith("end\n")) whole = /^find [01]$/m.test(record) && /^xargs (0|123)$/m.test(record);
      else if (record.startsWith("s")) waiting.push(parseStatus(record.slice(1)));
      else {
        const attributes = new Map<string, ReadonlyMap<string, Buffer>>();
        for await (const one of parseDump(record.slice(1).split("\n")))
          attributes.set(one.name, one.attributes);
        for (const entry of waiting) yield { ...entry, attributes: attributes.get(entry.name) ?? none };
        waiting = [];
      }
    }
    const end = await process.ended;
    if (!whole || end.status !== 0) {
      throw new ShareError({
        code: "lookFailed",
        layer: "host",
        machine: "this machine",
        what: `the list of ${start.directory} ended early`,
        returned: end.first.join("\n"),
      });
    }
    said(end);
  } finally {
    process.stop();
  }
}

const none: ReadonlyMap<string, Buffer> = new Map();

/** What ends with a NUL each. */
async function* records(stream: AsyncIterable<Buffer>): AsyncGenerator<string> {
  let rest = "";
  for await (const chunk of stream) {
    const parts = (rest + chunk.toString("latin1")).split("\0");
    rest = parts.pop() ?? "";
    yield* parts;
  }
}

/** Sample: `81a4 1000 100 12 1763877000 0 0 ./sub/a`; the numbers of a device are hexadecimal. */
function parseStatus(line: string): Omit<Listed, "attributes"> {
  const [, mode = "0", uid, gid, size, modified, major = "0", minor = "0", name = ""] =
    /^(\S+) (\S+) (\S+) (\S+) (\S+) (\S+) (\S+) ([^]*)$/.exec(line) ?? [];
  const bits = Number.parseInt(mode, 16);
  const type = fileTypeOf(bits);
  const isDevice = type === "block" || type === "character";
  return {
    name,
    sizeBytes: Number(size),
    modified: Number(modified),
    host: {
      type,
      mode: bits & 0o7777,
      uid: Number(uid),
      gid: Number(gid),
      ...(isDevice
        ? { device: { major: Number.parseInt(major, 16), minor: Number.parseInt(minor, 16) } }
        : {}),
    },
  };
}

/** The whole st_mode of what is seen. */
export function wholeMode({ type, mode }: Status): number {
  return mode | (type === undefined ? 0 : bitsOf(type));
}
