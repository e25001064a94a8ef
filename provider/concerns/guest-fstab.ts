import { asWanted, type Concern, type Fact, type Facts, type Json, type Step } from "../engine/concern";
import { putInPlace } from "../formats/put-in-place";
import { type Script, sh } from "../formats/shell";
import {
  addLine,
  applySplice,
  formatFstabEntry,
  type FstabEntry,
  type FstabLine,
  parseFstab,
  removeLine,
  replaceLine,
  type Splice,
} from "../formats/fstab";
import { formatMountOptions, isExtraOption, type MountOptions, parseMountOptions } from "../mount-options";
import type { ShareSpec } from "../spec";

interface FstabSeen {
  /** `/etc/fstab` as latin1, a character a byte; undefined: no such file. */
  readonly fstab: string | undefined;
}

/** The line that stood at the mount point, and whether there was an fstab at all. */
type FstabBefore = { readonly [key: string]: Json; readonly line: string | null; readonly fstab: boolean };

const fstab: Fact<string | undefined> = {
  key: "fstab",
  place: "guest",
  does: "read /etc/fstab",
  guard: true,
  script: sh`if [ -e /etc/fstab ]; then cat /etc/fstab && printf .; fi`,
  parse: (_output, bytes) => (bytes.length === 0 ? undefined : bytes.subarray(0, -1).toString("latin1")),
};

/**
 * One line of the guest's fstab, every other byte of it left as it is.
 *
 * fstab and not a mount unit: only from fstab does `_netdev` move the mount behind remote-fs.target
 * (systemd.mount(5), 252), so that a share which is not there cannot stop the boot.
 *
 * Refuses with `mountPointTaken`. Source: fstab(5) of util-linux 2.38.
 */
export const guestFstab: Concern<FstabEntry, FstabSeen, FstabBefore> = {
  layer: "fstab",
  place: "guest",
  up: "guestBoot",
  down: "guest",
  scope: "domain",
  want: (spec) => fstabEntryOf(spec),
  identity: (want) => want.mountPoint,
  facts: (): Facts<FstabSeen> => ({ fstab }),

  plan(want, seen, _before, known) {
    const text = seen.fstab ?? "";
    const lines = linesAt(text, want.mountPoint);
    const [first, second] = lines;
    const other = lines.find(({ entry }) => !isOurs(entry, want));
    // Ours under a former tag is a 9p line; what is not 9p was put there by somebody else, whatever stood there before.
    const stranger = second ? (other ?? second) : known && other?.entry.type === "9p" ? undefined : other;
    if (stranger) {
      return {
        refuse: [
          {
            code: "mountPointTaken",
            what: `${want.mountPoint} is taken in the guest's fstab by "${stranger.text}"; this share would mount ${want.source} there`,
            remedy: "choose another mount point, or take that line out",
          },
        ],
        steps: [],
      };
    }
    if (first && sameEntry(first.entry, want)) return { steps: [] };
    const line = formatFstabEntry(want);
    const splice = first ? replaceLine(text, first, line) : addLine(text, line);
    return {
      steps: [edit(`${first ? "set" : "add"} the line of ${want.mountPoint} in fstab`, text, splice)],
    };
  },

  remember(want, seen) {
    return {
      line: linesAt(seen.fstab ?? "", want.mountPoint)[0]?.text ?? null,
      fstab: seen.fstab !== undefined,
    };
  },

  restore(old, before, seen, context) {
    const text = seen.fstab ?? "";
    const tags = context?.tags ?? new Set();
    const line = linesAt(text, old.mountPoint).find(
      ({ entry }) => isOurs(entry, old) || (entry.type === "9p" && tags.has(entry.source)),
    );
    if (!line || line.text === before.line) return { steps: [] };
    const splice = before.line === null ? removeLine(text, line) : replaceLine(text, line, before.line);
    if (!before.fstab && applySplice(text, splice) === "") {
      return {
        steps: [
          {
            does: "remove fstab, which was not there before",
            run: sh`rm -f -- /etc/fstab`,
            changes: [fstab.key],
          },
        ],
      };
    }
    const does = before.line === null ? "take the line of" : "give back the line of";
    return { steps: [edit(`${does} ${old.mountPoint} in fstab`, text, splice)] };
  },

  drift(want, seen) {
    const line = linesAt(seen.fstab ?? "", want.mountPoint).find(({ entry }) => isOurs(entry, want));
    if (!line)
      return { state: "missing", args: {}, notes: [`the guest's fstab has no line for ${want.mountPoint}`] };
    if (sameEntry(line.entry, want)) return asWanted;
    return {
      state: "differs",
      args: argumentsThatDiffer(line.entry, want),
      notes: [`the guest's fstab has "${line.text}", wanted is "${formatFstabEntry(want)}"`],
    };
  },
};

/** The entry that a spec asks for; undefined when the guest is left alone. */
export function fstabEntryOf(spec: ShareSpec): FstabEntry | undefined {
  if (!spec.guest) return undefined;
  return {
    source: spec.tag,
    mountPoint: spec.guest.mountPoint,
    type: "9p",
    options: formatMountOptions(spec.guest.options, spec.readOnly),
    dump: 0,
    pass: 0,
  };
}

function linesAt(text: string, mountPoint: string): FstabLine[] {
  return parseFstab(text).filter(({ entry }) => (entry.mountPoint.replace(/\/+$/, "") || "/") === mountPoint);
}

function isOurs(entry: FstabEntry, want: FstabEntry): boolean {
  return entry.type === "9p" && entry.source === want.source;
}

/** Equal in meaning: the order of options does not count, nor does a line's white space. */
function sameEntry(a: FstabEntry, b: FstabEntry): boolean {
  const sorted = (entry: FstabEntry): string => entry.options.split(",").sort().join(",");
  return isOurs(a, b) && sorted(a) === sorted(b) && a.dump === b.dump && a.pass === b.pass;
}

/**
 * What the line says, by argument of `guest.options`; null where it leaves one out that has no default.
 *
 * Only values that the arguments take: these go into the state as inputs, and with `ignoreChanges` through
 * check again. What has no argument (`ro`, the two last fields, an option that `extra` refuses) is left to
 * the note, which quotes the line.
 */
function argumentsThatDiffer(line: FstabEntry, want: FstabEntry): Readonly<Record<string, Json>> {
  const wanted = parseMountOptions(want.options);
  const parsed = parseMountOptions(line.options);
  const seen: MountOptions = { ...parsed, extra: parsed.extra.filter(isExtraOption) };
  const sorted = (value: MountOptions[keyof MountOptions]): string =>
    JSON.stringify(Array.isArray(value) ? [...(value as readonly string[])].sort() : (value ?? null));
  return Object.fromEntries(
    (Object.keys(wanted) as (keyof MountOptions)[])
      .filter((key) => sorted(seen[key]) !== sorted(wanted[key]))
      .map((key) => [`guest.options.${key}`, seen[key] ?? null]),
  );
}

/**
 * Writes the edit beside the file and renames it over.
 *
 * What is appended goes to wherever the file ends by then, so that shares which add their lines in one
 * script do not keep each other out; any other edit goes by its offset.
 */
function edit(does: string, text: string, splice: Splice): Step {
  if (splice.offset === text.length) {
    const bytes = splice.insert.length;
    return {
      does,
      run: rewrite(sh`cat "$file"; ${printed(splice.insert)}`),
      undo: rewrite(sh`head -c $(( $(wc -c < "$file") - ${bytes} )) "$file"`),
    };
  }
  const run = rewrite(spliced(splice));
  return { does, run, undo: rewrite(spliced(reverse(text, splice))), changes: [fstab.key] };
}

function reverse(text: string, splice: Splice): Splice {
  const removed = text.slice(splice.offset, splice.offset + splice.remove);
  return { offset: splice.offset, remove: splice.insert.length, insert: removed };
}

function spliced(splice: Splice): Script {
  return sh`head -c ${splice.offset} "$file"; ${printed(splice.insert)}; tail -c +${splice.offset + splice.remove + 1} "$file"`;
}

/** `content` prints the new file, out of the old one, `$file`. */
function rewrite(content: Script): Script {
  return sh`[ -e /etc/fstab ] || ( umask 022; : > /etc/fstab )
file=$(readlink -f /etc/fstab)
cp -a -- "$file" "$file.virtio9p"
{ ${content}; } > "$file.virtio9p"
${putInPlace(sh`"$file.virtio9p"`, sh`"$file"`, sh`"$(dirname -- "$file")"`)}
if [ -d /run/systemd/system ]; then systemctl daemon-reload || echo 'systemd did not read fstab anew' >&2; fi`;
}

function printed(text: string): Script {
  const bytes = Buffer.from(text, "latin1");
  return bytes.equals(Buffer.from(bytes.toString("utf8")))
    ? sh`printf %s ${bytes.toString("utf8")}`
    : octal(bytes);
}

/** Bytes that are no UTF-8, by printf's octal escapes. */
function octal(bytes: Buffer) {
  return sh`printf ${[...bytes].map((byte) => `\\${byte.toString(8).padStart(3, "0")}`).join("")}`;
}
