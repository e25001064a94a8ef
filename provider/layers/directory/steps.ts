import type { Context, Plan, Step } from "../../engine/layer";
import { DirectoryTrees } from "../../formats/directory-tree";
import type { Domain } from "../../formats/domain-xml";
import { exactMode, formatOctalMode } from "../../formats/octal-mode";
import { inDirectory } from "../../remote/shell/in-directory";
import { lines, type Script, sh } from "../../remote/shell/sh";
import { directoryType, formatU32, ownerAttributes } from "../../drivers/ninep/attributes";
import { becoming, createdMode, ownedText, type Owner } from "./owner";
import type { Owned, Entry } from "../shared/directory-entry";
import type { DirectorySeen, DirectorySeenBack, DirectoryWant, VirtfsAttributes } from "./probes";
import { type DirectoryAt, directoryAt } from "./identity";

/** The changes that are made to a share's directory, and their undo. */

/** Makes the directory, with what the guest is to see of it and the owner that is wanted. */
export function create(want: DirectoryWant, owner: Owner): Step[] {
  const root = { uid: 0, gid: 0, mode: want.mode ?? createdMode };
  const made = { path: want.path };
  return [
    {
      does: `make ${want.path}`,
      run: sh`mkdir -m ${exactMode(root.mode)} -- ${want.path}`,
      undo: sh`rmdir -- ${want.path}`,
    },
    ...(want.keepOwners ? [keepStep(made, root)] : []),
    ...chownSteps(made, owner, root),
  ];
}

/** Brings owner and mode of a directory that is there to what is wanted. */
export function adjust(want: DirectoryWant, seen: DirectorySeen, entry: Entry, owner: Owner): Step[] {
  const { attributes, groupRights } = seen;
  const missing = ownerAttributes.filter((name) => attributes === "unsupported" || !(name in attributes));
  const to = becoming(want, entry, owner);
  const at = directoryAt(want.path, entry, seen);
  const chowns = chownSteps(at, to, entry);
  // The group's bits are the mask of an access list where there is one (acl(5) of acl 2.3.1).
  const mode = groupRights === undefined ? entry.mode : entry.mode & (0o7707 | (groupRights << 3));
  return [
    ...(chowns.length > 0 && want.keepOwners && missing.length > 0
      ? [keepStep(at, { ...entry, mode }, missing)]
      : []),
    ...chowns,
    ...(to.mode === entry.mode ? [] : [chmodStep(at, to.mode, entry.mode)]),
  ];
}

/** Of a directory that a takeover or its way back may have been at for minutes before. */
export function chownSteps(
  at: DirectoryAt,
  owner: Owner,
  from: Pick<Entry, "uid" | "gid">,
  does?: string,
): Step[] {
  const to = `${owner.uid ?? from.uid}:${owner.gid ?? from.gid}`;
  const was = `${from.uid}:${from.gid}`;
  if (to === was) return [];
  const chown = (whose: string) => (directory: Script) => sh`chown -h -- ${whose} ${directory}`;
  return [stepIn(at, does ?? `chown ${at.path} from ${was} to ${to}`, chown(to), chown(was))];
}

/** Exact, for a directory's setgid bit too. */
export function chmodStep(at: DirectoryAt, to: number, from: number): Step {
  const chmod = (mode: number) => (directory: Script) => sh`chmod -- ${exactMode(mode)} ${directory}`;
  const does = `chmod ${at.path} from ${formatOctalMode(from)} to ${formatOctalMode(to)}`;
  return stepIn(at, does, chmod(to), chmod(from));
}

/**
 * `missing`: what is there already is what the guest sees. A guest that changed the mode alone has set that one alone,
 * and a killed step may have left one without the others.
 */
function keepStep(
  at: DirectoryAt,
  owned: Owned,
  missing: readonly (typeof ownerAttributes)[number][] = ownerAttributes,
): Step {
  const values = {
    "user.virtfs.uid": owned.uid,
    "user.virtfs.gid": owned.gid,
    "user.virtfs.mode": owned.mode | directoryType,
  };
  const undo = (directory: Script): Script =>
    lines(
      missing.map(
        (name) =>
          sh`! getfattr -h -n ${name} --absolute-names -- ${directory} >/dev/null 2>&1 || setfattr -h -x ${name} -- ${directory}`,
      ),
    );
  return stepIn(
    at,
    `let the guest go on seeing ${at.path} as ${ownedText(owned)} (user.virtfs.*)`,
    // All three or none: a full file system must not leave an owner without its mode.
    (directory) => sh`forget() { ${undo(directory)}
}
trap '[ $? = 0 ] || forget' EXIT
${lines(missing.map((name) => sh`setfattr -h -n ${name} -v ${formatU32(values[name])} -- ${directory}`))}`,
    undo,
  );
}

/** Gives `user.virtfs.*` of the directory itself back as first contact found it. */
export function restoreAttributes(
  at: DirectoryAt,
  before: VirtfsAttributes,
  now: VirtfsAttributes | "unsupported",
): Step[] {
  if (now === "unsupported") return [];
  const gone = Object.keys(now).filter((name) => !(name in before));
  const changed = Object.entries(before).filter(([name, value]) => now[name] !== value);
  if (gone.length + changed.length === 0) return [];
  return [
    stepIn(at, `give ${at.path} its attributes back (user.virtfs.*)`, (directory) =>
      lines([
        ...gone.map((name) => sh`setfattr -h -x ${name} -- ${directory}`),
        ...changed.map(([name, value]) => sh`setfattr -h -n ${name} -v ${value} -- ${directory}`),
      ]),
    ),
  ];
}

function stepIn(
  { path, identity }: DirectoryAt,
  does: string,
  run: (directory: Script) => Script,
  undo?: (directory: Script) => Script,
): Step {
  return {
    does,
    run: inDirectory(path, identity, run),
    ...(undo && { undo: inDirectory(path, identity, undo) }),
  };
}

/** A directory that we made goes if it is empty and nothing uses it; else it stays, for the files in it are not ours. */
export function giveUpOwn(old: DirectoryWant, seen: DirectorySeenBack, context: Context | undefined): Plan {
  const why = whyItStays(old, seen, context);
  if (why !== undefined) {
    return { steps: [], warnings: [`${old.path}, which this share made, stays: ${why}`] };
  }
  const does = `remove ${old.path}, which is empty and was made by this share`;
  return { steps: [{ does, run: sh`rmdir -- ${old.path}` }] };
}

function whyItStays(
  { path }: DirectoryWant,
  { live, persistent, info, exports, mounts, tree }: DirectorySeenBack,
  context: Context | undefined,
): string | undefined {
  const uses = (domain: Domain | undefined): boolean =>
    domain?.devices9p.some((device) => device.source === path) === true;
  if (uses(live)) return "the running QEMU has it open until its next power cycle";
  if (info?.managedSave === true) return `the managed save image of ${info.name} may have it open`;
  // A domain does not start whose definition names a directory that is not there.
  if (!exports) return "what other domains export cannot be seen";
  const trees = new DirectoryTrees(mounts);
  const user = exports.find(
    ({ realPath, uuid, tag }) =>
      !(uuid === info?.uuid && context?.tags.has(tag) === true) && trees.isInside(realPath, path),
  );
  if (user) return `the definition of ${user.domain} names ${user.source} (${user.driver}, tag ${user.tag})`;
  if (uses(persistent)) return "the domain still declares it";
  if (!tree) return "what is in it cannot be seen";
  if (tree.unreadable.count > 0) return `not all in it can be looked at (${tree.unreadable.names[0] ?? ""})`;
  if (tree.entries.length > 0 || tree.otherFileSystems.count > 0) return "there are files in it";
  return undefined;
}
