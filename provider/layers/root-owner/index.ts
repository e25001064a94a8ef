import {
  asWanted,
  type Layer,
  type Fact,
  found,
  type Json,
  refuse,
  type SeenBy,
  type Step,
  needs,
} from "../../engine/layer";
import { type Script, sh } from "../../remote/shell/sh";
import { exactMode, formatOctalMode, parseOctalMode } from "../../formats/octal-mode";
import { mountAt } from "../../formats/mountinfo";
import type { Entry } from "../shared/directory-entry";
import { enterShare, isShareMountedAt, mountinfo } from "../shared/guest";
import {
  inGuest,
  inodesInGuest,
  isLive,
  otherRoot,
  rootFacts,
  type ShareInGuest,
} from "../shared/mounted-root";
import { guestMounts } from "../shared/mounts";
import { type Principals, principalsOf } from "../shared/principals";

type Root = Pick<Entry, "uid" | "gid" | "user" | "group" | "mode">;

const facts = (want: ShareInGuest) => ({
  ...rootFacts(want),
  root: rootOf(want.mountPoint, want.tag),
  ids: principalsOf("guest", [want.owner, want.group]),
  mounts: guestMounts,
});

type OwnershipSeen = SeenBy<ReturnType<typeof facts>, "root" | "ids" | "mounts" | "live">;

const restoreNeeds = needs([]);
const driftNeeds = needs(["root", "ids", "mounts"]);

/**
 * Owner, group and mode of the share's root as the guest sees it.
 *
 * In mapped mode QEMU writes them into `user.virtfs.*` of the host's directory, and the host's own owner
 * and mode do not move. That directory's record keeps what the attributes were, so there is nothing to
 * remember and nothing to give back here.
 *
 * Refuses with `unknownUser`.
 */
export const guestOwnership: Layer<
  ShareInGuest,
  OwnershipSeen,
  Json,
  typeof restoreNeeds,
  typeof driftNeeds
> = {
  layer: "guestOwnership",
  place: "guest",
  up: "guestLive",
  down: "guest",
  scope: "domain",

  want(spec) {
    const want = inGuest(spec);
    const isManaged = want?.mount === "now" && (want.owner ?? want.group ?? want.mode) !== undefined;
    return isManaged ? want : undefined;
  },
  identity: (want) => want.mountPoint,
  facts,
  needs: { restore: restoreNeeds, drift: driftNeeds },

  plan(want, seen) {
    const { owner, group, mountPoint, tag } = want;
    const mode = parseOctalMode(want.mode ?? "");
    const uid = idOf(owner, "passwd", seen.ids);
    const gid = idOf(group, "group", seen.ids);
    const unknown = [
      ...(owner !== undefined && uid === undefined ? [`user ${owner}`] : []),
      ...(group !== undefined && gid === undefined ? [`group ${group}`] : []),
    ].flatMap((who) => refuse("unknownUser", `the guest has no ${who}`, "make it there, or give a number"));
    if (unknown.length > 0) return { refuse: unknown, steps: [] };
    // Another directory is what the mount's layer tells of.
    if (!isLive(want, seen) || otherRoot(want, seen) !== undefined) return { steps: [] };
    // Not mounted yet: its owner is not known, and the mount is a step before this one.
    const root = isMounted(want, seen) && typeof seen.root === "object" ? seen.root : undefined;
    const enter = enterShare(mountPoint, tag, inodesInGuest(want, seen));
    const change = (program: Script, to: string, shown: string, back: string | undefined): Step => {
      const run = (value: string) => sh`${enter}
${program} -- ${value} .`;
      return {
        does: `${program.text} ${mountPoint} to ${shown} in the guest`,
        run: run(to),
        ...(back !== undefined && { undo: run(back) }),
      };
    };
    const steps: Step[] = [];
    if ((uid ?? root?.uid) !== root?.uid || (gid ?? root?.gid) !== root?.gid) {
      const to = `${uid ?? ""}:${gid ?? ""}`.replace(/:$/, "");
      steps.push(change(sh`chown`, to, to, root && `${root.uid}:${root.gid}`));
    }
    // Behind chown, which clears setuid and setgid.
    if (mode !== undefined && mode !== root?.mode)
      steps.push(change(sh`chmod`, exactMode(mode), formatOctalMode(mode), root && exactMode(root.mode)));
    return { steps };
  },

  remember: () => null,
  restore: () => ({ steps: [] }),

  drift(want, seen) {
    const { root } = seen;
    // An automount that nobody uses now: its owner is in the share's attributes, and comes back with it.
    if (want.options.automount && mountAt(seen.mounts, want.mountPoint)?.type === "autofs") return asWanted;
    if (!isMounted(want, seen) || !root) return found("unknown");
    if (typeof root === "string")
      return found("unknown", `the guest cannot look at ${want.mountPoint}: ${root}`);
    const uid = idOf(want.owner, "passwd", seen.ids);
    const gid = idOf(want.group, "group", seen.ids);
    const mode = parseOctalMode(want.mode ?? "");
    const args = {
      ...(want.owner !== undefined && uid !== root.uid && { "guest.owner": root.user }),
      ...(want.group !== undefined && gid !== root.gid && { "guest.group": root.group }),
      ...(mode !== undefined && mode !== root.mode && { "guest.mode": formatOctalMode(root.mode) }),
    };
    return Object.keys(args).length === 0 ? asWanted : { state: "differs", args, notes: [] };
  },
};

function isMounted(want: ShareInGuest, seen: Pick<OwnershipSeen, "mounts">): boolean {
  const at = mountAt(seen.mounts, want.mountPoint);
  return at?.type === "9p" && at.source === want.tag;
}

function idOf(name: string | undefined, database: "passwd" | "group", ids: Principals): number | undefined {
  if (name === undefined) return undefined;
  return /^\d+$/.test(name) ? Number(name) : ids[`${database} ${name}`];
}

/**
 * Sample: `0:0:750:root:root`. Only of a share that is mounted: the owner of what is below is not the share's,
 * and an automount is not to be set off by a look.
 */
function rootOf(path: string, tag: string): Fact<Root | string | undefined> {
  return {
    place: "guest",
    does: `look at the owner of ${path} (${tag})`,
    gathers: mountinfo,
    script: sh`if ${isShareMountedAt(path, tag)}; then stat -c '%u:%g:%a:%U:%G' -- ${path} 2>&1 || :; fi`,
    parse: (output) => {
      const text = output.trim();
      const match = /^(\d+):(\d+):([0-7]+):([^:]*):([^:]*)$/.exec(text);
      if (!match) return text === "" ? undefined : text;
      const [, uid = "", gid = "", mode = "", user = "", group = ""] = match;
      return {
        uid: Number(uid),
        gid: Number(gid),
        mode: parseInt(mode, 8),
        user: user === "UNKNOWN" ? uid : user,
        group: group === "UNKNOWN" ? gid : group,
      };
    },
  };
}
