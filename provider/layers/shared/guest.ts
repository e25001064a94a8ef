import type { Fact, Gathering } from "../../engine/layer";
import { mountPointInMountinfo, sourcesInMountinfo } from "../../formats/mountinfo";
import { editLines } from "./line-edits";
import { type Script, sh } from "../../remote/shell/sh";

/** What several layers ask about the guest; each is looked up once per look. */

/**
 * Shell functions of every script in a guest.
 *
 * `seen_at PATH` walks to a path through /proc/self/mountinfo as `mountHolding` of formats/mountinfo.ts does, and
 * prints what one sees mounted there, sample: `45 / 9p foobar` (st_dev, root, type, source); nothing where one sees no mount. Not mountpoint(1):
 * busybox may lack it, and it would look at a mount that may hang. The path goes in by the environment, for awk's -v
 * would undo the kernel's escapes. A look reads mountinfo once, into `$mountinfo`: a path that does not
 * stand in it needs no process. A step, which may come behind a mount, has none there.
 *
 * `enter_share` goes into the root of a share and sets an automount off. It fails where that is not the share: known by
 * the number of the device (st_dev), which each mount of 9p has for itself, and by the inode where that is known. What `.` is then, nobody can change.
 */
export const guestPrelude: Script = sh`mountinfo=''
is_listed() { case $mountinfo in '' | *" $1"[' /']*) return 0;; esac; return 1; }
seen_at() { # PATH, as mountinfo has it
  is_listed "$1" || return 0
  at=$1 awk 'BEGIN { at = ENVIRON["at"] }
{ known[$1] }
$5 == "/" || $5 == at || index(at, $5 "/") == 1 {
  id[++n] = $1; parent[n] = $2; point[n] = $5
  for (i = 7; i <= NF && $i != "-"; i++);
  split($3, d, ":")
  shown[n] = sprintf("%.0f %s %s %s", d[1] * 256 + d[2] % 256 + (d[2] - d[2] % 256) * 4096, $4, $(i + 1), $(i + 2))
}
END {
  for (turn = 1; turn <= n; turn++) {
    first = 0
    for (m = 1; m <= n; m++) {
      if (m in passed || (here ? parent[m] != id[here] : parent[m] in known && parent[m] != id[m])) continue
      if (!first || length(point[m]) <= length(point[first])) first = m
    }
    if (!first) break
    passed[here = first]
  }
  if (here && point[here] == at) print shown[here]
}' /proc/self/mountinfo
}
is_mounted_below() { is_listed "$1" && at=$1 awk 'index($5, ENVIRON["at"] "/") == 1 { found = 1 } END { exit !found }' /proc/self/mountinfo; }
is_mounted() { is_listed "$1" && [ -n "$(seen_at "$1")" ]; }
is_automount() { case $(seen_at "$1") in *' / autofs '*) return 0;; esac; return 1; }
is_share() { # PATH TAG TAG-OF-OLDER-KERNELS
  is_listed "$1" || return 1
  case $(seen_at "$1") in *" / 9p $2" | *" / 9p $3") return 0;; esac; return 1
}
enter_share() { # DIRECTORY, as is_share, and the inode numbers that it may have; none: any
  cd -P -- "$1/." || return 1
  case $(seen_at "$2") in "$(stat -c %d .) / 9p $3" | "$(stat -c %d .) / 9p $4")
    case " $5 " in '  ' | *" $(stat -c %i .) "*) return 0;; esac;;
  esac
  printf '%s\n' "$1 is not the share in the guest, and is left as it is" >&2
  return 1
}
${editLines}`;

/** Behind the steps of a script in a guest. */
export const guestClosing = { does: "have changed names on the disk", run: sh`on_disk` };

/** For facts that ask what is mounted. */
export const mountinfo: Gathering = { variable: "mountinfo", script: sh`cat /proc/self/mountinfo` };

/** A test, for `if` in a guest's script: does one see a mount at this very path? */
export function isMountedAt(path: string): Script {
  return sh`is_mounted ${mountPointInMountinfo(path)}`;
}

/** The same, for a 9p file system of this tag, all of it. */
export function isShareMountedAt(path: string, tag: string): Script {
  return sh`is_share ${[mountPointInMountinfo(path), ...sourcesInMountinfo(tag)]}`;
}

/** The same, for an automount that waits. */
export function isAutomountAt(path: string): Script {
  return sh`is_automount ${mountPointInMountinfo(path)}`;
}

/** For the beginning of a step that changes a share's root: makes it `.`, or ends the step. `inodes`: what it may be. */
export function enterShare(path: string, tag: string, inodes: readonly string[] = []): Script {
  return sh`enter_share ${[path, mountPointInMountinfo(path), ...sourcesInMountinfo(tag), ...(inodes.length === 0 ? [] : [inodes.join(" ")])]}`;
}

/**
 * A test: OpenRC started the guest. /run/openrc is there while it runs (Alpine, Gentoo); /sbin/openrc alone says so where
 * no systemd runs.
 */
export const isOpenrc = sh`{ ! [ -d /run/systemd/system ] && { [ -d /run/openrc ] || [ -x /sbin/openrc ]; }; }`;

/** The kernel's release, as uname(1) prints it; read by the shell itself. Sample: `6.1.0-40-amd64`. */
export const kernelRelease: Fact<string> = {
  fixed: true,
  place: "guest",
  does: "ask for the kernel's release",
  script: sh`read -r release < /proc/sys/kernel/osrelease && printf '%s\n' "$release"`,
  parse: (output) => output.trim(),
};

/** `ID` and `ID_LIKE` of os-release(5), sample: `["rocky", "rhel", "centos", "fedora"]`. */
export const distribution: Fact<readonly string[]> = {
  fixed: true,
  place: "guest",
  does: "ask which distribution this is",
  script: sh`for file in /etc/os-release /usr/lib/os-release; do
  [ -r "$file" ] || continue
  while IFS= read -r line || [ -n "$line" ]; do printf '%s\n' "$line"; done < "$file"
  break
done`,
  parse: (output) =>
    ["ID", "ID_LIKE"].flatMap((name) => {
      const value = new RegExp(`^${name}=["']?([^"'\\n]*)`, "m").exec(output)?.[1] ?? "";
      return value.split(" ").filter((word) => word !== "");
    }),
};
