import type { Fact, Refusal } from "../engine/concern";
import { type Mount, mountHolding } from "../formats/mountinfo";
import { sh } from "../formats/shell";
import { isMountedAt, mountinfo } from "./guest-facts";

/** What keeps a file in the guest from being replaced by another one. */
export interface Obstacle {
  /** The file, or the directory in which it is to be made. */
  readonly path: string;
  /** It is mounted; it has chattr(1)'s flag `i` or `a`; whoever runs our scripts may not write it; nothing. */
  readonly kind: "mount" | "immutable" | "denied" | "none";
}

/**
 * Asks, and changes nothing: access(2) by `test -w`, which says no of what SELinux forbids, too. A test of busybox says
 * yes to root (libbb's `nexpr`), so the flags and mountinfo are looked at besides. Links are followed. `isFile` false: a directory
 * that may be mounted.
 */
export function obstacleTo(file: string, isFile = true): Fact<Obstacle> {
  return {
    key: `what keeps ${file} as it is`,
    fixed: true,
    place: "guest",
    does: `see whether ${file} can be written`,
    // What is mounted is not looked into, for it may hang.
    ...(isFile ? {} : { gathers: mountinfo }),
    script: sh`${isFile ? sh`:` : sh`if ${isMountedAt(file)} || [ -d ${file} ]; then printf 'none %s\n' ${file}; exit; fi`}
flagged() { # lsattr(1) prints its flags first: \`----ia--------e------- /etc\`
  lsattr -d -- "$@" 2>/dev/null | while read -r flags _; do case $flags in *[ia]*) echo flagged;; esac; done
}
path=${file}
if [ -L "$path" ]; then path=$(readlink -f -- "$path") || path=${file}; fi
while ! [ -e "$path" ]; do path=$${{ text: "{path%/*}" }}; [ -n "$path" ] || path=/; done
folder=$${{ text: "{path%/*}" }}/
kind=none
if ! [ -d "$path" ] && is_mounted "$path"; then kind=mount
elif [ -d "$path" ] && [ -n "$(flagged "$path")" ]; then kind=immutable
elif ! [ -d "$path" ] && [ -n "$(flagged "$path" "$folder")" ]; then kind=immutable
elif ! [ -w "$path" ] || { ! [ -d "$path" ] && ! [ -w "$folder" ]; }; then kind=denied
fi
printf '%s %s\n' "$kind" "$path"`,
    parse(output) {
      const [, kind, path] = /^(\S+) ([^]*)\n$/.exec(output) ?? [];
      if (kind === undefined || path === undefined) throw new Error(JSON.stringify(output));
      return { kind: kind as Obstacle["kind"], path };
    },
  };
}

/** Why a file cannot be written, known before anything is; undefined: it can be, as far as one sees. */
export function notReplaceable(
  file: string,
  seen: { readonly obstacle?: Obstacle | undefined; readonly mounts?: readonly Mount[] | undefined },
): Refusal | undefined {
  const { kind = "none", path = file } = seen.obstacle ?? {};
  const mount = mountHolding(seen.mounts ?? [], path);
  if (kind === "mount") {
    return {
      code: "fileProtected",
      what: `${path} in the guest is a mount of its own, and no other file can be put in its place`,
      remedy: `unmount it, or mount the directory that it is in in its place`,
    };
  }
  if (mount?.mountOptions.includes("ro") === true || mount?.superOptions.includes("ro") === true) {
    return {
      code: "fileSystemReadOnly",
      what: `${file} in the guest cannot be written: the file system on ${mount.mountPoint} is mounted read-only`,
      remedy: `mount it read-write: mount -o remount,rw ${mount.mountPoint}`,
    };
  }
  if (kind === "immutable") {
    return {
      code: "fileProtected",
      what: `${file} in the guest cannot be written: it, or the directory that it is in, is immutable or for appending only`,
      remedy: `chattr -i -a ${path} in the guest`,
    };
  }
  if (kind === "denied") {
    return {
      code: "fileProtected",
      what: `${file} in the guest cannot be written by whoever runs commands there for us`,
      remedy:
        "where SELinux confines the guest agent, let it: setsebool -P virt_qemu_ga_run_unconfined on; or give guest.connection",
    };
  }
  return undefined;
}
