import {
  asWanted,
  type Concern,
  type Drift,
  type Facts,
  type Json,
  type Needed,
  type Plan,
} from "../engine/concern";
import { sh } from "../formats/shell";
import type { Domain } from "../formats/domain-xml";
import { type Mount, mountAt } from "../formats/mountinfo";
import { formatMountOptions } from "../mount-options";
import { liveDomain } from "./domain-facts";
import { kernelRelease } from "./guest-facts";
import { type Difference, flagsOf, mountDifferences, wantedFlags } from "./mount-differences";
import { type Holder, holdersOf, type MountPoint, mountPointOf } from "./mount-facts";
import { guestMounts } from "./mounts";
import { mountStep, removeMade, remountStep, unmountStep } from "./mount-steps";

interface MountWant {
  readonly source: string;
  readonly tag: string;
  readonly mountPoint: string;
  readonly options: string;
  readonly automount: boolean;
  /** False: by the next boot only. What the boot has mounted is unmounted on the way down all the same. */
  readonly now: boolean;
}

interface MountSeen {
  readonly mounts: readonly Mount[];
  readonly mountPoint: MountPoint;
  readonly holders: readonly Holder[];
  readonly release: string;
  readonly live: Domain | undefined;
}

const restoreNeeds = { mounts: "must", mountPoint: "must", holders: "must", live: "must" } as const;
const driftNeeds = { mounts: "must", release: "must", holders: "may" } as const;

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
 * lazily or by force: whoever holds it is named. Where only flags differ it is remounted, in use or not;
 * what takes an unmount waits until nobody holds it.
 *
 * Refuses with `mountPointTaken`, `mountPointNotEmpty`, `mountPointIsLink`, `mountBusy`.
 * Source: mount(8), umount(8) of util-linux 2.38; fs/9p/v9fs.c, Linux 6.1.
 */
export const guestMount: Concern<MountWant, MountSeen, MountBefore, typeof restoreNeeds, typeof driftNeeds> =
  {
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
      mounts: guestMounts,
      mountPoint: mountPointOf(want.mountPoint),
      holders: holdersOf(want.mountPoint),
      release: kernelRelease,
      live: liveDomain,
    }),
    needs: { restore: restoreNeeds, drift: driftNeeds },

    plan(want, seen, before, known, context) {
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
      if (!at && seen.mountPoint.realPath !== want.mountPoint) {
        return {
          refuse: [
            {
              code: "mountPointIsLink",
              what: `${want.mountPoint} leads through a link to ${seen.mountPoint.realPath} in the guest, and that is what the kernel would call it`,
              remedy: `give guest.mountPoint as "${seen.mountPoint.realPath}"`,
            },
          ],
          steps: [],
        };
      }
      const elsewhere = seen.mounts.find(
        (one) =>
          one.type === "9p" && one.source === want.tag && !context?.mountPoints.has(one.mountPoint) && !at,
      );
      if (elsewhere && isLive(want, seen.live) && want.now) {
        return {
          refuse: [
            {
              code: "mountBusy",
              what: `${want.tag} is mounted on ${elsewhere.mountPoint} in the guest already, and a kernel mounts a virtio device once`,
              remedy: `unmount it, or give guest.mountPoint as "${elsewhere.mountPoint}"`,
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
      if (want.automount && at && isAutomount(at)) return { steps: [] };
      if (mounted) {
        const differences = differencesOf(want, at, seen);
        const waiting = differences.filter((one) => mustWait(one, seen));
        const inPlace = differences.every(({ byRemount }) => byRemount) || waiting.length > 0;
        if (inPlace) return remountPlan(want, at, seen, differences, waiting);
      } else if (at && !isAutomount(at) && seen.holders.length > 0) {
        return {
          steps: [],
          warnings: [
            `${want.mountPoint} stays mounted from ${at.source} until it is unmounted: in use by ${namesOf(seen.holders)}`,
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
          ...(at ? [unmountStep(at, isAutomounted(seen.mounts, at.mountPoint))] : []),
          mountStep(want.mountPoint, want.automount),
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
              what: `${old.mountPoint} is in use in the guest by ${namesOf(seen.holders)}`,
              remedy: "stop them, and try again: a share is never unmounted lazily or by force",
            },
          ],
          steps: [],
        };
      }
      const made = before.firstMissing;
      return {
        steps: [
          ...(mounted ? [unmountStep(at, isAutomounted(seen.mounts, at.mountPoint))] : []),
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
      const differences = isAutomount(at) ? [] : differencesOf(want, at, seen);
      if (differences.length === 0) return asWanted;
      const list = (side: "shown" | "wanted"): string => differences.map((one) => one[side]).join(", ");
      return {
        state: "differs",
        args: Object.assign({}, ...differences.map(({ args }) => args)) as Drift["args"],
        notes: [
          `${want.mountPoint} differs in its mount options: it has ${list("shown")}; wanted is ${list("wanted")}`,
        ],
        busy: differences.every((one) => mustWait(one, seen)),
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

/** Whether an automount lies at a path, with the share on it or not. */
function isAutomounted(seen: readonly Mount[], mountPoint: string): boolean {
  const lowest = seen.find((mount) => mount.mountPoint === mountPoint);
  return lowest !== undefined && isAutomount(lowest);
}

function differencesOf(
  want: MountWant,
  at: Mount,
  seen: Pick<MountSeen, "mounts" | "release">,
): Difference[] {
  return mountDifferences(want.options, at, isAutomounted(seen.mounts, at.mountPoint), seen.release);
}

/** Whether somebody's use of the mount keeps a difference as it is. */
function mustWait(
  difference: Difference,
  seen: Needed<MountSeen, Pick<typeof driftNeeds, "holders">>,
): boolean {
  const { holders = [] } = seen;
  if (!difference.byRemount) return holders.length > 0;
  return difference.wanted === "ro" && holders.some(({ writes }) => writes);
}

/** Changes the flags that can be changed now, and says what waits and for whom. */
function remountPlan(
  want: MountWant,
  at: Mount,
  seen: MountSeen,
  differences: readonly Difference[],
  waiting: readonly Difference[],
): Plan {
  const now = differences.filter((one) => one.byRemount && !waiting.includes(one));
  const ro = waiting.some(({ wanted }) => wanted === "ro") ? flagsOf(at).ro : wantedFlags(want.options).ro;
  return {
    steps: now.length > 0 ? [remountStep(at, now, { ...wantedFlags(want.options), ro })] : [],
    ...(waiting.length > 0
      ? {
          warnings: [
            `${want.mountPoint} keeps ${waiting.map(({ shown }) => shown).join(", ")} until nobody uses it, wanted is ${waiting.map(({ wanted }) => wanted).join(", ")}: in use by ${namesOf(seen.holders)}`,
          ],
        }
      : {}),
  };
}

function namesOf(holders: readonly Holder[]): string {
  return holders.map(({ who }) => who).join(", ");
}
