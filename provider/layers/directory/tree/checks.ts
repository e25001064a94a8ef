import { isLasting } from "../../shared/lasting-inodes";
import { type Refusal, refuse } from "../../../engine/layer";
import { countOf } from "../../../formats/count";
import { mountHolding } from "../../../formats/mountinfo";
import type { DirectorySeen, DirectoryWant } from "../probes";
import { named, type Owner } from "../owner";
import { hasLinks, type Named } from "./probe";

/** What there is in a tree to take over, and what of it cannot be. Pure. */

/** Whether there is something in the tree that is to be taken over and is not, or not to the end. */
export function isToBeTaken(
  want: DirectoryWant,
  seen: Pick<DirectorySeen, "tree" | "treeRemembered" | "viewKept">,
  owner: Owner,
): boolean {
  if (want.recursive !== true) return false;
  const unlike = seen.tree.entries.some(
    ({ kind, uid, gid, open }) =>
      (kind === "directory" || kind === "file") &&
      ((owner.uid !== undefined && uid !== owner.uid) ||
        (owner.gid !== undefined && gid !== owner.gid) ||
        (want.mapped && owner.uid !== undefined && !open)),
  );
  return unlike || (want.keepOwners && seen.treeRemembered && !seen.viewKept);
}

/** Whether there are links of the host's that are to be made readable for the guest. */
export function isToBeMapped(want: DirectoryWant, { tree }: Pick<DirectorySeen, "tree">): boolean {
  return want.links === "map" && hasLinks(tree);
}

/** Whose entries are to be taken over is said, not guessed. */
export function needsDecision(want: DirectoryWant, seen: DirectorySeen, { uid }: Owner): Refusal[] {
  const others = foreignOwners(want, seen, uid);
  if (want.recursive !== undefined || others === undefined) return [];
  return refuse(
    "treeOfOthers",
    `${want.path} holds entries of other owners: ${others}`,
    `write directory.recursive: true to take all of it over${want.keepOwners ? ", whose owners the guest goes on seeing, and which destroy gives back" : ""}; or false to take only the directory itself`,
  );
}

/** Of a takeover for good, for which nobody could ask later whose the entries were. */
export function forgotten(want: DirectoryWant, seen: DirectorySeen, { uid }: Owner): string {
  const others = foreignOwners(want, seen, uid);
  return `directory.keepOwners is false, so whose the entries of ${want.path} were is written down nowhere, and destroy cannot give them back${others === undefined ? "" : `: ${others}`}`;
}

/** Who but the wanted owner has entries in the tree, sample: `12 of root (0), 1 of alice (1000)`; undefined: nobody. */
export function foreignOwners(
  want: DirectoryWant,
  seen: Pick<DirectorySeen, "tree">,
  uid: number | undefined,
): string | undefined {
  if (uid === undefined || !want.mapped) return undefined;
  const others = new Map<number, { user: string; count: number }>();
  for (const one of seen.tree.entries) {
    if (one.uid === uid || one.kind === "link" || one.kind === "special") continue;
    others.set(one.uid, { user: one.user, count: one.count + (others.get(one.uid)?.count ?? 0) });
  }
  const sorted = [...others].sort(([, a], [, b]) => b.count - a.count);
  const counts = sorted.slice(0, 8).map(([id, { user, count }]) => `${count} of ${named(user, id)} (${id})`);
  return sorted.length === 0 ? undefined : counts.join(", ") + (sorted.length > 8 ? ", ..." : "");
}

/** What the guest of a share that takes no tree over can at most read. */
export function notTaken(want: DirectoryWant, seen: DirectorySeen, { uid }: Owner): string | undefined {
  const others = foreignOwners(want, seen, uid);
  return want.recursive !== undefined || others === undefined
    ? undefined
    : `${want.path} holds entries that are not QEMU's, and that the guest can at most read: ${others}; directory.recursive: true takes them over`;
}

/** What cannot be taken over, or not without a loss. */
export function takeoverBlockers(want: DirectoryWant, seen: DirectorySeen): Refusal[] {
  const { path } = want;
  const { tree, mounts } = seen;
  const mounted = mounts.flatMap(({ mountPoint }) =>
    mountPoint.startsWith(`${path}/`) ? [mountPoint.slice(path.length + 1)] : [],
  );
  const others = [...new Set([...mounted, ...tree.otherFileSystems.names])];
  const entersOthers = want.otherFileSystems === "refuse" || (want.mapped && !want.keepOwners);
  return [
    ...(want.session
      ? refuse(
          "treeOfOthers",
          `${path} holds entries that do not belong to the connecting user, as whom qemu:///session does everything`,
          "give it to that user by hand, or write directory.recursive: false",
        )
      : []),
    ...withoutBirth(want, seen),
    ...ofNamed(
      want.privileged === "refuse" && tree.privileged,
      "treePrivileged",
      `${path} holds files with setuid or setgid`,
      "take them out, or write directory.privileged: strip: they lose that for good, for a guest could rewrite them",
    ),
    ...ofNamed(
      tree.unreadable,
      "sourceUnreadable",
      `not all in ${path} can be looked at`,
      "let root look at it, or write directory.recursive: false",
    ),
    ...ofNamed(
      tree.linkedOut,
      "treeLinkedOut",
      `${path} holds files that have a name outside of it, too`,
      "copy them, or move the other name into it: whoever uses it there would find another owner",
    ),
    ...ofNamed(
      entersOthers && {
        count: Math.max(others.length, tree.otherFileSystems.count),
        names: others.slice(0, 5),
      },
      "treeOfFileSystems",
      `other file systems, mounts or subvolumes begin in ${path}`,
      "write directory.otherFileSystems: leave (with keepOwners), and give each that the guest is to use a share of its own; or directory.recursive: false",
    ),
  ];
}

function ofNamed(found: Named | false, code: Refusal["code"], what: string, remedy: string): Refusal[] {
  if (!found || found.count === 0) return [];
  const { count, names } = found;
  return refuse(
    code,
    `${what} (${count}: ${names.join(", ")}${count > names.length ? ", ..." : ""})`,
    remedy,
  );
}

/** Entries that could not be found again. */
function withoutBirth({ path }: DirectoryWant, { entry, mounts }: DirectorySeen): Refusal[] {
  const mount = mountHolding(mounts, path);
  const hasBirth = Number(entry?.born) > 0;
  if (!entry || (hasBirth && isLasting(mount, entry.born))) return [];
  const why =
    mount?.type === "overlay"
      ? `${path} is on an overlay, which gives a file another inode when its owner changes: what it had could not be found again`
      : hasBirth
        ? `${path} is on ${mount?.type ?? ""}, which gives files other inodes when it is mounted again: what they had could not be found again`
        : `the file system of ${path} does not say when a file was made, and without that one that the guest makes could be taken for another that was there`;
  return refuse(
    "treeWithoutBirth",
    why,
    "share from ext4 with 256-byte inodes, xfs or btrfs, or write directory.recursive: false",
  );
}

/** Links that were made on the host, which a guest of a mapped share cannot read: how many. */
export function unreadableLinks(want: DirectoryWant, { tree }: DirectorySeen): string | undefined {
  const links = tree.entries.filter(({ kind }) => kind === "link").reduce((sum, { count }) => sum + count, 0);
  if (!want.mapped || want.links === "map" || want.recursive === false || links === 0) return undefined;
  const [were, them] = links === 1 ? ["was", "it"] : ["were", "them"];
  return `${countOf(links, "symbolic link")} in ${want.path} ${were} made on the host: with accessMode mapped a guest sees ${them}, and can neither read nor follow ${them} (directory.links: map changes that)`;
}
