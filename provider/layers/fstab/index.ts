import { posix } from "node:path";
import {
  type Layer,
  type Fact,
  found,
  type Json,
  type Needed,
  type Plan,
  type Refusal,
  refuse,
  type SeenBy,
  needs,
} from "../../engine/layer";
import { sh } from "../../remote/shell/sh";
import {
  bytesOf,
  decodeField,
  decodeUtf8,
  formatFstabEntry,
  type FstabEntry,
  type FstabLine,
  mountPointOf,
  parseFstab,
} from "../../formats/fstab";
import { isExtraOption, type MountOptions, parseMountOptions } from "../../drivers/ninep/mount-options";
import { fstabEntryOf } from "../../spec/spec";
import { editLine } from "../shared/line-edits";
import { isOpenrc, mountinfo } from "../shared/guest";
import { contentOf, notEditable, obstacleTo } from "../shared/guest-files";
import { guestMounts } from "../shared/mounts";
import { unitsOf } from "../shared/mount-units";

/**
 * The line that stood at the mount point, and whether there was an fstab at all. `base64`: the line's bytes, where they
 * are no UTF-8.
 */
type FstabBefore = {
  readonly [key: string]: Json;
  readonly line: string | null;
  readonly fstab: boolean;
};

const restoreNeeds = needs(["fstab"], ["links", "obstacle", "mounts"]);
const driftNeeds = needs(["fstab"], ["links", "units", "lacksNetmount"]);

const fstab = contentOf("/etc/fstab");

/**
 * Mount points through links, sample: `/mnt/link/a\040b /mnt/real/a b`. Both readers follow them: mount(8) of
 * util-linux 2.38 compares canonical paths last (libmount tab.c, `mnt_table_find_target`), and systemd takes links "as far
 * as possible" (systemd-fstab-generator(8), 252). What is mounted is where it says, and may not answer.
 */
const links: Fact<ReadonlyMap<string, string>> = {
  fixed: true,
  place: "guest",
  does: "see where the mount points in /etc/fstab lead",
  gathers: mountinfo,
  // No process for a line whose path has no link in it: there may be many lines.
  script: sh`[ -e /etc/fstab ] || exit 0
while read -r source field _ || [ -n "$source" ]; do
  case $source in '#'*) continue;; esac
  case $field in /*) ;; *) continue;; esac
  case $mountinfo in *" $field "*) continue;; esac
  path=$field
  case $field in *[\\%]*) path=$(printf "$(printf %s "$field" | sed 's/%/%%/g').") && path=$${{ text: "{path%.}" }};; esac
  at=$path
  until [ -L "$at" ] || [ -z "$at" ]; do at=$${{ text: "{at%/*}" }}; done
  [ -n "$at" ] || continue
  # Below the last link there is none: how the path goes on is as it is spelled.
  real=$(readlink -f -- "$at") || continue
  printf '%s %s\n' "$field" "$real$${{ text: '{path#"$at"}' }}"
done < /etc/fstab`,
  parse: (_output, bytes) =>
    new Map(
      [...bytes.toString("latin1").matchAll(/([^ \n]+) ([^\n]*)\n/g)].map(([, field = "", real = ""]) => [
        decodeField(field),
        posix.normalize(decodeUtf8(real)).replace(/(.)\/$/, "$1"),
      ]),
    ),
};

/** Of OpenRC 0.45: `localmount` leaves out what has `_netdev` (init.d/localmount.in), and `netmount` mounts it. */
const lacksNetmount: Fact<boolean> = {
  fixed: true,
  place: "guest",
  does: "see whether OpenRC mounts what has _netdev",
  script: sh`${isOpenrc} || exit 0
for file in /etc/runlevels/*/netmount; do
  if [ -e "$file" ] || [ -L "$file" ]; then exit 0; fi
done
echo lacks`,
  parse: (output) => output !== "",
};

const facts = (want: FstabEntry) => ({
  fstab,
  links,
  units: unitsOf(want.mountPoint),
  lacksNetmount,
  obstacle: obstacleTo("/etc/fstab"),
  mounts: guestMounts,
});

type FstabSeen = SeenBy<ReturnType<typeof facts>, "fstab">;

/**
 * One line of the guest's fstab, every other byte of it left as it is.
 *
 * fstab and not a mount unit: only from fstab does `_netdev` move the mount behind remote-fs.target
 * (systemd.mount(5), 252), so that a share which is not there cannot stop the boot.
 *
 * Refuses with `mountPointTaken`. Source: fstab(5) of util-linux 2.38.
 */
export const guestFstab: Layer<FstabEntry, FstabSeen, FstabBefore, typeof restoreNeeds, typeof driftNeeds> = {
  layer: "fstab",
  place: "guest",
  up: "guestBoot",
  down: "guest",
  scope: "domain",
  left: (want) =>
    `the line "${formatFstabEntry(want)}" of its fstab${want.options.split(",").includes("nofail") ? ", which is nofail, and harmless" : ""}`,
  want: fstabEntryOf,
  identity: (want) => want.mountPoint,
  facts,
  needs: { restore: restoreNeeds, drift: driftNeeds },

  plan(want, seen, _before, known) {
    const lines = linesAt(seen, want.mountPoint);
    const [first] = lines;
    // Ours under a former tag is a 9p line; what is not 9p was put there by somebody else, whatever stood there before.
    const isFormer = known && lines.length === 1 && first?.entry.type === "9p";
    const mine = isFormer ? first : ours(lines, want);
    const unit = overridden(want, seen)[0];
    const refusal = conflicts(want, lines, mine)[0] ?? (mine ? undefined : unit);
    if (refusal) return { refuse: [refusal], steps: [] };
    const notes = [...(unit ? [unit.what] : []), ...unmounted(want, seen)];
    const warnings = notes.length > 0 && { warnings: notes };
    if (mine && sameEntry(mine.entry, want)) return { steps: [], ...warnings };
    const line = bytesOf(formatFstabEntry(want));
    const does = `${mine ? "set" : "add"} the line of ${want.mountPoint} in fstab`;
    const step = editLine(does, mine?.bytes ?? "", line, seen.fstab !== undefined);
    return unwritable(seen) ?? { steps: [step], ...warnings };
  },

  remember(want, seen) {
    const [line] = linesAt(seen, want.mountPoint);
    const isText = line === undefined || bytesOf(line.text) === line.bytes;
    return {
      line: line?.text ?? null,
      fstab: seen.fstab !== undefined,
      ...(isText ? {} : { base64: Buffer.from(line.bytes, "latin1").toString("base64") }),
    };
  },

  restore(old, before, seen, context) {
    const tags = context?.tags ?? new Set();
    const line = linesAt(seen, old.mountPoint).find(
      ({ entry }) => isOurs(entry, old) || (entry.type === "9p" && tags.has(entry.source)),
    );
    const former = formerBytes(before);
    if (!line || line.bytes === former) return { steps: [] };
    const does = `${former === undefined ? "take" : "give back"} the line of ${old.mountPoint} in fstab`;
    const step = editLine(does, line.bytes, former ?? "", before.fstab);
    return unwritable(seen) ?? { steps: [step] };
  },

  outputs: (want) => ({ fstabEntry: formatFstabEntry(want) }),

  drift(want, seen) {
    const lines = linesAt(seen, want.mountPoint);
    const mine = ours(lines, want);
    if (!mine) return found("missing", `the guest's fstab has no line for ${want.mountPoint}`);
    const differing = [
      ...(sameEntry(mine.entry, want)
        ? []
        : [`the guest's fstab has "${mine.text}", wanted is "${formatFstabEntry(want)}"`]),
      ...[...conflicts(want, lines, mine), ...overridden(want, seen)].map(({ what }) => what),
    ];
    return {
      state: differing.length === 0 ? "ok" : "differs",
      args: argumentsThatDiffer(mine.entry, want),
      notes: [...differing, ...unmounted(want, seen)],
    };
  },
};

/** What else stands at the mount point, and how the boot takes our own line for another one. */
function conflicts(want: FstabEntry, lines: readonly FstabLine[], mine: FstabLine | undefined): Refusal[] {
  const taken = lines
    .filter((line) => line !== mine)
    .flatMap(({ text }) =>
      refuse(
        "mountPointTaken",
        `${want.mountPoint} is taken in the guest's fstab by "${text}"; this share would mount ${want.source} there`,
        "choose another mount point, or take that line out",
      ),
    );
  if (mine?.differs === undefined) return taken;
  const what = `the guest's fstab has "${mine.text}" for ${want.mountPoint}, and ${mine.differs}`;
  return [...taken, ...refuse("mountPointTaken", what, "put that line right, or take it out")];
}

function overridden(want: FstabEntry, { units = [] }: Pick<FstabSeen, "units">): Refusal[] {
  return units.flatMap((unit) =>
    refuse(
      "mountPointTaken",
      `the guest has ${unit} for ${want.mountPoint}, which systemd takes instead of a line in fstab, or beside it`,
      "remove that file, or choose another mount point",
    ),
  );
}

/** The line is right, and the boot does not mount it. */
function unmounted(want: FstabEntry, seen: Pick<FstabSeen, "lacksNetmount">): string[] {
  if (seen.lacksNetmount !== true || !want.options.split(",").includes("_netdev")) return [];
  return [
    `the guest's boot does not mount ${want.mountPoint}: its line has _netdev, and the service netmount of OpenRC, which mounts those, is in no runlevel. Run "rc-update add netmount" in the guest, or write guest.options.netdev: false`,
  ];
}

/** Why the file cannot be edited. */
function unwritable(seen: Needed<FstabSeen, typeof restoreNeeds>): Plan | undefined {
  return notEditable("/etc/fstab", "the guest's fstab", seen.fstab, seen);
}

/** The bytes of the line that stood there; undefined: none did. */
function formerBytes(before: FstabBefore): string | undefined {
  if (before.line === null) return undefined;
  const { base64 } = before;
  return typeof base64 === "string" ? Buffer.from(base64, "base64").toString("latin1") : bytesOf(before.line);
}

function linesAt(
  { fstab: text = "", links }: Pick<FstabSeen, "fstab" | "links">,
  mountPoint: string,
): FstabLine[] {
  return parseFstab(text).filter(
    ({ entry }) => mountPointOf(entry) === mountPoint || links?.get(entry.mountPoint) === mountPoint,
  );
}

function ours(lines: readonly FstabLine[], want: FstabEntry): FstabLine | undefined {
  return lines.find(({ entry }) => isOurs(entry, want));
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
