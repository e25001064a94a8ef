import type { Fact } from "../engine/concern";
import { sh } from "../formats/shell";
import { isMountedAt } from "./guest-facts";

/** What stands at a mount point in the guest, and who uses it. */

/** What stands at the path where a share is to be mounted. */
export interface MountPoint {
  readonly kind: "missing" | "directory" | "other";
  readonly empty: boolean;
  /** The nearest directory above that is there. */
  readonly firstMissing: string | undefined;
}

/** A process that has something open below the mount point. */
export interface Holder {
  /** Its name and number: `sleep (412)`. */
  readonly who: string;
  /** Whether it has a file open for writing: then the mount cannot become read-only. */
  readonly writes: boolean;
}

/** What stands at a path, without looking into a mount. */
export function mountPointOf(path: string): Fact<MountPoint> {
  return {
    key: `mount point ${path}`,
    place: "guest",
    does: `look at ${path}`,
    // A mount may hang, or be shut on the host: only what is not mounted is looked into.
    script: sh`if ${isMountedAt(path)}; then echo directory empty
elif [ -d ${path} ] && ! [ -L ${path} ]; then
  if [ -n "$(ls -A -- ${path} | head -n 1)" ]; then echo directory full; else echo directory empty; fi
elif [ -e ${path} ] || [ -L ${path} ]; then echo other full
else
  at=${path}
  while [ "$at" != / ] && ! [ -e "$at" ]; do missing=$at; at=$(dirname -- "$at"); done
  printf 'missing empty %s\n' "$missing"
fi`,
    parse: (output) => {
      const [kind, fill, ...missing] = output.trimEnd().split(" ");
      return {
        kind: kind as MountPoint["kind"],
        empty: fill === "empty",
        firstMissing: missing.length > 0 ? missing.join(" ") : undefined,
      };
    },
  };
}

/**
 * Who has something open below a path: working directory, root, program, open files.
 *
 * Sample: `412 sleep lrwx------ fd /mnt/a/x`. The mode of a link under fd says how the file was opened
 * (proc(5)). All links are read by one `ls`: a process for each would take seconds in an emulated guest.
 */
export function holdersOf(path: string): Fact<readonly Holder[]> {
  return {
    key: `holders of ${path}`,
    place: "guest",
    does: `see who uses ${path}`,
    script: sh`${isMountedAt(path)} || exit 0
ls -l /proc/[0-9]*/cwd /proc/[0-9]*/root /proc/[0-9]*/exe /proc/[0-9]*/fd/* 2>/dev/null | grep -F -- ${` -> ${path}`} |
  sed 's|^\([^ ]*\) .* /proc/\([0-9]*\)/\([a-z]*\)[^>]* -> |\2 \1 \3 |' | head -n 50 |
  while read -r process mode what file; do
    printf '%s %s %s %s %s\n' "$process" "$(tr ' ' _ < "/proc/$process/comm" 2>/dev/null)" "$mode" "$what" "$file"
  done`,
    parse: (output) => {
      const inside = output
        .split("\n")
        .map((line) => /^(\d+) (\S*) l(\S*) ([a-z]+) (.*)$/.exec(line))
        .filter((match) => match && (match[5] === path || match[5]?.startsWith(`${path}/`)))
        .map((match) => ({
          who: `${match?.[2] ?? ""} (${match?.[1] ?? ""})`,
          writes: match?.[4] === "fd" && match[3]?.[1] === "w",
        }));
      return [...new Set(inside.map(({ who }) => who))].map((who) => ({
        who,
        writes: inside.some((one) => one.who === who && one.writes),
      }));
    },
  };
}
