import { posix } from "node:path";
import type { Fact } from "../engine/concern";
import { sh } from "../formats/shell";
import { escapedForAwk, isMountedAt } from "./guest-facts";

/** What stands at a mount point in the guest, and who uses it. */

/** What stands at the path where a share is to be mounted. */
export interface MountPoint {
  readonly kind: "missing" | "directory" | "other";
  readonly empty: boolean;
  /** The first directory of the path that is not there. */
  readonly firstMissing: string | undefined;
  /** Where the path leads, with every link in it followed but a last part that is one itself. */
  readonly realPath: string;
}

/** A process that has something open below the mount point, or has the same file system mounted elsewhere. */
export interface Holder {
  /** Its name and number: `sleep (412)`; with the other mount point, `sh (1), which has it at /var/www`. */
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
    script: sh`if ${isMountedAt(path)}; then printf '%s\n' 'directory empty' ${path} ${path}; exit; fi
at=${path} missing=''
while [ "$at" != / ] && ! [ -e "$at" ] && ! [ -L "$at" ]; do missing=$at; at=$(dirname -- "$at"); done
if [ -n "$missing" ]; then printf 'missing empty %s\n' "$missing"
elif [ -L "$at" ] || ! [ -d "$at" ]; then echo other full; at=$(dirname -- "$at")
elif [ -n "$(ls -A -- "$at" | head -n 1)" ]; then echo directory full
else echo directory empty
fi
printf '%s\n' "$at" "$(readlink -f -- "$at")"`,
    parse: (output) => {
      const [first = "", at = "", ...real] = output.trimEnd().split("\n");
      const [kind, fill, ...missing] = first.split(" ");
      return {
        kind: kind as MountPoint["kind"],
        empty: fill === "empty",
        firstMissing: missing.length > 0 ? missing.join(" ") : undefined,
        // Of the part that is there, and the rest as it was asked for.
        realPath: posix.join(real.join("\n"), path.slice(at.length)),
      };
    },
  };
}

/**
 * Who has something open below a path: working directory, root, program, open files; and who has what is
 * mounted there at another place too, by a bind mount or in a mount namespace of its own (a container).
 *
 * Sample: `412 sleep lrwx------ fd /mnt/a/x`, `1 sh l mounted /var/www`. The mode of a link under fd says how
 * the file was opened (proc(5)). All links are read by one `ls`, all mounts by one `grep`: a process for each
 * would take seconds in an emulated guest.
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
  done
device=$(awk -v at=${escapedForAwk(path)} '$5 == at { device = $3 } END { print device }' /proc/self/mountinfo)
grep -sHF -- " $device " /proc/[0-9]*/mountinfo |
  awk -v device="$device" -v at=${escapedForAwk(path)} '$3 == device && $5 != at && !($5 in seen) { seen[$5]; n = split($1, file, "/"); print file[n - 1], $5 }' |
  head -n 50 |
  while read -r process other; do
    printf '%s %s l mounted %s\n' "$process" "$(tr ' ' _ < "/proc/$process/comm" 2>/dev/null)" "$other"
  done`,
    parse: (output) => {
      const inside = output
        .split("\n")
        .map((line) => /^(\d+) (\S*) l(\S*) ([a-z]+) (.*)$/.exec(line))
        .filter(
          (match) =>
            match && (match[4] === "mounted" || match[5] === path || match[5]?.startsWith(`${path}/`)),
        )
        .map((match) => ({
          who: `${match?.[2] ?? ""} (${match?.[1] ?? ""})${match?.[4] === "mounted" ? `, which has it at ${match[5] ?? ""}` : ""}`,
          writes: match?.[4] === "fd" && match[3]?.[1] === "w",
        }));
      return [...new Set(inside.map(({ who }) => who))].map((who) => ({
        who,
        writes: inside.some((one) => one.who === who && one.writes),
      }));
    },
  };
}
