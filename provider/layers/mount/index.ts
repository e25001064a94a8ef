import {
  asWanted,
  type Layer,
  type Drift,
  found,
  type Json,
  type Needed,
  refused,
  type SeenBy,
  type Step,
  needs,
} from "../../engine/layer";
import { sh } from "../../remote/shell/sh";
import { type Mount, mountAt, mountHolding, mountsBelow } from "../../formats/mountinfo";
import { isAtOrBelow } from "../../formats/path";
import { recordsIn } from "../../engine/baseline";
import { kernelRelease } from "../shared/guest";
import { type Difference, isAutomount, mountDifferences } from "./differences";
import { notReplaceable, obstacleTo } from "../shared/guest-files";
import { holdersOf, mountPointOf } from "./probes";
import { inGuest, isLive, otherRoot, rootFacts, type ShareInGuest, shutRoot } from "../shared/mounted-root";
import { guestMounts } from "../shared/mounts";
import { mountAgainStep, mountStep, removeMade, remountStep, unmountStep } from "./steps";

const facts = (want: ShareInGuest) => ({
  ...rootFacts(want),
  mounts: guestMounts,
  mountPoint: mountPointOf(want.mountPoint),
  obstacle: obstacleTo(want.mountPoint),
  holders: holdersOf(want.mountPoint),
  release: kernelRelease,
  /** Of every share of the domain, what first contact found at its mount point. */
  records: recordsIn("domain", "mount"),
});

type MountSeen = SeenBy<ReturnType<typeof facts>, "mounts" | "mountPoint" | "holders" | "release" | "live">;

const restoreNeeds = needs(["mounts", "mountPoint", "holders", "live"]);
const driftNeeds = needs(["mounts", "release"], ["holders", "entry", "hostMounts", "live", "rootInode"]);

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
export const guestMount: Layer<ShareInGuest, MountSeen, MountBefore, typeof restoreNeeds, typeof driftNeeds> =
  {
    layer: "mount",
    place: "guest",
    up: "guestLive",
    down: "guest",
    scope: "domain",
    beforeHost: true,
    left: (want) => `the mount point ${want.mountPoint}`,

    want: inGuest,
    identity: (want) => want.mountPoint,
    facts,
    needs: { restore: restoreNeeds, drift: driftNeeds },

    plan(want, seen, before, known, context) {
      const { mountPoint, tag } = want;
      const isNow = want.mount === "now";
      const at = mountAt(seen.mounts, mountPoint);
      const mounted = at && isOurs(at, want);
      // Known: what is mounted there under another tag is this share under its former one.
      const former = at?.type === "9p" && known;
      if (at && !mounted && !former && !isAutomount(at)) {
        return refused(
          "mountPointTaken",
          `${at.source} (${at.type}) is mounted on ${mountPoint}; this share would mount ${tag} there`,
          "unmount it, or choose another mount point",
        );
      }
      const { kind, realPath, empty, entries, unreadable } = seen.mountPoint;
      if (!at && realPath !== mountPoint) {
        return refused(
          "mountPointIsLink",
          `${mountPoint} leads through a link to ${realPath} in the guest, and that is what the kernel would call it`,
          `give guest.mountPoint as "${realPath}"`,
        );
      }
      const hider = hiddenAt(want, seen.mounts);
      if (hider !== undefined && isNow) {
        return refused(
          "mountBusy",
          `${tag} is mounted on ${mountPoint} in the guest, hidden by ${hider}`,
          "unmount that, or choose another mount point",
        );
      }
      const elsewhere = seen.mounts.find(
        (one) => one.type === "9p" && one.source === tag && !context?.mountPoints.has(one.mountPoint),
      );
      if (!at && elsewhere && isLive(want, seen) && isNow) {
        return refused(
          "mountBusy",
          `${tag} is mounted on ${elsewhere.mountPoint} in the guest already, and a kernel mounts a virtio device once`,
          `unmount it, or give guest.mountPoint as "${elsewhere.mountPoint}"`,
        );
      }
      if (!at && kind === "other")
        return refused("mountPointTaken", `${mountPoint} is not a directory`, "choose another mount point");
      const inside = at ? [] : mountsBelow(seen.mounts, mountPoint);
      const stranger = inside.find((one) => !canBeMountedAgain(one, seen.mounts));
      if (stranger && isNow) {
        return refused(
          "mountPointTaken",
          `${stranger.source} (${stranger.type}) is mounted on ${stranger.mountPoint} in the guest, which ${tag} on ${mountPoint} would hide`,
          "unmount it, or choose another mount point",
        );
      }
      const isOnTheWay = (entry: string): boolean => inside.some((one) => isAtOrBelow(one.mountPoint, entry));
      const isEmpty = empty || entries?.every(isOnTheWay) === true;
      if (!at && !isEmpty && before === undefined) {
        return refused(
          "mountPointNotEmpty",
          unreadable === undefined
            ? `${mountPoint} has files in it, which the share would hide`
            : `${mountPoint} cannot be listed in the guest: ${unreadable}; what is in it the share would hide`,
          "move them away, or choose another mount point",
        );
      }
      if (!isNow) return { steps: [] };
      const obstacle = !at && kind === "missing" ? notReplaceable(mountPoint, seen) : undefined;
      if (obstacle) return obstacle;
      if (!isLive(want, seen)) return { steps: [] };
      if (want.options.automount && at && isAutomount(at)) return { steps: [] };
      const users = usersOf(seen, mountPoint);
      if (inside.length > 0 && seen.holders.length > 0) {
        return refused(
          "mountBusy",
          `${inside.map((one) => one.mountPoint).join(", ")} in the guest would be hidden by ${tag} on ${mountPoint} and has to be mounted anew, but is in use by ${users.join(", ")}`,
          "stop them, and try again",
        );
      }
      // Mounted anew it is the same one.
      const other = mounted ? otherRoot(want, seen) : undefined;
      const differences = mounted ? mountDifferences(want, at, seen) : [];
      const waiting = differences.filter((one) => mustWait(one, seen, mountPoint));
      const usedBy = `in use by ${users.join(", ")}`;
      const keeps = `${mountPoint} keeps ${list(waiting, "shown")} until nobody uses it, wanted is ${list(waiting, "wanted")}: ${usedBy}`;
      const warnings = [other ?? [], waiting.length > 0 ? keeps : []].flat();
      const warned = warnings.length > 0 && { warnings };
      if (mounted && (waiting.length > 0 || differences.every(({ byRemount }) => byRemount))) {
        const now = differences.filter((one) => one.byRemount && !waiting.includes(one));
        return { steps: now.length > 0 ? [remountStep(at, now)] : [], ...warned };
      }
      if (former && !mounted && users.length > 0) {
        const stays = `${mountPoint} stays mounted from ${at.source} until it is unmounted: ${usedBy}`;
        return { steps: [], warnings: [stays] };
      }
      const make = { does: `make ${mountPoint} in the guest`, run: sh`umask 022; mkdir -p -- ${mountPoint}` };
      return {
        steps: [
          ...(kind === "missing" ? [make] : []),
          ...(at ? [unmountStep(at, seen.mounts)] : []),
          ...inside.toReversed().flatMap((one) => takeAway(one, want, seen)),
          mountStep(mountPoint, tag, want.options.automount),
          ...inside.map((one) => mountAgainStep(one, seen.mounts)),
        ],
        ...warned,
      };
    },

    remember(want, seen) {
      const at = mountAt(seen.mounts, want.mountPoint);
      // A directory above it that another share made is the last one's to remove.
      const made = (seen.records ?? []).map(({ before }) => (before as MountBefore).firstMissing);
      const [firstMissing = null] = [seen.mountPoint.firstMissing, ...made]
        .flatMap((path) => path ?? [])
        .filter((path) => isAtOrBelow(want.mountPoint, path))
        .sort((a, b) => a.length - b.length);
      return { firstMissing, mounted: at !== undefined && isOurs(at, want) };
    },

    restore(old, before, seen) {
      const { mountPoint, tag } = old;
      const at = before.mounted ? undefined : mountAt(seen.mounts, mountPoint);
      // Under a former tag it stays mounted, when the tag was changed, until a power cycle.
      const device = seen.live?.devices9p.find((one) => one.tag === at?.source);
      const former = at?.type === "9p" && device?.source === old.source;
      const mounted = at && (isOurs(at, old) || former || isAutomount(at));
      const users = usersOf(seen, mountPoint);
      if (mounted && users.length > 0) {
        return refused(
          "mountBusy",
          `${mountPoint} is in use in the guest by ${users.join(", ")}`,
          mountsBelow(seen.mounts, mountPoint).length > 0
            ? "destroy the share that is mounted in it first, or both in one operation; or unmount it"
            : "stop them, and try again: a share is never unmounted lazily or by force",
        );
      }
      const hider = before.mounted ? undefined : hiddenAt(old, seen.mounts);
      if (hider !== undefined) {
        return refused(
          "mountBusy",
          `${tag} is mounted on ${mountPoint} in the guest, and cannot be unmounted there: it is hidden by ${hider}`,
          "unmount that, and try again",
        );
      }
      const steps: Step[] = mounted ? [unmountStep(at, seen.mounts)] : [];
      if (before.firstMissing !== null && seen.mountPoint.kind === "directory")
        steps.push({
          does: `remove ${mountPoint}, if it is empty`,
          run: removeMade(mountPoint, before.firstMissing),
        });
      return { steps };
    },

    outputs: ({ tag, mountPoint }, seen) => ({
      mountOptions: seen ? effectiveOptions(seen.mounts, tag, mountPoint) : "",
    }),

    drift(want, seen) {
      if (want.mount !== "now") return found("unmanaged");
      const { mountPoint } = want;
      const at = mountAt(seen.mounts, mountPoint);
      if (at && want.options.automount && isAutomount(at)) return asWanted;
      if (!at || !isOurs(at, want)) {
        const hider = hiddenAt(want, seen.mounts);
        const hidden = hider === undefined ? "" : ` in sight: it is hidden by ${hider}`;
        const note = `${mountPoint} is not mounted in the guest${hidden}`;
        return { ...found("missing", note), pending: "notMounted" };
      }
      const differences = mountDifferences(want, at, seen);
      const other = otherRoot(want, seen);
      if (differences.length === 0 && other === undefined) {
        // By \`access=1000\` the kernel lets that user alone look at it, and root not (fs/9p/fid.c, Linux 6.1).
        const isOneUsers = at.superOptions.some((option) => /^access=[1-9]\d*$/.test(option));
        const shut = isOneUsers ? undefined : shutRoot(mountPoint, seen);
        return shut === undefined ? asWanted : found("unknown", shut);
      }
      const options = `${mountPoint} differs in its mount options: it has ${list(differences, "shown")}; wanted is ${list(differences, "wanted")}`;
      return {
        state: "differs",
        args: Object.assign({}, ...differences.map(({ args }) => args)) as Drift["args"],
        notes: [other ?? [], differences.length > 0 ? options : []].flat(),
        // Another directory stays as long as that QEMU runs.
        pending: differences.every((one) => mustWait(one, seen, mountPoint)) ? "mountBusy" : "mountDiffers",
      };
    },
  };

/** What the kernel really uses, sample: `rw,relatime,access=client,msize=512000,trans=virtio`. Empty: not mounted. */
function effectiveOptions(seen: readonly Mount[], tag: string, mountPoint: string): string {
  const at = mountAt(seen, mountPoint);
  if (!at || at.type !== "9p" || at.source !== tag) return "";
  return [...new Set([...at.mountOptions, ...at.superOptions])].join(",");
}

function isOurs(mount: Mount, want: ShareInGuest): boolean {
  return mount.type === "9p" && mount.source === want.tag && mount.root === "/";
}

/** The share's mount at its mount point that one does not see, and what hides it, in the operator's words. */
function hiddenAt(want: ShareInGuest, mounts: readonly Mount[]): string | undefined {
  const shown = mountHolding(mounts, want.mountPoint);
  const hasOurs = mounts.some((one) => one.mountPoint === want.mountPoint && isOurs(one, want));
  if (!hasOurs || !shown || isOurs(shown, want)) return undefined;
  return `${shown.source} (${shown.type}) on ${shown.mountPoint}`;
}

/** Whether somebody's use of the mount keeps a difference as it is. */
function mustWait(difference: Difference, seen: Users, mountPoint: string): boolean {
  if (!difference.byRemount) return usersOf(seen, mountPoint).length > 0;
  return difference.wanted === "ro" && (seen.holders ?? []).some(({ writes }) => writes);
}

function list(differences: readonly Difference[], side: "shown" | "wanted"): string {
  return differences.map((one) => one[side]).join(", ");
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
  const same = mounts.filter(({ type, source }) => type === "9p" && source === mount.source);
  return isAutomount(mount) || (mount.type === "9p" && mount.root === "/" && same.length === 1);
}

/** Another share's mount, in which this one is to be mounted: with the directories that were made for it there. */
function takeAway(mount: Mount, want: ShareInGuest, seen: MountSeen): Step[] {
  const record = seen.records?.find(({ identity }) => identity === mount.mountPoint);
  const made = (record?.before as MountBefore | undefined)?.firstMissing ?? null;
  const [child = ""] = mount.mountPoint.slice(want.mountPoint.length + 1).split("/");
  const below = `${want.mountPoint}/${child}`;
  const steps: Step[] = [unmountStep(mount, seen.mounts)];
  if (made !== null)
    steps.push({
      does: `remove ${mount.mountPoint}, which ${want.mountPoint} hides, if it is empty`,
      run: removeMade(mount.mountPoint, isAtOrBelow(want.mountPoint, made) ? below : made),
      undo: sh`umask 022; mkdir -p -- ${mount.mountPoint}`,
    });
  return steps;
}
