import { posix } from "node:path";
import type { Fact } from "../../engine/layer";
import { lines, type Script, sh } from "../../remote/shell/sh";
import { mountPointInMountinfo } from "../../formats/mountinfo";
import { isAtOrBelow } from "../../formats/path";
import { isMountedAt, mountinfo } from "../shared/guest";
import { without, withoutMounts } from "../shared/tree-mounts";

/** What stands at a mount point in the guest, and who uses it. */

/** What stands at the path where a share is to be mounted. */
export interface MountPoint {
  readonly kind: "missing" | "directory" | "other";
  readonly empty: boolean;
  /** Why nobody can tell what is in it, sample: `Permission denied`. */
  readonly unreadable?: string;
  /** What is in it, to any depth but in no other file system, as far as twenty. */
  readonly entries?: readonly string[];
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
    place: "guest",
    does: `look at ${path}`,
    gathers: mountinfo,
    // A mount may hang, or be shut on the host: only what is not mounted is looked into.
    script: sh`if ${isMountedAt(path)}; then printf '%s\n' 'directory empty' ${path} ${path}; exit; fi
at=${path} missing='' full=''
up() { at=$${{ text: "{at%/*}" }}; [ -n "$at" ] || at=/; }
while [ "$at" != / ] && ! [ -e "$at" ] && ! [ -L "$at" ]; do missing=$at; up; done
if [ -n "$missing" ]; then printf 'missing empty %s\n' "$missing"
elif [ -L "$at" ] || ! [ -d "$at" ]; then echo other full; up
elif [ -n "$(ls -A -- "$at" 2>/dev/null | head -n 1)" ]; then echo directory full; full=1
elif said=$(ls -A -- "$at" 2>&1); then echo directory empty
else printf 'directory unreadable %s\n' ${{ text: '"${said##*: }"' }}
fi
printf '%s\n' "$at" "$(readlink -f -- "$at")"
[ -n "$full" ] || exit 0
${withoutMounts(path, lines([without(sh`printf '%s\n' "$mounts"`, path, sh`-print`), sh`find ${path} -xdev -mindepth 1 "$@" -print 2>/dev/null | head -n 20`]))}`,
    parse: (output) => {
      const [first = "", at = "", real = "", ...entries] = output.replace(/\n$/, "").split("\n");
      const [kind, fill, ...rest] = first.split(" ");
      return {
        kind: kind as MountPoint["kind"],
        empty: fill === "empty",
        ...(fill === "unreadable" ? { unreadable: rest.join(" ") } : {}),
        firstMissing: kind === "missing" ? rest.join(" ") : undefined,
        // Of the part that is there, and the rest as it was asked for.
        realPath: posix.join(real, path.slice(at.length)),
        ...(entries.length === 0 ? {} : { entries }),
      };
    },
  };
}

/**
 * Who has something open below a path: working directory, root, program, open files; and who has what is
 * mounted there at another place too, by a bind mount or in a mount namespace of its own (a container).
 *
 * Sample: `412 sleep lrwx------ fd /mnt/a/x`, `1 sh l mounted /var/www`. The mode of a link under fd says how
 * the file was opened (proc(5)). All links are read by few `ls`: a process for each would take seconds in an emulated
 * guest, and all of them as arguments of one are more than the kernel takes where many files are open (ARG_MAX).
 */
export function holdersOf(path: string): Fact<readonly Holder[]> {
  return {
    place: "guest",
    does: `see who uses ${path}`,
    gathers: mountinfo,
    script: sh`${isMountedAt(path)} || is_mounted_below ${mountPointInMountinfo(path)} || exit 0
{ for file in /proc/[0-9]*/cwd /proc/[0-9]*/root /proc/[0-9]*/exe /proc/[0-9]*/fd/*; do printf '%s\n' "$file"; done |
  xargs ls -l 2>/dev/null | grep -F -- ${` -> ${path}`} |
  sed 's|^\([^ ]*\) .* /proc/\([0-9]*\)/\([a-z]*\)[^>]* -> |\2 \1 \3 |' | head -n 50
${otherMounts(path)}
} | while read -r process mode what file; do
  printf '%s %s %s %s %s\n' "$process" "$(tr ' ' _ < "/proc/$process/comm" 2>/dev/null)" "$mode" "$what" "$file"
done`,
    parse: (output) => {
      const inside = [...output.matchAll(/^(\d+) (\S*) l(\S*) ([a-z]+) (.*)$/gm)]
        .map(([, process = "", name = "", mode, what, file = ""]) => ({ process, name, mode, what, file }))
        .filter(({ what, file }) => what === "mounted" || isAtOrBelow(file, path))
        .map(({ process, name, mode, what, file }) => ({
          who: `${name} (${process})${what === "mounted" ? `, which has it at ${file}` : ""}`,
          writes: what === "fd" && mode?.[1] === "w",
        }));
      return [...new Set(inside.map(({ who }) => who))].map((who) => ({
        who,
        writes: inside.some((one) => one.who === who && one.writes),
      }));
    },
  };
}

/**
 * Prints `PROCESS l mounted MOUNTPOINT` for each place where what is mounted at a path is mounted too, and would stay so:
 * in the mount namespace of each process, each namespace looked at once.
 *
 * A copy that came by propagation goes by it too: its parent is a peer of this mount's parent, or follows it,
 * and it lies at the same place of it. Services of systemd and snaps have such ones.
 * Source: mount_namespaces(7), man-pages 6.03; fs/pnode.c, propagate_umount, Linux 6.1.
 */
function otherMounts(path: string): Script {
  return sh`{ echo '= self'; cat /proc/self/mountinfo
  for file in /proc/[0-9]*/ns/mnt; do printf '%s\n' "$file"; done | xargs ls -l 2>/dev/null | sed 's|.*/\([0-9]*\)/ns/mnt -> |\1 |' | awk '!seen[$2]++ { print $1 }' |
    while read -r process; do echo "= $process"; cat "/proc/$process/mountinfo" 2>/dev/null; done
} | at=${mountPointInMountinfo(path)} awk 'BEGIN { at = ENVIRON["at"] }
  $1 == "=" { process = $2; split("", point); split("", root); split("", groups); next }
  {
    point[$1] = $5 == "/" ? "" : $5; root[$1] = $4 == "/" ? "" : $4; groups[$1] = " "
    for (i = 7; i <= NF && $i != "-"; i++) groups[$1] = groups[$1] $i " "
    place = root[$2] substr($5, length(point[$2]) + 1)
  }
  process == "self" {
    if ($5 == at) {
      id = $1; device = $3; own = place
      peers = match(groups[$2], / shared:[0-9]+ /) ? substr(groups[$2], RSTART + 8, RLENGTH - 9) : ""
    }
    next
  }
  $3 == device && $1 != id && !($5 in listed) {
    follows = peers != "" && (index(groups[$2], " shared:" peers " ") || index(groups[$2], " master:" peers " "))
    if (!(follows && place == own)) { listed[$5]; print process, "l mounted", $5 }
  }'`;
}
