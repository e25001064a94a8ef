import { asWanted, type Concern } from "../engine/concern";
import { formatOctalMode, parseOctalMode } from "../formats/octal-mode";
import { sh } from "../formats/shell";
import { directoriesAbove } from "../formats/system-path";
import {
  aliases,
  createdMode,
  isSame,
  named,
  reachable,
  resolveOwner,
  standing,
  strangers,
  unmanagedChanges,
} from "./directory-checks";
import {
  type DirectoryBefore,
  directoryFacts,
  type DirectorySeen,
  type DirectoryWant,
  entryOf,
  type ForeignRecord,
  type Stood,
} from "./directory-facts";
import { adjust, chmodStep, create, giveUpOwn, restoreAttributes } from "./directory-steps";

/**
 * The directory on the host: there, reachable for QEMU, owned by whom the share wants.
 *
 * With `keepOwners` what the guest sees of the directory itself is first written into `user.virtfs.*`,
 * where QEMU looks (hw/9pfs/9p-xattr-user.c and 9p-local.c, 7.2), and only then does the owner change.
 *
 * Refuses with `sourceMissing`, `sourceVanished`, `sourceMoved`, `sourceNotDirectory`, `sourceIsLink`,
 * `parentNotSearchable`, `noUserAttributes`, `treeOfOthers`, `unknownUser`.
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
    mapped: spec.accessMode === "mapped",
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
      ...(before || known ? [] : aliases(want, seen, context?.others.map(({ spec }) => spec.source) ?? [])),
      ...reachable(want, seen, owner, before),
    ];
    if (refuse.length > 0) return { refuse, steps: [] };
    const others =
      before === undefined || want.recursive === false ? undefined : strangers(want, seen, owner.uid);
    return {
      steps: seen.entry ? adjust(want, seen, seen.entry, owner) : create(want, owner),
      warnings:
        others === undefined
          ? []
          : [
              `${want.path} holds entries that are not QEMU's, and that the guest can at most read: ${others}`,
            ],
    };
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
    if (!old.giveBack) return { steps: [], forgets: true };
    if (!entry) return { steps: [] };
    if (before.created) return giveUpOwn(old, seen);
    if (entry.kind !== "directory" || !isSame(entry, before)) {
      return {
        steps: [],
        warnings: [`${old.path} is not the directory that was shared: its owner was left as it is`],
      };
    }
    const path = old.path;
    const mode = parseOctalMode(before.mode) ?? createdMode;
    const chowned = entry.uid !== before.uid || entry.gid !== before.gid;
    return {
      steps: [
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
      warnings: unmanagedChanges(old, before, seen, entry, context?.stood["directory"] as Stood | undefined),
    };
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
    return Object.keys(args).length === 0 ? asWanted : { state: "differs", args, notes: [] };
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
} as const;
