import type { Step } from "../engine/concern";
import type { Mount } from "../formats/mountinfo";
import { type Script, sh } from "../formats/shell";
import { isMountedAt, isShareMountedAt } from "./guest-facts";
import { type Difference, flagsOf, formatFlags, formatMounted, type MountFlags } from "./mount-differences";

/** What is done to a mount in the guest, each with its way back. */

/** Seconds in which a mount that somebody else has begun should be there. */
const secondsOfOther = 20;

/** Flags of a file system that a remount without `bind` takes away unless they are named. */
const fileSystemFlags = ["sync", "dirsync", "mand", "lazytime"];

/**
 * Changes flags of the mount, and nothing else.
 *
 * By `bind`, which leaves the file system's own flags alone: a plain remount takes `sync` from it, which v9fs
 * sets without a cache, and reports success for `msize`, `cache` and `access` without changing them (tried on
 * Linux 6.1 with util-linux 2.38 and busybox 1.35). Only a file system that is itself read-only takes a
 * plain one to become writable. Source and mount point are both given, or fstab and the present options
 * would be mixed in (mount(8)).
 */
export function remountStep(at: Mount, now: readonly Difference[], flags: MountFlags): Step {
  const isPlain = at.superOptions.includes("ro") && !flags.ro;
  const kept = at.superOptions.filter((option) => fileSystemFlags.includes(option));
  const remount = (to: MountFlags): Script => {
    const options = ["remount", ...(isPlain ? kept : ["bind"]), formatFlags(to)].join(",");
    return sh`mount -t 9p -o ${options} -- ${at.source} ${at.mountPoint}`;
  };
  return {
    does: `remount ${at.mountPoint} in the guest with ${now.map(({ wanted }) => wanted).join(", ")}`,
    code: "mountFailed",
    run: remount(flags),
    undo: remount(flagsOf(at)),
  };
}

/** Mounts by the line in fstab; an automount is started, and mounts when somebody first uses it. */
export function mountStep(mountPoint: string, automount: boolean): Step {
  return {
    does: `mount ${mountPoint} in the guest`,
    code: "mountFailed",
    run: automount ? sh`systemctl restart "${automountUnit(mountPoint)}"` : mountByFstab(mountPoint),
    undo: unmount(mountPoint),
  };
}

/**
 * A guest that has just booted may be mounting it itself at this moment: the device is then busy before
 * anything is mounted (net/9p/trans_virtio.c, Linux 6.1), and the other's mount is waited for.
 */
function mountByFstab(mountPoint: string): Script {
  return sh`${isMountedAt(mountPoint)} || error=$(mount -- ${mountPoint} 2>&1) || {
  turn=0
  until ${isMountedAt(mountPoint)}; do
    case $error in *busy*) turn=$(( turn + 1 ));; *) turn=${secondsOfOther};; esac
    [ $turn -lt ${secondsOfOther} ] || { printf '%s\n' "$error" >&2; exit 1; }
    sleep 1
  done
}`;
}

/** Its undo mounts with the options that the mount had: fstab has those that have just failed. */
export function unmountStep(at: Mount, isAutomounted: boolean): Step {
  const { mountPoint } = at;
  const start = sh`systemctl start "${automountUnit(mountPoint)}"`;
  const mount = sh`mount -t 9p -o ${formatMounted(at)} -- ${at.source} ${mountPoint}`;
  const again = isAutomounted ? sh`${start} || ${mount}` : mount;
  return {
    does: `unmount ${mountPoint} in the guest`,
    run: unmount(mountPoint),
    undo: at.type === "autofs" ? start : sh`${isMountedAt(mountPoint)} || ${again}`,
  };
}

/**
 * Unmounts what lies on a path, automount included.
 *
 * The share goes first: systemd detaches lazily what lies on an automount that it stops, in use or not
 * (tried with systemd 252).
 */
function unmount(mountPoint: string): Script {
  return sh`if [ -d /run/systemd/system ]; then
  unit="${automountUnit(mountPoint)}"
  if systemctl -q is-active "$unit"; then
    if ${isShareMountedAt(mountPoint)}; then umount -- ${mountPoint}; fi
    systemctl stop "$unit"
  fi
fi
while ${isMountedAt(mountPoint)}; do umount -- ${mountPoint}; done`;
}

/** The name of the unit that systemd's fstab generator makes for an automount, as a command substitution. */
function automountUnit(mountPoint: string): Script {
  return sh`$(systemd-escape --path --suffix=automount -- ${mountPoint})`;
}

/** Removes the directories that we made, the deepest first, as far as they are empty. */
export function removeMade(mountPoint: string, firstMissing: string): Script {
  return sh`at=${mountPoint}
while rmdir -- "$at" 2>/dev/null; do
  [ "$at" != ${firstMissing} ] || break
  at=$${{ text: "{at%/*}" }}
done`;
}
