import {
  asWanted,
  type Concern,
  type Drift,
  type Facts,
  type Json,
  type Needed,
  type Plan,
  type Step,
  refused,
} from "../engine/concern";
import { sh } from "../formats/shell";
import type { Domain } from "../formats/domain-xml";
import { type Mount, mountAt, mountHolding, mountsBelow } from "../formats/mountinfo";
import { isAtOrBelow } from "../formats/path";
import { recordsOfDomain } from "../engine/record";
import { formatMountOptions } from "../mount-options";
import { entryOf } from "./directory-facts";
import { liveDomain } from "./domain-facts";
import { kernelRelease } from "./guest-facts";
import { type Difference, flagsOf, mountDifferences, wantedFlags } from "./mount-differences";
import { notReplaceable, type Obstacle, obstacleTo } from "./guest-files";
import { type Holder, holdersOf, type MountPoint, mountPointOf } from "./mount-facts";
import { otherRoot, rootInodeOf, type RootSeen, shutRoot } from "./mounted-root";
import { guestMounts, hostMounts } from "./mounts";
import { mountAgainStep, mountStep, removeMade, remountStep, unmountStep } from "./mount-steps";

interface MountWant {
  readonly source: string;
  readonly tag: string;
  readonly mountPoint: string;
  readonly options: string;
  readonly automount: boolean;
  /** False: by the next boot only. What the boot has mounted is unmounted on the way down all the same. */
  readonly now: boolean;
}

interface MountSeen extends RootSeen {
  readonly mounts: readonly Mount[];
  readonly mountPoint: MountPoint;
  readonly holders: readonly Holder[];
  readonly release: string;
  readonly live: Domain | undefined;
  /** What keeps the mount point from being made. */
  readonly obstacle?: Obstacle | undefined;
  /** Of every share of the domain, what first contact found at its mount point. */
  readonly records?: readonly { readonly identity: string; readonly before: Json }[];
}

const restoreNeeds = {
  mounts: "must",
  mountPoint: "must",
  holders: "must",
  live: "must",
} as const;
const driftNeeds = {
  mounts: "must",
  release: "must",
  holders: "may",
  entry: "may",
  hostMounts: "may",
  live: "may",
  rootInode: "may",
} as const;

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
    beforeHost: true,
    left: (want) => `the mount point ${want.mountPoint}`,

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
      obstacle: obstacleTo(want.mountPoint, false),
      holders: holdersOf(want.mountPoint),
      release: kernelRelease,
      live: liveDomain,
      entry: entryOf(want.source),
      hostMounts,
      rootInode: rootInodeOf(want.mountPoint, want.tag),
      records: recordsOfDomain("mount"),
    }),
    needs: { restore: restoreNeeds, drift: driftNeeds },

    plan(want, seen, before, known, context) {
      const at = mountAt(seen.mounts, want.mountPoint);
      const mounted = at && isOurs(at, want);
      // Known: what is mounted there under another tag is this share under its former one.
      const former = at?.type === "9p" && known;
      if (at && !mounted && !former && !isAutomount(at)) {
        return refused(
          "mountPointTaken",
          `${at.source} (${at.type}) is mounted on ${want.mountPoint}; this share would mount ${want.tag} there`,
          "unmount it, or choose another mount point",
        );
      }
      if (!at && seen.mountPoint.realPath !== want.mountPoint) {
        return refused(
          "mountPointIsLink",
          `${want.mountPoint} leads through a link to ${seen.mountPoint.realPath} in the guest, and that is what the kernel would call it`,
          `give guest.mountPoint as "${seen.mountPoint.realPath}"`,
        );
      }
      const hider = hiddenAt(want, seen.mounts);
      if (hider !== undefined && want.now) {
        return refused(
          "mountBusy",
          `${want.tag} is mounted on ${want.mountPoint} in the guest, hidden by ${hider}`,
          "unmount that, or choose another mount point",
        );
      }
      const elsewhere = seen.mounts.find(
        (one) =>
          one.type === "9p" && one.source === want.tag && !context?.mountPoints.has(one.mountPoint) && !at,
      );
      if (elsewhere && isLive(want, seen.live) && want.now) {
        return refused(
          "mountBusy",
          `${want.tag} is mounted on ${elsewhere.mountPoint} in the guest already, and a kernel mounts a virtio device once`,
          `unmount it, or give guest.mountPoint as "${elsewhere.mountPoint}"`,
        );
      }
      if (!at && seen.mountPoint.kind === "other") {
        return refused(
          "mountPointTaken",
          `${want.mountPoint} is not a directory`,
          "choose another mount point",
        );
      }
      const inside = at ? [] : mountsBelow(seen.mounts, want.mountPoint);
      const stranger = inside.find((one) => !canBeMountedAgain(one, seen.mounts));
      if (stranger && want.now) {
        return refused(
          "mountPointTaken",
          `${stranger.source} (${stranger.type}) is mounted on ${stranger.mountPoint} in the guest, which ${want.tag} on ${want.mountPoint} would hide`,
          "unmount it, or choose another mount point",
        );
      }
      const isOnTheWay = (entry: string): boolean =>
        inside.some(({ mountPoint }) => isAtOrBelow(mountPoint, entry));
      const { empty, unreadable } = seen.mountPoint;
      const isEmpty =
        empty || (inside.length > 0 && seen.mountPoint.entries?.every((entry) => isOnTheWay(entry)) === true);
      if (!at && !isEmpty && before === undefined) {
        return refused(
          "mountPointNotEmpty",
          unreadable === undefined
            ? `${want.mountPoint} has files in it, which the share would hide`
            : `${want.mountPoint} cannot be listed in the guest: ${unreadable}; what is in it the share would hide`,
          "move them away, or choose another mount point",
        );
      }
      const obstacle =
        !at && want.now && seen.mountPoint.kind === "missing"
          ? notReplaceable(want.mountPoint, seen)
          : undefined;
      if (obstacle) return { refuse: [obstacle], steps: [] };
      if (!want.now || !isLive(want, seen.live)) return { steps: [] };
      if (want.automount && at && isAutomount(at)) return { steps: [] };
      const users = usersOf(seen, want.mountPoint);
      if (inside.length > 0 && seen.holders.length > 0) {
        return refused(
          "mountBusy",
          `${inside.map(({ mountPoint }) => mountPoint).join(", ")} in the guest would be hidden by ${want.tag} on ${want.mountPoint} and has to be mounted anew, but is in use by ${users.join(", ")}`,
          "stop them, and try again",
        );
      }
      // Mounted anew it is the same one.
      const other = mounted ? otherRoot(want, want.mountPoint, seen) : undefined;
      if (mounted) {
        const differences = differencesOf(want, at, seen);
        const waiting = differences.filter((one) => mustWait(one, seen, want.mountPoint));
        const inPlace = differences.every(({ byRemount }) => byRemount) || waiting.length > 0;
        if (inPlace) {
          const plan = remountPlan(want, at, seen, differences, waiting);
          return withWarning(other, plan);
        }
      } else if (at && !isAutomount(at) && users.length > 0) {
        return {
          steps: [],
          warnings: [
            `${want.mountPoint} stays mounted from ${at.source} until it is unmounted: in use by ${users.join(", ")}`,
          ],
        };
      }
      return withWarning(other, {
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
          ...inside.toReversed().flatMap((one) => takeAway(one, want, seen)),
          mountStep(want.mountPoint, want.tag, want.automount),
          ...inside.map((one) => mountAgainStep(one, isAutomounted(seen.mounts, one.mountPoint))),
        ],
      });
    },

    remember(want, seen) {
      const at = mountAt(seen.mounts, want.mountPoint);
      // A directory above it that another share made is the last one's to remove.
      const made = (seen.records ?? [])
        .flatMap(({ before }) => (before as MountBefore).firstMissing ?? [])
        .filter((path) => isAtOrBelow(want.mountPoint, path));
      const own = seen.mountPoint.firstMissing;
      const [first] = [...made, ...(own === undefined ? [] : [own])].sort((a, b) => a.length - b.length);
      return {
        firstMissing: first ?? null,
        mounted: at !== undefined && isOurs(at, want),
      };
    },

    restore(old, before, seen) {
      const at = mountAt(seen.mounts, old.mountPoint);
      const ours = at !== undefined && (isOurs(at, old) || isFormer(at, old, seen.live) || isAutomount(at));
      const mounted = ours && !before.mounted;
      const inside = mounted ? mountsBelow(seen.mounts, old.mountPoint) : [];
      const users = usersOf(seen, old.mountPoint);
      if (mounted && users.length > 0) {
        return refused(
          "mountBusy",
          `${old.mountPoint} is in use in the guest by ${users.join(", ")}`,
          inside.length > 0
            ? "destroy the share that is mounted in it first, or both in one operation; or unmount it"
            : "stop them, and try again: a share is never unmounted lazily or by force",
        );
      }
      const hider = hiddenAt(old, seen.mounts);
      if (hider !== undefined && !before.mounted) {
        return refused(
          "mountBusy",
          `${old.tag} is mounted on ${old.mountPoint} in the guest, and cannot be unmounted there: it is hidden by ${hider}`,
          "unmount that, and try again",
        );
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
        const hider = hiddenAt(want, seen.mounts);
        const hidden = hider === undefined ? "" : ` in sight: it is hidden by ${hider}`;
        return {
          state: "missing",
          args: {},
          notes: [`${want.mountPoint} is not mounted in the guest${hidden}`],
          pending: "notMounted",
        };
      }
      const differences = isAutomount(at) ? [] : differencesOf(want, at, seen);
      const other = isAutomount(at) ? undefined : otherRoot(want, want.mountPoint, seen);
      const shut = isAutomount(at) || isOneUsers(at) ? undefined : shutRoot(want.mountPoint, seen);
      if (differences.length === 0 && other === undefined)
        return shut === undefined ? asWanted : { state: "unknown", args: {}, notes: [shut] };
      const list = (side: "shown" | "wanted"): string => differences.map((one) => one[side]).join(", ");
      return {
        state: "differs",
        args: Object.assign({}, ...differences.map(({ args }) => args)) as Drift["args"],
        notes: [
          ...(other === undefined ? [] : [other]),
          ...(differences.length === 0
            ? []
            : [
                `${want.mountPoint} differs in its mount options: it has ${list("shown")}; wanted is ${list("wanted")}`,
              ]),
        ],
        // Another directory stays as long as that QEMU runs.
        pending: differences.every((one) => mustWait(one, seen, want.mountPoint))
          ? "mountBusy"
          : "mountDiffers",
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
  return mount.type === "9p" && mount.source === want.tag && mount.root === "/";
}

/** The share's mount at its mount point that one does not see, and what hides it, in the operator's words. */
function hiddenAt(want: MountWant, mounts: readonly Mount[]): string | undefined {
  const shown = mountHolding(mounts, want.mountPoint);
  const hidden = mounts.some(
    (one) => one !== shown && one.mountPoint === want.mountPoint && isOurs(one, want),
  );
  if (!hidden || !shown || isOurs(shown, want)) return undefined;
  return `${shown.source} (${shown.type}) on ${shown.mountPoint}`;
}

/** The same directory under a former tag: so it stays mounted when the tag was changed, until a power cycle. */
function isFormer(mount: Mount, want: MountWant, live: Domain | undefined): boolean {
  const device = live?.devices9p.find(({ tag }) => tag === mount.source);
  return mount.type === "9p" && device?.source === want.source;
}

function isAutomount(mount: Mount): boolean {
  return mount.type === "autofs";
}

/** By `access=1000` the kernel lets that user alone look at it, and root not (fs/9p/fid.c, Linux 6.1). */
function isOneUsers({ superOptions }: Mount): boolean {
  return superOptions.some((option) => /^access=[1-9]\d*$/.test(option));
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
function mustWait(difference: Difference, seen: Users, mountPoint: string): boolean {
  if (!difference.byRemount) return usersOf(seen, mountPoint).length > 0;
  return difference.wanted === "ro" && (seen.holders ?? []).some(({ writes }) => writes);
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
            `${want.mountPoint} keeps ${waiting.map(({ shown }) => shown).join(", ")} until nobody uses it, wanted is ${waiting.map(({ wanted }) => wanted).join(", ")}: in use by ${usersOf(seen, want.mountPoint).join(", ")}`,
          ],
        }
      : {}),
  };
}

function withWarning(warning: string | undefined, plan: Plan): Plan {
  return warning === undefined ? plan : { ...plan, warnings: [warning, ...(plan.warnings ?? [])] };
}

/** What {@link usersOf} looks at. */
type Users = Needed<MountSeen, Pick<typeof driftNeeds, "mounts" | "holders">>;

/** Who keeps a mount from being unmounted: processes, and what is mounted in it. */
function usersOf(seen: Users, mountPoint: string): string[] {
  const inside = mountAt(seen.mounts, mountPoint) ? mountsBelow(seen.mounts, mountPoint) : [];
  return [
    ...(seen.holders ?? []).map(({ who }) => who),
    ...inside.map((one) => `${one.source} (${one.type}), which is mounted on ${one.mountPoint}`),
  ];
}

/** Whether what lies in a directory can be unmounted and mounted again as it was: a share, mounted once. */
function canBeMountedAgain(mount: Mount, mounts: readonly Mount[]): boolean {
  if (isAutomount(mount)) return true;
  return (
    mount.type === "9p" &&
    mount.root === "/" &&
    mounts.filter(({ type, source }) => type === "9p" && source === mount.source).length === 1
  );
}

/** Another share's mount, in which this one is to be mounted: with the directories that were made for it there. */
function takeAway(mount: Mount, want: MountWant, seen: MountSeen): Step[] {
  const record = seen.records?.find(({ identity }) => identity === mount.mountPoint);
  const made = (record?.before as MountBefore | undefined)?.firstMissing ?? null;
  const [child = ""] = mount.mountPoint.slice(want.mountPoint.length + 1).split("/");
  const below = `${want.mountPoint}/${child}`;
  const first = made === null ? undefined : isAtOrBelow(want.mountPoint, made) ? below : made;
  return [
    unmountStep(mount, isAutomounted(seen.mounts, mount.mountPoint)),
    ...(first === undefined
      ? []
      : [
          {
            does: `remove ${mount.mountPoint}, which ${want.mountPoint} hides, if it is empty`,
            run: removeMade(mount.mountPoint, first),
            undo: sh`umask 022; mkdir -p -- ${mount.mountPoint}`,
          },
        ]),
  ];
}
