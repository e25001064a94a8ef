import { asWanted, type Concern, type Refusal, type Step } from "../engine/concern";
import { formatOctalMode, parseOctalMode } from "../formats/octal-mode";
import { sh } from "../formats/shell";
import { directoriesAbove } from "../formats/system-path";
import {
  aliases,
  createdMode,
  isSame,
  isToBeMapped,
  isToBeTaken,
  named,
  reachable,
  recordedPaths,
  resolveOwner,
  standing,
  strangers,
  unmappedDangers,
  unreadableLinks,
  unmanagedChanges,
  untakeable,
  unwritable,
} from "./directory-checks";
import {
  type DirectoryBefore,
  directoryFacts,
  type DirectorySeen,
  type DirectoryWant,
  type Entry,
  entryOf,
  type ForeignRecord,
  type Stood,
  takesAll,
} from "./directory-facts";
import { adjust, chmodStep, create, giveUpOwn, restoreAttributes } from "./directory-steps";
import { placeOf, recordsOf } from "./ledger";
import { forgetNested, inTaken, keepNested, takenIn, unreturnable } from "./nested-trees";
import { forgetLinks, giveLinksBack, mapLinks } from "./tree-links";
import type { TreeAt } from "./tree-scripts";
import {
  forgetTree,
  giveTreeBack,
  handOver,
  type ShareInside,
  takeOver,
  takeOverForGood,
} from "./tree-steps";

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
export const hostDirectory: Concern<DirectoryWant, DirectorySeen, DirectoryBefore> = {
  layer: "directory",
  place: "host",
  up: "host",
  down: "hostLast",
  scope: "host",

  want: (spec) => ({
    path: spec.source,
    create: spec.directory.create,
    owner: spec.directory.owner,
    group: spec.directory.group,
    mode: parseOctalMode(spec.directory.mode ?? ""),
    recursive: spec.directory.recursive,
    keepOwners: spec.directory.keepOwners === true,
    privileged: spec.directory.privileged,
    links: spec.directory.links,
    otherFileSystems: spec.directory.otherFileSystems,
    mapped: spec.accessMode === "mapped",
    accessMode: spec.accessMode,
    readOnly: spec.readOnly,
    giveBack: spec.directory.onDelete === "restore",
    session: spec.host.libvirtUri === "qemu:///session",
  }),

  identity: (want) => want.path,

  facts: directoryFacts,

  around: (want) =>
    directoriesAbove(want.path).map((path) => ({ ...want, ...untouched, path, giveBack: true })),

  plan(want, seen, before, known, context) {
    const { owner, refuse: unknown } = resolveOwner(want, seen);
    const stood = context?.stood["directory"] as Stood | undefined;
    const foreign = context?.foreign as ForeignRecord | undefined;
    const refuse = [
      ...unknown,
      ...standing(want, seen, before, stood?.path === want.path ? stood : undefined, foreign),
      ...(before || known ? [] : inTaken(want.path, { ...seen, recorded: recordedPaths(seen) })),
      ...(before || known ? [] : aliases(want, seen, context?.others.map(({ spec }) => spec.source) ?? [])),
      ...reachable(want, seen, owner, before),
    ];
    const takes = isToBeTaken(want, seen, owner);
    const maps = isToBeMapped(want, seen);
    if (takes || maps) refuse.push(...untakeable(want, seen));
    if (refuse.length > 0) return { refuse, steps: [] };
    if (!seen.entry) return orUnwritable(want, seen, { steps: create(want, owner) });
    const taker = {
      ...owner,
      keepOwners: want.keepOwners,
      opens: want.mapped && owner.uid !== undefined,
      strips: want.privileged === "strip",
    };
    const at = treeAt(want.path, seen.entry);
    const nested = takesAll(want) ? seen.nested.roots : [];
    const keeps = !want.mapped || want.keepOwners;
    const take = (tree: TreeAt): Step =>
      !keeps
        ? takeOverForGood(
            tree,
            { ...taker, opens: taker.opens && seen.tree.entries.some(({ open }) => !open) },
            seen.tree.executables > 0,
          )
        : takeOver(tree, taker, tree === at ? sharesInside(want, seen) : []);
    const others =
      before === undefined || want.recursive !== undefined ? undefined : strangers(want, seen, owner.uid);
    return orUnwritable(want, seen, {
      steps: [
        ...(((takes && keeps) || maps) && nested.length > 0
          ? [keepNested(want.path, nested, sharesInside(want, seen))]
          : []),
        // Those inside first, for chown(1) goes on into a subvolume.
        ...[...nested, at].flatMap((tree) => [
          ...(takes ? [take(tree)] : []),
          ...(maps ? [mapLinks(tree, owner)] : []),
        ]),
        ...(want.links === "keep" ? linksBack(seen, at) : []),
        ...adjust(want, seen, seen.entry, owner),
      ],
      warnings: [
        ...unmappedDangers(want, seen),
        ...(before === undefined ? unreadableLinks(want, seen) : []),
        ...(others === undefined
          ? []
          : [
              `${want.path} holds entries that are not QEMU's, and that the guest can at most read: ${others}; directory.recursive: true takes them over`,
            ]),
      ],
    });
  },

  remember(_want, { entry, attributes }) {
    if (!entry) return { created: true };
    return {
      created: false,
      uid: entry.uid,
      gid: entry.gid,
      mode: formatOctalMode(entry.mode),
      inode: entry.inode,
      born: entry.born,
      attributes: attributes === "unsupported" ? {} : attributes,
    };
  },

  restore(old, before, seen, context) {
    const entry = seen.entry;
    const inner = takenIn(seen);
    const roots = inner.flatMap((one) => one.roots);
    const forgetInner =
      inner.length > 0
        ? [
            forgetNested(
              old.path,
              inner.map(({ taken }) => taken.name),
            ),
          ]
        : [];
    const forget = [
      ...forgetInner,
      ...(seen.treeRemembered ? [forgetTree(old.path)] : []),
      ...(seen.linksMapped ? [forgetLinks(old.path)] : []),
    ];
    if (!old.giveBack) return { steps: forget, forgets: true };
    const isThere = entry?.kind === "directory" && (before.created || isSame(entry, before));
    const outer = seen.takenAround.find((above) => recordedPaths(seen).includes(above));
    const had = before.created
      ? undefined
      : {
          ...before,
          mode: parseOctalMode(before.mode) ?? createdMode,
          // An earlier release wrote the birth down in whole seconds.
          identity: isThere ? `${entry.inode}:${entry.born}` : `${before.inode}:${before.born}`,
        };
    if (!isThere) {
      const what = entry
        ? "is not the directory that was shared: its owner was left as it is"
        : "is not there";
      if (had && outer !== undefined) {
        return {
          steps: [handOver(old.path, had, outer)],
          warnings: [`${old.path} ${what}; what it and its entries had comes back with ${outer}`],
        };
      }
      const ledgers = [
        ...(seen.treeRemembered ? [placeOf({ of: "owners", path: old.path })] : []),
        ...inner.map(({ taken }) => recordsOf("owners", taken.name)),
      ];
      const kept = `; what the entries of its tree had is kept on the host, in ${ledgers.join(", ")}`;
      const say = entry !== undefined || ledgers.length > 0;
      return { steps: [], warnings: say ? [`${old.path} ${what}${ledgers.length > 0 ? kept : ""}`] : [] };
    }
    const refuse = unreturnable(old.path, seen);
    if (refuse.length > 0) return { steps: [], refuse };
    if (had && outer !== undefined) {
      return {
        steps: [
          ...linksBack(seen, treeAt(old.path, entry)),
          ...roots.map(giveTreeBack),
          ...forgetInner,
          handOver(old.path, had, outer),
        ],
      };
    }
    const { steps, warnings } = treeBack(treeAt(old.path, entry), seen, forget);
    if (before.created) {
      const gone = giveUpOwn(old, seen);
      return { ...gone, steps: [...steps, ...gone.steps], warnings: [...warnings, ...(gone.warnings ?? [])] };
    }
    const path = old.path;
    const mode = parseOctalMode(before.mode) ?? createdMode;
    const chowned = entry.uid !== before.uid || entry.gid !== before.gid;
    return orUnwritable(old, seen, {
      steps: [
        ...steps,
        ...(chowned
          ? [
              {
                does: `give ${path} back to ${before.uid}:${before.gid}`,
                run: sh`chown -h -- ${`${before.uid}:${before.gid}`} ${path}`,
                undo: sh`chown -h -- ${`${entry.uid}:${entry.gid}`} ${path}`,
                changes: [entryOf(path).key],
              },
            ]
          : []),
        ...(chowned || entry.mode !== mode ? [chmodStep(path, mode, entry.mode)] : []),
        ...restoreAttributes(path, before.attributes, seen.attributes),
      ],
      warnings: [
        ...warnings,
        ...unmanagedChanges(old, before, seen, entry, context?.stood["directory"] as Stood | undefined),
      ],
    });
  },

  drift(want, seen) {
    const { entry } = seen;
    if (!entry) {
      return { state: "missing", args: {}, notes: [`the directory ${want.path} is not there`] };
    }
    const { owner } = resolveOwner(want, seen);
    const args = {
      ...(owner.uid !== undefined && entry.uid !== owner.uid
        ? { "directory.owner": named(entry.user, entry.uid) }
        : {}),
      ...(owner.gid !== undefined && entry.gid !== owner.gid
        ? { "directory.group": named(entry.group, entry.gid) }
        : {}),
      ...(want.mode !== undefined && entry.mode !== want.mode
        ? { "directory.mode": formatOctalMode(entry.mode) }
        : {}),
    };
    const notes = [
      ...(isToBeTaken(want, seen, owner)
        ? [
            `${want.path} holds entries that are not taken over: ${strangers(want, seen, owner.uid) ?? "their group or mode differs"}`,
          ]
        : []),
      ...(isToBeMapped(want, seen) ? [`${want.path} holds links that are not mapped`] : []),
    ];
    return Object.keys(args).length + notes.length === 0 ? asWanted : { state: "differs", args, notes };
  },

  standing: ({ entry, realPath }) =>
    entry &&
    ({
      path: realPath,
      inode: entry.inode,
      born: entry.born,
      uid: entry.uid,
      gid: entry.gid,
      mode: entry.mode,
    } satisfies Stood),
};

/** What a share asks of a directory that it merely lies in. */
const untouched = {
  create: false,
  owner: undefined,
  group: undefined,
  mode: undefined,
  keepOwners: false,
  privileged: "refuse",
  links: "keep",
  otherFileSystems: "refuse",
} as const;

/** A plan that changes something is none where nothing can be changed. */
function orUnwritable<P extends { readonly steps: readonly Step[]; readonly refuse?: readonly Refusal[] }>(
  want: DirectoryWant,
  seen: DirectorySeen,
  plan: P,
): P {
  const refuse = plan.steps.length === 0 ? [] : unwritable(want, seen);
  return refuse.length === 0 ? plan : { ...plan, steps: [], refuse };
}

/** What was taken over in the tree: back, and then forgotten. */
function treeBack(
  at: TreeAt,
  seen: DirectorySeen,
  forget: readonly Step[],
): { steps: Step[]; warnings: string[] } {
  const links = linksBack(seen, at);
  const inner = takenIn(seen).flatMap(({ roots, taken: { hadPrivileges } }) =>
    roots.map((root) => ({ ...root, hadPrivileges })),
  );
  const trees = [...inner, ...(seen.treeRemembered ? [{ ...at, hadPrivileges: seen.hadPrivileges }] : [])];
  if (trees.length === 0) return { steps: links, warnings: [] };
  return {
    steps: [...links, ...trees.map(giveTreeBack), ...forget],
    warnings: [
      ...trees.flatMap(({ path, hadPrivileges: { count, names } }) =>
        count === 0
          ? []
          : [
              `in ${path} these had setuid, setgid or capabilities, and do not get them back, for a guest could have rewritten them: ${names.join(", ")}${count > names.length ? `, and ${count - names.length} more` : ""}`,
            ],
      ),
    ],
  };
}

function linksBack(seen: DirectorySeen, at: TreeAt): Step[] {
  const inner = takenIn(seen).flatMap(({ roots, taken }) => (taken.linksMapped ? roots : []));
  return [...inner, ...(seen.linksMapped ? [at] : [])].map(giveLinksBack);
}

function treeAt(path: string, { inode, born }: Pick<Entry, "inode" | "born">): TreeAt {
  return { path, identity: `${inode}:${born}` };
}

function sharesInside(want: DirectoryWant, { records }: DirectorySeen): ShareInside[] {
  return records
    .filter(({ identity }) => identity.startsWith(`${want.path}/`))
    .map(({ identity: path, before }) => ({
      path,
      identity: before.created ? undefined : `${before.inode}:${before.born}`,
    }));
}
