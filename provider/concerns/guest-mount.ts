import { asWanted, type Concern, type Fact, type Facts, type Json, type Step } from "../engine/concern";
import { type Script, sh } from "../formats/shell";
import type { Domain } from "../formats/domain-xml";
import { type Mount, mountAt } from "../formats/mountinfo";
import { formatMountOptions } from "../mount-options";
import { liveDomain } from "./domain-facts";
import { isMountedAt, mounts } from "./guest-facts";

interface MountWant {
  readonly source: string;
  readonly tag: string;
  readonly mountPoint: string;
  readonly options: string;
  readonly automount: boolean;
  /** False: by the next boot only. What the boot has mounted is unmounted on the way down all the same. */
  readonly now: boolean;
}

interface MountPoint {
  readonly kind: "missing" | "directory" | "other";
  readonly empty: boolean;
  /** The nearest directory above that is there. */
  readonly firstMissing: string | undefined;
}

interface MountSeen {
  readonly mounts: readonly Mount[];
  readonly mountPoint: MountPoint;
  readonly holders: readonly string[];
  readonly live: Domain | undefined;
}

/** The first directory that had to be made for the mount point, null if it was there; and whether the share was mounted. */
type MountBefore = {
  readonly [key: string]: Json;
  readonly firstMissing: string | null;
  readonly mounted: boolean;
};

/**
 * The share mounted in the guest, with the options that were asked for.
 *
 * Mounted by its line in fstab, so that what is tried now is what the next boot does. Never unmounted
 * lazily or by force: whoever holds it is named.
 *
 * Refuses with `mountPointTaken`, `mountPointNotEmpty`; on the way back with `mountBusy`.
 * Source: mount(8), umount(8) of util-linux 2.38; fs/9p/v9fs.c, Linux 6.1.
 */
export const guestMount: Concern<MountWant, MountSeen, MountBefore> = {
  layer: "mount",
  place: "guest",
  up: "guestLive",
  down: "guest",
  scope: "domain",

  want: (spec) =>
    spec.guest
      ? {
          source: spec.source,
          tag: spec.tag,
          mountPoint: spec.guest.mountPoint,
          options: formatMountOptions(spec.guest.options, spec.readOnly),
          automount: spec.guest.options.automount,
          now: spec.guest.mount === "now",
        }
      : undefined,
  identity: (want) => want.mountPoint,
  facts: (want): Facts<MountSeen> => ({
    mounts,
    mountPoint: mountPointOf(want.mountPoint),
    holders: holdersOf(want.mountPoint),
    live: liveDomain,
  }),

  plan(want, seen, before, known) {
    const at = mountAt(seen.mounts, want.mountPoint);
    const mounted = at && isOurs(at, want);
    // Known: what is mounted there under another tag is this share under its former one.
    const former = at?.type === "9p" && known;
    if (at && !mounted && !former && !isAutomount(at)) {
      return {
        refuse: [
          {
            code: "mountPointTaken",
            what: `${at.source} (${at.type}) is mounted on ${want.mountPoint}; this share would mount ${want.tag} there`,
            remedy: "unmount it, or choose another mount point",
          },
        ],
        steps: [],
      };
    }
    if (!at && seen.mountPoint.kind === "other") {
      return {
        refuse: [
          {
            code: "mountPointTaken",
            what: `${want.mountPoint} is not a directory`,
            remedy: "choose another mount point",
          },
        ],
        steps: [],
      };
    }
    if (!at && !seen.mountPoint.empty && before === undefined) {
      return {
        refuse: [
          {
            code: "mountPointNotEmpty",
            what: `${want.mountPoint} has files in it, which the share would hide`,
            remedy: "move them away, or choose another mount point",
          },
        ],
        steps: [],
      };
    }
    if (!want.now || !isLive(want, seen.live)) return { steps: [] };
    if (mounted && differing(want, at).length === 0) return { steps: [] };
    if (want.automount && at && isAutomount(at)) return { steps: [] };
    if (at && !isAutomount(at) && seen.holders.length > 0) {
      return {
        steps: [],
        warnings: [
          `${want.mountPoint} keeps its former options until it is unmounted: in use by ${seen.holders.join(", ")}`,
        ],
      };
    }
    return {
      steps: [
        ...(seen.mountPoint.kind === "missing"
          ? [
              {
                does: `make ${want.mountPoint} in the guest`,
                run: sh`umask 022; mkdir -p -- ${want.mountPoint}`,
              },
            ]
          : []),
        ...(at ? [unmountStep(want)] : []),
        mountStep(want),
      ],
    };
  },

  remember(want, seen) {
    const at = mountAt(seen.mounts, want.mountPoint);
    return {
      firstMissing: seen.mountPoint.firstMissing ?? null,
      mounted: at !== undefined && isOurs(at, want),
    };
  },

  restore(old, before, seen) {
    const at = mountAt(seen.mounts, old.mountPoint);
    const ours = at !== undefined && (isOurs(at, old) || isFormer(at, old, seen.live) || isAutomount(at));
    const mounted = ours && !before.mounted;
    if (mounted && seen.holders.length > 0) {
      return {
        refuse: [
          {
            code: "mountBusy",
            what: `${old.mountPoint} is in use in the guest by ${seen.holders.join(", ")}`,
            remedy: "stop them, and try again: a share is never unmounted lazily or by force",
          },
        ],
        steps: [],
      };
    }
    const made = before.firstMissing;
    return {
      steps: [
        ...(mounted ? [unmountStep(old)] : []),
        ...(made !== null && seen.mountPoint.kind === "directory"
          ? [{ does: `remove ${old.mountPoint}, if it is empty`, run: removeMade(old.mountPoint, made) }]
          : []),
      ],
    };
  },

  drift(want, seen) {
    if (!want.now) return { state: "unmanaged", args: {}, notes: [] };
    const at = mountAt(seen.mounts, want.mountPoint);
    if (!at || !(isOurs(at, want) || (want.automount && isAutomount(at)))) {
      return { state: "missing", args: {}, notes: [`${want.mountPoint} is not mounted in the guest`] };
    }
    const options = differing(want, at);
    return isAutomount(at) || options.length === 0
      ? asWanted
      : {
          state: "differs",
          args: {},
          notes: [`${want.mountPoint} differs in its mount options: ${options.join(", ")}`],
          busy: seen.holders.length > 0,
        };
  },
};

/** What the kernel really uses, sample: `rw,relatime,access=client,msize=512000,trans=virtio`. Empty: not mounted. */
export function effectiveOptions(seen: readonly Mount[], tag: string, mountPoint: string): string {
  const at = mountAt(seen, mountPoint);
  if (!at || at.type !== "9p" || at.source !== tag) return "";
  return [...at.mountOptions, ...at.superOptions.filter((option) => !at.mountOptions.includes(option))].join(
    ",",
  );
}

/** Whether the running QEMU has a 9p device of this tag. */
function isLive(want: MountWant, live: Domain | undefined): boolean {
  return live?.devices9p.some((device) => device.tag === want.tag) === true;
}

function isOurs(mount: Mount, want: MountWant): boolean {
  return mount.type === "9p" && mount.source === want.tag;
}

/** The same directory under a former tag: so it stays mounted when the tag was changed, until a power cycle. */
function isFormer(mount: Mount, want: MountWant, live: Domain | undefined): boolean {
  const device = live?.devices9p.find(({ tag }) => tag === mount.source);
  return mount.type === "9p" && device?.source === want.source;
}

function isAutomount(mount: Mount): boolean {
  return mount.type === "autofs";
}

/** Options of every file system that mountinfo shows when they hold, and `ro`, which it shows as ro or rw. */
const shownFlags = ["ro", "nodev", "nosuid", "noexec", "noatime"];
/** Not shown where it is the kernel's own: 8 KiB before Linux 5.16, 128 KiB since (net/9p/client.c, DEFAULT_MSIZE). */
const hiddenMsizes = ["msize=8192", "msize=131072"];
/** Options with a value that v9fs shows (v9fs_show_options, fs/9p/v9fs.c, 6.1), as it was asked or clamped. */
const shownValues = ["msize", "access"];

/**
 * What the mount has too little or too much: flags that must hold exactly, and values that were asked for.
 *
 * What the kernel does not show cannot be compared; fstab has it.
 */
function differing(want: MountWant, at: Mount): string[] {
  const asked = want.options.split(",");
  const shown = [...at.mountOptions, ...at.superOptions];
  const flags = shownFlags.filter((flag) => asked.includes(flag) !== shown.includes(flag));
  const values = asked.filter((option) => {
    const [name = ""] = option.split("=", 1);
    if (!shownValues.includes(name) || shown.includes(option)) return false;
    return valueOf(shown, name) !== undefined || (name === "msize" && !hiddenMsizes.includes(option));
  });
  const cache = valueOf(asked, "cache") ?? "none";
  const cached = cacheShown(valueOf(shown, "cache"));
  return [
    ...flags.map((flag) => (asked.includes(flag) ? flag : `(without) ${flag}`)),
    ...values,
    ...(cache === cached ? [] : [`cache=${cache}`]),
  ];
}

function valueOf(options: readonly string[], name: string): string | undefined {
  return options.find((option) => option.startsWith(`${name}=`))?.slice(name.length + 1);
}

/** Linux 6.4 and later show the cache as the bits of enum p9_cache_bits (fs/9p/v9fs.h), earlier ones by name. */
const cacheBits: Readonly<Record<string, string>> = {
  "0": "none",
  "1": "readahead",
  "5": "mmap",
  f: "loose",
  "8f": "fscache",
};

function cacheShown(value: string | undefined): string {
  const known = value?.replace(/^0x/, "") ?? "none";
  return cacheBits[known] ?? known;
}

function mountStep(want: MountWant): Step {
  return {
    does: `mount ${want.mountPoint} in the guest`,
    code: "mountFailed",
    run: want.automount
      ? sh`systemctl restart "$(systemd-escape --path --suffix=automount -- ${want.mountPoint})"`
      : // A guest that has just booted may be mounting it itself.
        sh`${isMountedAt(want.mountPoint)} || mount -- ${want.mountPoint} || ${isMountedAt(want.mountPoint)}`,
    undo: sh`umount -- ${want.mountPoint} || :`,
  };
}

function unmountStep(want: MountWant): Step {
  return {
    does: `unmount ${want.mountPoint} in the guest`,
    run: sh`if [ -d /run/systemd/system ]; then
  unit=$(systemd-escape --path --suffix=automount -- ${want.mountPoint})
  if systemctl -q is-active "$unit"; then systemctl stop "$unit"; fi
fi
while ${isMountedAt(want.mountPoint)}; do umount -- ${want.mountPoint}; done`,
    undo: sh`mount -- ${want.mountPoint}`,
  };
}

/** Removes the directories that we made, the deepest first, as far as they are empty. */
function removeMade(mountPoint: string, firstMissing: string): Script {
  return sh`at=${mountPoint}
while rmdir -- "$at" 2>/dev/null; do
  [ "$at" != ${firstMissing} ] || break
  at=$(dirname -- "$at")
done`;
}

function mountPointOf(path: string): Fact<MountPoint> {
  return {
    key: `mount point ${path}`,
    place: "guest",
    does: `look at ${path}`,
    script: sh`if [ -d ${path} ] && ! [ -L ${path} ]; then
  # A mount that hangs must not hang the look: only what is not mounted is listed.
  if ! ${isMountedAt(path)} && [ -n "$(ls -A -- ${path} | head -n 1)" ]; then echo directory full; else echo directory empty; fi
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
 * Who has something open below a path: working directory, root, program, open files. Sample: `sleep (412)`.
 *
 * All links are read by one `ls`: a process for each would take seconds in an emulated guest.
 */
function holdersOf(path: string): Fact<readonly string[]> {
  return {
    key: `holders of ${path}`,
    place: "guest",
    does: `see who uses ${path}`,
    script: sh`${isMountedAt(path)} || exit 0
ls -l /proc/[0-9]*/cwd /proc/[0-9]*/root /proc/[0-9]*/exe /proc/[0-9]*/fd/* 2>/dev/null | grep -F -- ${` -> ${path}`} |
  sed 's|^.* /proc/\([0-9]*\)/[^>]* -> |\1 |' | head -n 50 |
  while read -r process file; do
    printf '%s %s %s\n' "$process" "$(tr ' ' _ < "/proc/$process/comm" 2>/dev/null)" "$file"
  done`,
    parse: (output) => {
      const lines = output.split("\n").map((line) => /^(\d+) (\S*) (.*)$/.exec(line));
      const inside = lines.filter(
        (match) => match && (match[3] === path || match[3]?.startsWith(`${path}/`)),
      );
      return [...new Set(inside.map((match) => `${match?.[2] ?? ""} (${match?.[1] ?? ""})`))];
    },
  };
}
