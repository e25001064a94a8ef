import { asWanted, type Layer } from "../../engine/layer";
import { formatOctalMode } from "../../formats/octal-mode";
import { linksBack, restoreDirectory } from "./restore";
import {
  aliases,
  notOwned,
  collidingInodes,
  inTaken,
  orUnwritable,
  reachable,
  sharesInside,
  standing,
  unmappedDangers,
  unusableForQemu,
} from "./checks";
import {
  type DirectoryBefore,
  directoryDriftNeeds,
  directoryFacts,
  directoryRestoreNeeds,
  type DirectorySeen,
  type DirectoryWant,
  directoryWant,
  type Stood,
} from "./probes";
import { knownBy, unlasting } from "./identity";
import { named, resolveOwner } from "./owner";
import { adjust, create } from "./steps";
import { treeAt } from "../shared/tree-at";
import {
  forgotten,
  isToBeMapped,
  isToBeTaken,
  notTaken,
  foreignOwners,
  needsDecision,
  unreadableLinks,
  takeoverBlockers,
} from "./tree/checks";
import { mapLinks } from "./tree/symlinks";
import { takeOver, takeOverForGood } from "./tree/takeover";

/**
 * The directory on the host: there, reachable for QEMU, owned by whom the share wants.
 *
 * With `keepOwners` what the guest sees of the directory itself is first written into `user.virtfs.*`,
 * where QEMU looks (hw/9pfs/9p-xattr-user.c and 9p-local.c, 7.2), and only then does the owner change.
 *
 * Refuses with `sourceMissing`, `sourceVanished`, `sourceMoved`, `sourceNotDirectory`, `sourceIsLink`,
 * `parentNotSearchable`, `noUserAttributes`, `treeOfOthers`, `treePrivileged`, `treeLinkedOut`, `treeOfFileSystems`,
 * `treeTooDeep`, `treeWithoutBirth`, `fileSystemReadOnly`, `unknownUser`.
 */
export const hostDirectory: Layer<
  DirectoryWant,
  DirectorySeen,
  DirectoryBefore,
  typeof directoryRestoreNeeds,
  typeof directoryDriftNeeds
> = {
  layer: "directory",
  place: "host",
  up: "host",
  down: "hostLast",
  scope: "host",
  usedByQemu: true,

  want: directoryWant,

  identity: (want) => want.path,

  facts: directoryFacts,

  needs: { restore: directoryRestoreNeeds, drift: directoryDriftNeeds },

  plan(want, seen, before, known, context) {
    const { owner, refuse: unknown } = resolveOwner(want, seen);
    const stood = context?.lastSeen["directory"] as Stood | undefined;
    const takes = isToBeTaken(want, seen, owner);
    const maps = isToBeMapped(want, seen);
    const refuse = [
      ...unknown,
      ...standing(want, seen, before, stood?.path === want.path ? stood : undefined, context?.foreign),
      ...(before || known ? [] : inTaken(want, seen)),
      ...(before || known ? [] : aliases(want, seen, context?.others.map(({ spec }) => spec.source) ?? [])),
      ...reachable(want, seen),
      ...(seen.unreadable === undefined ? notOwned(want, seen, owner) : []),
      ...(before ? [] : needsDecision(want, seen, owner)),
      ...(takes || maps ? [...takeoverBlockers(want, seen), ...sharesInside(want, seen)] : []),
    ];
    if (refuse.length > 0) return { refuse, steps: [] };
    if (!seen.entry) {
      const warnings = told(unusableForQemu(want, seen, owner));
      return orUnwritable(want, seen, { steps: create(want, owner), warnings });
    }
    const at = treeAt(want.path, seen.entry);
    const keeps = !want.mapped || want.keepOwners;
    const isClosed = seen.tree.entries.some(({ open }) => !open);
    const taker = {
      ...owner,
      keepOwners: want.keepOwners,
      opens: want.mapped && owner.uid !== undefined && (keeps || isClosed),
      strips: want.privileged === "strip",
    };
    const take = keeps ? takeOver(at, taker) : takeOverForGood(at, taker);
    return orUnwritable(want, seen, {
      steps: [
        ...(takes ? [take] : []),
        ...(maps ? [mapLinks(at, owner)] : []),
        ...(want.links === "keep" ? linksBack(seen, at) : []),
        ...adjust(want, seen, seen.entry, owner),
      ],
      warnings: told(
        unmappedDangers(want, seen),
        unusableForQemu(want, seen, owner),
        collidingInodes(want, seen),
        before ? undefined : unlasting(want.path, seen),
        takes && !keeps ? forgotten(want, seen, owner) : undefined,
        before ? notTaken(want, seen, owner) : unreadableLinks(want, seen),
      ),
    });
  },

  remember(want, seen) {
    const { entry, attributes } = seen;
    if (!entry) return { created: true };
    return {
      created: false,
      uid: entry.uid,
      gid: entry.gid,
      mode: formatOctalMode(entry.mode),
      attributes: attributes === "unsupported" ? {} : attributes,
      ...knownBy(want.path, entry, seen),
    };
  },

  restore: restoreDirectory,

  drift(want, seen) {
    const { entry } = seen;
    if (seen.unreadable !== undefined) {
      return { state: "unknown", args: {}, notes: [`${want.path} cannot be looked at: ${seen.unreadable}`] };
    }
    if (!entry) {
      return { state: "missing", args: {}, notes: [`the directory ${want.path} is not there`] };
    }
    const { owner } = resolveOwner(want, seen);
    const compared = [
      ["directory.owner", owner.uid, entry.uid, named(entry.user, entry.uid)],
      ["directory.group", owner.gid, entry.gid, named(entry.group, entry.gid)],
      ["directory.mode", want.mode, entry.mode, formatOctalMode(entry.mode)],
    ] as const;
    const args = compared
      .filter(([, wanted, now]) => wanted !== undefined && now !== wanted)
      .map(([name, , , now]) => [name, now] as const);
    const notes = told(
      isToBeTaken(want, seen, owner)
        ? `${want.path} holds entries that are not taken over: ${foreignOwners(want, seen, owner.uid) ?? "their group or mode differs"}`
        : undefined,
      isToBeMapped(want, seen) ? `${want.path} holds links that are not mapped` : undefined,
    );
    if (args.length + notes.length === 0) return asWanted;
    return { state: "differs", args: Object.fromEntries(args), notes };
  },

  /** As numbers, `64055:64055`; where untouched, what the directory has. */
  outputs(want, seen) {
    if (!seen) return {};
    const { owner } = resolveOwner(want, seen);
    return { directoryOwner: `${owner.uid ?? seen.entry?.uid ?? ""}:${owner.gid ?? seen.entry?.gid ?? ""}` };
  },

  fingerprint: (seen) => {
    const { entry, realPath: path } = seen;
    if (!entry) return undefined;
    const { uid, gid, mode } = entry;
    return { path, ...knownBy(path, entry, seen), uid, gid, mode } satisfies Stood;
  },
};

function told(...all: readonly (string | undefined)[]): string[] {
  return all.filter((one) => one !== undefined);
}
