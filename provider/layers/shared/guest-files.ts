import { type Fact, type Plan, refused } from "../../engine/layer";
import { type Mount, mountHolding } from "../../formats/mountinfo";
import { sh } from "../../remote/shell/sh";
import { isMountedAt, mountinfo } from "./guest";

/** What stands in a file, a character a byte (latin1); undefined: it is not there. */
export function contentOf(file: string): Fact<string | undefined> {
  return {
    place: "guest",
    does: `read ${file}`,
    script: sh`if [ -e ${file} ]; then cat -- ${file} && printf .; fi`,
    parse: (_output, bytes) => (bytes.length === 0 ? undefined : bytes.subarray(0, -1).toString("latin1")),
  };
}

/** What keeps a file in the guest from being replaced by another one. */
export interface Obstacle {
  /** The file, or the directory in which it is to be made. */
  readonly path: string;
  /** It is mounted; it has chattr(1)'s flag `i` or `a`; whoever runs our scripts may not write it; nothing. */
  readonly kind: "mount" | "immutable" | "denied" | "none";
}

/**
 * Asks, and changes nothing: access(2) by `test -w`, which says no of what SELinux forbids, too. A test of busybox says
 * yes to root (libbb's `nexpr`), so the flags and mountinfo are looked at besides. Links are followed. What is mounted
 * is not looked into, for it may hang.
 */
export function obstacleTo(file: string): Fact<Obstacle> {
  return {
    fixed: true,
    place: "guest",
    does: `see whether ${file} can be written`,
    gathers: mountinfo,
    // lsattr(1) prints its flags first: `----ia--------e------- /etc`
    script: sh`path=${file} kind=none
if ${isMountedAt(file)}; then printf 'mount %s\n' "$path"; exit; fi
if [ -L "$path" ]; then path=$(readlink -f -- "$path") || path=${file}; fi
while ! [ -e "$path" ]; do path=$${{ text: "{path%/*}" }}; [ -n "$path" ] || path=/; done
set -- "$path"
[ -d "$path" ] || set -- "$path" "$${{ text: "{path%/*}" }}/"
if [ $# -eq 2 ] && is_mounted "$path"; then kind=mount
elif lsattr -d -- "$@" 2>/dev/null |
  ( while read -r flags _; do case $flags in *[ia]*) exit;; esac; done; exit 1 ); then kind=immutable
else for one; do [ -w "$one" ] || kind=denied; done
fi
printf '%s %s\n' "$kind" "$path"`,
    parse(output) {
      const [, kind, path] = /^(\S+) ([^]*)\n$/.exec(output) ?? [];
      if (kind === undefined || path === undefined) throw new Error(JSON.stringify(output));
      return { kind: kind as Obstacle["kind"], path };
    },
  };
}

interface Replaced {
  readonly obstacle?: Obstacle | undefined;
  readonly mounts?: readonly Mount[] | undefined;
}

/** Why a file cannot be written, known before anything is; undefined: it can be, as far as one sees. */
export function notReplaceable(file: string, { obstacle, mounts = [] }: Replaced): Plan | undefined {
  const { kind, path } = obstacle ?? { kind: "none", path: file };
  const mount = mountHolding(mounts, path);
  if (kind === "mount") {
    return refused(
      "fileProtected",
      `${path} in the guest is a mount of its own, and no other file can be put in its place`,
      "unmount it, or mount the directory that it is in in its place",
    );
  }
  if (mount && [...mount.mountOptions, ...mount.superOptions].includes("ro")) {
    return refused(
      "fileSystemReadOnly",
      `${file} in the guest cannot be written: the file system on ${mount.mountPoint} is mounted read-only`,
      `mount it read-write: mount -o remount,rw ${mount.mountPoint}`,
    );
  }
  if (kind === "immutable") {
    return refused(
      "fileProtected",
      `${file} in the guest cannot be written: it, or the directory that it is in, is immutable or for appending only`,
      `chattr -i -a ${path} in the guest`,
    );
  }
  if (kind === "denied") {
    return refused(
      "fileProtected",
      `${file} in the guest cannot be written by whoever runs commands there for us`,
      "where SELinux confines the guest agent, let it: setsebool -P virt_qemu_ga_run_unconfined on; or give guest.connection",
    );
  }
  return undefined;
}

/**
 * The same of a file whose lines are edited. One with NULs is left as it is: so a file system leaves a file that was
 * being written when the power went.
 */
export function notEditable(
  file: string,
  called: string,
  text: string | null | undefined,
  seen: Replaced,
): Plan | undefined {
  return text?.includes("\0") === true
    ? refused(
        "fileProtected",
        `${called} has NUL bytes in it, and is left as it is`,
        "repair it in the guest",
      )
    : notReplaceable(file, seen);
}
