import type { Context, Plan, Step } from "../engine/concern";
import { DirectoryTrees } from "../formats/directory-tree";
import type { Domain } from "../formats/domain-xml";
import { exactMode, formatOctalMode } from "../formats/octal-mode";
import { inDirectory } from "../formats/in-directory";
import { lines, type Script, sh } from "../formats/shell";
import { directoryType, formatU32, ownerAttributes } from "../formats/virtfs";
import { createdMode, type Owner } from "./directory-owner";
import {
  type DirectorySeen,
  type DirectorySeenBack,
  type DirectoryWant,
  type Entry,
  type VirtfsAttributes,
} from "./directory-facts";
import { directoryAt } from "./directory-identity";
import type { TreeAt } from "./tree-at";

/** The changes that are made to a share's directory, and their undo. */

/** The directory that is meant: one that we make has no identity yet. */
type DirectoryAt = Pick<TreeAt, "path"> & Partial<TreeAt>;

/** Makes the directory, with what the guest is to see of it and the owner that is wanted. */
export function create(want: DirectoryWant, owner: Owner): Step[] {
  const mode = want.mode ?? createdMode;
  const root: Entry = {
    kind: "directory",
    uid: 0,
    gid: 0,
    user: "root",
    group: "root",
    mode,
    inode: "",
    born: "",
  };
  const made = { path: want.path };
  return [
    {
      does: `make ${want.path}`,
      run: sh`mkdir -m ${exactMode(mode)} -- ${want.path}`,
      undo: sh`rmdir -- ${want.path}`,
    },
    ...(want.keepOwners ? [keepStep(made, root)] : []),
    ...chownSteps(made, owner, root),
  ];
}

/** Brings owner and mode of a directory that is there to what is wanted. */
export function adjust(want: DirectoryWant, seen: DirectorySeen, entry: Entry, owner: Owner): Step[] {
  const chowned =
    (owner.uid !== undefined && owner.uid !== entry.uid) ||
    (owner.gid !== undefined && owner.gid !== entry.gid);
  const missing = ownerAttributes.filter(
    (name) => seen.attributes === "unsupported" || !(name in seen.attributes),
  );
  // Whoever takes over must be able to use it; what the guest sees is kept apart.
  const mode = want.mode ?? (chowned && want.keepOwners ? entry.mode | 0o700 : entry.mode);
  const at = directoryAt(want.path, entry, seen);
  return [
    ...(chowned && want.keepOwners && missing.length > 0
      ? [keepStep(at, { ...entry, mode: ownMode(entry, seen) }, missing)]
      : []),
    ...chownSteps(at, owner, entry),
    ...(mode === entry.mode ? [] : [chmodStep(at, mode, entry.mode)]),
  ];
}

/** Of a directory that a takeover or its way back may have been at for minutes before. */
export function chownSteps(
  { path, identity }: DirectoryAt,
  owner: Owner,
  from: Pick<Entry, "uid" | "gid">,
  does?: string,
): Step[] {
  const to = `${owner.uid ?? from.uid}:${owner.gid ?? from.gid}`;
  const was = `${from.uid}:${from.gid}`;
  if (to === was) return [];
  return [
    {
      does: does ?? `chown ${path} from ${was} to ${to}`,
      run: inDirectory(path, identity, (at) => sh`chown -h -- ${to} ${at}`),
      undo: inDirectory(path, identity, (at) => sh`chown -h -- ${was} ${at}`),
    },
  ];
}

/** Exact, for a directory's setgid bit too. */
export function chmodStep({ path, identity }: DirectoryAt, to: number, from: number): Step {
  return {
    does: `chmod ${path} from ${formatOctalMode(from)} to ${formatOctalMode(to)}`,
    run: inDirectory(path, identity, (at) => sh`chmod -- ${exactMode(to)} ${at}`),
    undo: inDirectory(path, identity, (at) => sh`chmod -- ${exactMode(from)} ${at}`),
  };
}

/** Its mode without the mask of an access list, which stands where the group's bits are (acl(5) of acl 2.3.1). */
function ownMode({ mode }: Entry, { groupRights }: DirectorySeen): number {
  return groupRights === undefined ? mode : mode & (0o7707 | (groupRights << 3));
}

/**
 * `missing`: what is there already is what the guest sees. A guest that changed the mode alone has set that one alone,
 * and a killed step may have left one without the others.
 */
function keepStep(
  { path, identity }: DirectoryAt,
  entry: Entry,
  missing: readonly (typeof ownerAttributes)[number][] = ownerAttributes,
): Step {
  const values = {
    "user.virtfs.uid": entry.uid,
    "user.virtfs.gid": entry.gid,
    "user.virtfs.mode": entry.mode | directoryType,
  };
  const undo = (at: Script): Script =>
    lines(
      missing.map(
        (name) =>
          sh`! getfattr -h -n ${name} --absolute-names -- ${at} >/dev/null 2>&1 || setfattr -h -x ${name} -- ${at}`,
      ),
    );
  return {
    does: `let the guest go on seeing ${path} as ${entry.uid}:${entry.gid} ${formatOctalMode(entry.mode)} (user.virtfs.*)`,
    // All three or none: a full file system must not leave an owner without its mode.
    run: inDirectory(
      path,
      identity,
      (at) => sh`forget() { ${undo(at)}
}
trap '[ $? = 0 ] || forget' EXIT
${lines(missing.map((name) => sh`setfattr -h -n ${name} -v ${formatU32(values[name])} -- ${at}`))}`,
    ),
    undo: inDirectory(path, identity, undo),
  };
}

/** Gives `user.virtfs.*` of the directory itself back as first contact found it. */
export function restoreAttributes(
  { path, identity }: DirectoryAt,
  before: VirtfsAttributes,
  now: VirtfsAttributes | "unsupported",
): Step[] {
  if (now === "unsupported") return [];
  const gone = Object.keys(now).filter((name) => !(name in before));
  const changed = Object.entries(before).filter(([name, value]) => now[name] !== value);
  if (gone.length + changed.length === 0) return [];
  return [
    {
      does: `give ${path} its attributes back (user.virtfs.*)`,
      run: inDirectory(path, identity, (at) =>
        lines([
          ...gone.map((name) => sh`setfattr -h -x ${name} -- ${at}`),
          ...changed.map(([name, value]) => sh`setfattr -h -n ${name} -v ${value} -- ${at}`),
        ]),
      ),
    },
  ];
}

/** A directory that we made goes if it is empty and nothing uses it; else it stays, for the files in it are not ours. */
export function giveUpOwn(old: DirectoryWant, seen: DirectorySeenBack, context: Context | undefined): Plan {
  const stays = (why: string): Plan => ({
    steps: [],
    warnings: [`${old.path}, which this share made, stays: ${why}`],
  });
  const uses = (domain: Domain | undefined): boolean =>
    domain?.devices9p.some((device) => device.source === old.path) === true;
  if (uses(seen.live)) {
    return {
      steps: [],
      warnings: [
        `${old.path}, which this share made, stays: the running QEMU has it open until its next power cycle`,
      ],
    };
  }
  if (seen.info?.managedSave === true) {
    return {
      steps: [],
      warnings: [
        `${old.path}, which this share made, stays: the managed save image of ${seen.info.name} may have it open`,
      ],
    };
  }
  // A domain does not start whose definition names a directory that is not there.
  if (!seen.exports) return stays("what other domains export cannot be seen");
  const trees = new DirectoryTrees(seen.mounts);
  const user = seen.exports.find(
    ({ realPath, uuid, tag }) =>
      !(uuid === seen.info?.uuid && context?.tags.has(tag) === true) &&
      (trees.isSame(realPath, old.path) || trees.isInside(realPath, old.path)),
  );
  if (user) {
    return stays(`the definition of ${user.domain} names ${user.source} (${user.driver}, tag ${user.tag})`);
  }
  if (uses(seen.persistent)) {
    return {
      steps: [],
      warnings: [`${old.path}, which this share made, stays: the domain still declares it`],
    };
  }
  if (!seen.tree) return stays("what is in it cannot be seen");
  if (seen.tree.unreadable.count > 0) {
    return {
      steps: [],
      warnings: [
        `${old.path}, which this share made, stays: not all in it can be looked at (${seen.tree.unreadable.names[0] ?? ""})`,
      ],
    };
  }
  if (seen.tree.entries.length > 0 || seen.tree.otherFileSystems.count > 0) {
    return { steps: [], warnings: [`${old.path}, which this share made, stays: there are files in it`] };
  }
  return {
    steps: [
      {
        does: `remove ${old.path}, which is empty and was made by this share`,
        run: sh`rmdir -- ${old.path}`,
      },
    ],
  };
}
