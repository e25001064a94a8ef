import type { Step } from "../../engine/layer";
import type { Mount } from "../../formats/mountinfo";
import { type Script, sh } from "../../remote/shell/sh";
import { isAutomountAt, isMountedAt, isShareMountedAt } from "../shared/guest";
import {
  type Difference,
  flagsOf,
  formatFlags,
  formatMounted,
  isAutomount,
  isAutomounted,
} from "./differences";
import { unitNameOf } from "../shared/mount-units";

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
export function remountStep(at: Mount, now: readonly Difference[]): Step {
  const before = flagsOf(at);
  const after = before.map((flag) => now.find(({ shown }) => shown === flag)?.wanted ?? flag);
  const kept = at.superOptions.filter((option) => fileSystemFlags.includes(option));
  const how = at.superOptions.includes("ro") && after.includes("rw") ? kept : ["bind"];
  const gone = `${at.source} is not mounted on ${at.mountPoint} any more`;
  const remount = (flags: readonly string[]): Script =>
    sh`${isShareMountedAt(at.mountPoint, at.source)} || { echo ${gone} >&2; exit 1; }
mount -t 9p -o ${["remount", ...how, formatFlags(flags, at)].join(",")} -- ${at.source} ${at.mountPoint}`;
  return {
    does: `remount ${at.mountPoint} in the guest with ${now.map(({ wanted }) => wanted).join(", ")}`,
    code: "mountFailed",
    run: remount(after),
    undo: remount(before),
  };
}

/** Mounts by the line in fstab; an automount is started, and mounts when somebody first uses it. */
export function mountStep(mountPoint: string, tag: string, automount: boolean): Step {
  return {
    does: `mount ${mountPoint} in the guest`,
    code: "mountFailed",
    run: automount ? startAutomount(mountPoint, tag) : mountByFstab(mountPoint, tag),
    undo: unmount(mountPoint, tag),
  };
}

/**
 * mountinfo decides, and not what mount(8) returns: with `nofail` that is 0 for a device that is not there (libmount's
 * mnt_context_get_excode, util-linux 2.38). Then only the kernel knows why.
 *
 * A guest that has just booted may be mounting it itself at this moment: the device is then busy before
 * anything is mounted (net/9p/trans_virtio.c, Linux 6.1), and the other's mount is waited for.
 */
function mountByFstab(mountPoint: string, tag: string): Script {
  const isMounted = isShareMountedAt(mountPoint, tag);
  return sh`! ${isMounted} || exit 0
error=$(mount -- ${mountPoint} 2>&1) || :
case $error in *busy*) seconds=${secondsOfOther};; *) seconds=0;; esac
until ${isMounted}; do
  [ $seconds -gt 0 ] || { ${failNotMounted(mountPoint, tag)}; }
  sleep 1
  seconds=$((seconds - 1))
done`;
}

function startAutomount(mountPoint: string, tag: string): Script {
  const unit = automountUnit(mountPoint);
  return sh`if [ -s "$work/reload" ] || ! systemctl cat ${unit} >/dev/null 2>&1; then
  : > "$work/reload"
  systemctl daemon-reload
fi
error=$(systemctl restart ${unit} 2>&1) || { printf '%s\n' "$error" >&2; exit 1; }
${isAutomountAt(mountPoint)} || ${isShareMountedAt(mountPoint, tag)} || { ${failNotMounted(mountPoint, tag)}; }`;
}

/** Ends the step with what mount(8) said, in `$error`, and the last that the kernel said of 9p. */
function failNotMounted(mountPoint: string, tag: string): Script {
  return sh`printf '%s\n' "$error" ${`${tag} is not mounted on ${mountPoint}`} | sed '/^$/d' >&2
    dmesg 2>/dev/null | grep -F 9p | tail -n 3 | sed 's/^/kernel: /' >&2
    exit 1`;
}

/** Its undo mounts with the options that the mount had: fstab has those that have just failed. */
export function unmountStep(at: Mount, mounts: readonly Mount[]): Step {
  const { mountPoint, source } = at;
  const start = sh`systemctl start ${automountUnit(mountPoint)}`;
  const mount = sh`mount -t 9p -o ${formatMounted(at)} -- ${source} ${mountPoint}`;
  const again = isAutomounted(at, mounts) ? sh`${start} || ${mount}` : mount;
  return {
    does: `unmount ${mountPoint} in the guest`,
    run: unmount(mountPoint, source),
    undo: isAutomount(at) ? start : sh`${isMountedAt(mountPoint)} || ${again}`,
  };
}

/** Another share's mount, in the tree of what is mounted above it by now, as it was. */
export function mountAgainStep(at: Mount, mounts: readonly Mount[]): Step {
  const { mountPoint, source } = at;
  const notEmpty = "has files in it, which its share would hide";
  return {
    does: `mount ${mountPoint} in the guest again`,
    code: "mountFailed",
    failures: [
      {
        answer: notEmpty,
        code: "mountPointNotEmpty",
        what: `${mountPoint} ${notEmpty}`,
        remedy: "move them away, or choose another mount point for one of the two",
      },
    ],
    run: sh`umask 022
mkdir -p -- ${mountPoint}
if [ -n "$(ls -A -- ${mountPoint} | head -n 1)" ]; then echo ${`${mountPoint} ${notEmpty}`} >&2; exit 1; fi
${unmountStep(at, mounts).undo ?? sh`:`}
${isShareMountedAt(mountPoint, source)} || ${isAutomountAt(mountPoint)}`,
    undo: sh`${unmount(mountPoint, source)}
rmdir -- ${mountPoint} 2>/dev/null || :`,
  };
}

/**
 * Unmounts the share from a path, the automount below it included, and nothing else.
 *
 * The share goes first: systemd detaches lazily what lies on an automount that it stops, in use or not
 * (tried with systemd 252).
 */
function unmount(mountPoint: string, tag: string): Script {
  const isShare = isShareMountedAt(mountPoint, tag);
  const isAny = sh`{ ${isShare} || ${isAutomountAt(mountPoint)}; }`;
  const unit = automountUnit(mountPoint);
  return sh`if [ -d /run/systemd/system ] && systemctl -q is-active ${unit}; then
  if ${isShare}; then umount -- ${mountPoint}; fi
  systemctl stop ${unit}
fi
for turn in 1 2 3 4; do
  if ${isAny}; then umount -- ${mountPoint}; else break; fi
done
if ${isAny}; then echo ${`${mountPoint} is still mounted`} >&2; exit 1; fi`;
}

/** The unit that systemd's fstab generator makes for an automount. */
function automountUnit(mountPoint: string): string {
  return `${unitNameOf(mountPoint)}.automount`;
}

/** Removes the directories that we made, the deepest first, as far as they are empty. */
export function removeMade(mountPoint: string, firstMissing: string): Script {
  return sh`at=${mountPoint}
while rmdir -- "$at" 2>/dev/null; do
  [ "$at" != ${firstMissing} ] || break
  at=$${{ text: "{at%/*}" }}
done`;
}
