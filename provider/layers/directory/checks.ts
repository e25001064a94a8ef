import { posix } from "node:path";
import { type Context, type Plan, type Refusal, refuse } from "../../engine/layer";
import { DirectoryTrees } from "../../formats/directory-tree";
import { type Mount, mountAt, mountHolding, mountsBelow } from "../../formats/mountinfo";
import { formatOctalMode, parseOctalMode } from "../../formats/octal-mode";
import type { DirectoryBefore, DirectorySeen, DirectoryWant, Stood } from "./probes";
import { type Entry, rightsOf } from "../shared/directory-entry";
import { isSame, type KnownBy, knownBy, type Mounted } from "./identity";
import {
  becoming,
  createdMode,
  ownedText,
  type Owner,
  type OwnerSeen,
  qemuUser,
  resolveOwner,
} from "./owner";

/** Everything for which a share's directory is refused. Pure. */

/** Is the directory there, and the one that it was at first contact, or when we last saw it? */
export function standing(
  want: DirectoryWant,
  seen: DirectorySeen,
  before: DirectoryBefore | undefined,
  stood: Stood | undefined,
  others?: Context["foreign"],
): Refusal[] {
  const { entry, realPath } = seen;
  const theirs = others?.before as DirectoryBefore | undefined;
  const foreign = theirs?.created === false ? others : undefined;
  const recorded = before ?? (foreign && theirs);
  const found = recorded?.created === false ? recorded : undefined;
  const holders = foreign ? ` of ${foreign.references.join(", ")}` : "";
  if (realPath !== want.path) {
    return refuse(
      "sourceIsLink",
      `${want.path} leads through a link to ${realPath}`,
      `give source as "${realPath}"`,
    );
  }
  if (seen.unreadable !== undefined) return unreadableSource(want, seen, seen.unreadable);
  if (!entry) {
    if (stood ?? found) {
      return refuse(
        "sourceVanished",
        `${want.path} was there ${stood ? "after the last operation" : `at first contact${holders}`} and is not now`,
        "mount its file system, or put the directory back; it is not made anew, for that would hide the loss (if it was meant: pulumi up --replace)",
      );
    }
    const parent = seen.parents[0];
    const canBeMade = parent?.path === posix.dirname(want.path) && parent.kind === "directory";
    if (want.create && canBeMade) return [];
    return refuse(
      "sourceMissing",
      `${want.path} is not there${want.create ? ", nor the directory that it is in" : ""}`,
      want.create ? "make its parent: only the last component is made" : "make it, or set directory.create",
    );
  }
  if (entry.kind !== "directory") {
    return refuse("sourceNotDirectory", `${want.path} is not a directory`, "share a directory");
  }
  const then = found ?? stood;
  if (!then || isSame(want.path, entry, seen, then)) return [];
  const now = knownBy(want.path, entry, seen);
  return refuse(
    "sourceMoved",
    `${want.path} is not the directory that it was: ${identityText(now)}, it was ${identityText(then)}${holders && ` at first contact${holders}`}`,
    `mount the file system that it was on; if the change was meant, ${
      foreign
        ? "destroy those shares, and where nothing is left of them to destroy remove the record that names it in /var/lib/virtio9p/host"
        : "destroy the share and create it again"
    }`,
  );
}

function identityText({ inode, born, fileSystem }: KnownBy): string {
  const on = fileSystem === undefined ? "" : ` on ${fileSystem.type} of ${fileSystem.source}`;
  return `inode ${inode} made at ${born}${on}`;
}

function unreadableSource(
  { path, session }: DirectoryWant,
  { mounts, user }: DirectorySeen,
  why: string,
): Refusal[] {
  const sole = soleUser(mounts, path);
  const letsIn =
    sole && `; it is on ${sole.mount}, which lets in nobody but the user ${sole.uid}, not even root`;
  const forUser = `let the user ${user.user}, who alone acts with qemu:///session, search the directories above it; or use qemu:///system`;
  const other = "see whether its file system, or one above it, still answers; or share another directory";
  return refuse(
    "sourceUnreadable",
    `${path} cannot be looked at: ${why}${letsIn ?? ""}`,
    sole ? allowOther : session ? forUser : other,
  );
}

const allowOther = "mount that with -o allow_other, or share another directory";

/** Of a FUSE mount without `allow_other`, whom alone it lets in (Linux 6.1 fs/fuse/dir.c `fuse_allow_current_process`). */
function soleUser(
  mounts: readonly Mount[],
  path: string,
): { readonly mount: string; readonly uid: number } | undefined {
  const mount = mountHolding(mounts, path);
  if (!mount || !/^fuse(blk)?($|\.)/.test(mount.type) || mount.superOptions.includes("allow_other"))
    return undefined;
  const uid = mount.superOptions.find((option) => option.startsWith("user_id="))?.slice("user_id=".length);
  return uid === undefined
    ? undefined
    : { mount: `${mount.mountPoint} (${mount.type} of ${mount.source})`, uid: Number(uid) };
}

/** With libvirt's session: what is to be changed is that user's, or it cannot be changed. */
export function notOwned(want: DirectoryWant, seen: DirectorySeen, owner: Owner): Refusal[] {
  const { path } = want;
  const { user, group, groups } = seen.user;
  const { entry } = seen;
  if (!want.session || user === "0") return [];
  const mayNot = (what: string, remedy: string): Refusal[] =>
    refuse(
      "sourceNotOwned",
      `${what}, and qemu:///session acts as the user ${user} alone, who may not`,
      `as root: ${remedy}; or share a directory of that user`,
    );
  if (!entry) {
    const parent = seen.parents[0];
    // An access list may let the user.
    if (!parent || parent.acl || (rightsOf(parent, Number(user), groups) & 3) === 3) return [];
    return mayNot(
      `${path} is to be made in ${parent.path}, which is ${ownedText(parent)}`,
      `mkdir ${path} && chown ${user}:${group} ${path}`,
    );
  }
  const to = becoming(want, entry, owner);
  const may =
    entry.uid === Number(user)
      ? to.uid === entry.uid && (to.gid === entry.gid || groups.includes(String(to.gid)))
      : ownedText(to) === ownedText(entry);
  if (may) return [];
  const chmod = to.mode === entry.mode ? "" : ` && chmod ${formatOctalMode(to.mode)} ${path}`;
  return mayNot(
    `${path} is ${ownedText(entry)} and is to be ${ownedText(to)}`,
    `chown ${to.uid}:${to.gid} ${path}${chmod}`,
  );
}

/**
 * Another path to the same directory has a share, or is about to get one. Each would have a record of its own, and the
 * later one would take for the directory's own what the other share made of it.
 */
export function aliases(want: DirectoryWant, seen: DirectorySeen, others: readonly string[]): Refusal[] {
  const trees = new DirectoryTrees(seen.mounts);
  const other = [...seen.records.map(({ identity }) => identity), ...others].find(
    (path) => path !== want.path && trees.isSame(path, want.path),
  );
  if (other === undefined) return [];
  return refuse(
    "sourceIsLink",
    `${want.path} is ${other} by another path, through a mount, and a share has it under that one`,
    `give source as "${other}" here too`,
  );
}

/** Whether a share changes whose its directory and what is in it are. */
export function changesOwners({ owner, group, mode, recursive, links }: DirectoryWant): boolean {
  return [owner, group, mode].some((one) => one !== undefined) || recursive === true || links === "map";
}

/** The directory above that another share has taken over, with all in it; undefined: none. */
export function takenAround(seen: Pick<DirectorySeen, "takenAround" | "records">): string | undefined {
  return seen.takenAround.find((above) => seen.records.some(({ identity }) => identity === above));
}

/** A share in a tree that another one took over would take from it what its guest uses, and find what that one made of it. */
export function inTaken(want: DirectoryWant, seen: DirectorySeen): Refusal[] {
  const outer = takenAround(seen);
  if (outer === undefined || !changesOwners(want)) return [];
  return refuse(
    "treeOfOthers",
    `${want.path} lies in ${outer}, which another share has taken over with all in it; this share would change its owners`,
    `write readOnly: true, and no directory.owner, group or mode; or share a directory outside of ${outer}`,
  );
}

/** The same, seen from the larger one. */
export function sharesInside(want: DirectoryWant, seen: DirectorySeen): Refusal[] {
  const { changedInside } = seen;
  if (seen.treeRemembered || changedInside.length === 0) return [];
  return refuse(
    "treeOfOthers",
    `${want.path} holds ${changedInside.slice(0, 5).join(", ")}${changedInside.length > 5 ? ", ..." : ""}, of which other shares have changed the owners; this share would take them from those`,
    `destroy those shares, or write directory.recursive: false`,
  );
}

/** Can QEMU get there and work there? */
export function reachable(want: DirectoryWant, seen: DirectorySeen): Refusal[] {
  const qemu = qemuUser(want, seen);
  // An access list may let it through, and the group bits are then its mask: left to QEMU.
  const isShut = (parent: DirectorySeen["parents"][number]): boolean =>
    qemu !== undefined && !parent.acl && (rightsOf(parent, qemu.uid, [qemu.group]) & 1) === 0;
  const shut = qemu?.uid === 0 ? undefined : seen.parents.find(isShut);
  const sole = soleUser(seen.mounts, want.path);
  return [
    ...(qemu && shut
      ? refuse(
          "parentNotSearchable",
          `QEMU (uid ${qemu.uid}) cannot pass ${shut.path}: mode ${formatOctalMode(shut.mode)}, owner ${shut.uid}:${shut.gid}`,
          `chmod o+x ${shut.path}, or setfacl -m u:${qemu.uid}:x ${shut.path}, or share a directory elsewhere`,
        )
      : []),
    ...(qemu && sole && sole.uid !== qemu.uid
      ? refuse(
          "sourceUnreadable",
          `QEMU (uid ${qemu.uid}) cannot look at ${want.path}: it is on ${sole.mount}, which lets in nobody but the user ${sole.uid}`,
          allowOther,
        )
      : []),
    ...(want.mapped && seen.attributes === "unsupported"
      ? refuse(
          "noUserAttributes",
          `the file system of ${want.path} takes no user attributes, in which accessMode mapped keeps owners and modes`,
          "share from ext4, xfs or btrfs, or use another accessMode",
        )
      : []),
  ];
}

/**
 * What comes of a share that is not mapped, by whom its QEMU runs as: seen with QEMU 7.2, docs/access-modes.md.
 *
 * QEMU gives each file that the guest makes to the guest's user, which only root may do (hw/9pfs/9p-local.c
 * `local_set_cred_passthrough`); `squash` goes on where that fails.
 */
export function unmappedDangers(want: DirectoryWant, seen: DirectorySeen): string | undefined {
  const qemu = qemuUser(want, seen);
  if (want.mapped || want.readOnly || !qemu) return undefined;
  if (qemu.uid !== 0) {
    return want.accessMode === "passthrough"
      ? `with accessMode passthrough the guest can make nothing in ${want.path}: QEMU (uid ${qemu.uid}) may not give files to the guest's users; use mapped, or squash`
      : undefined;
  }
  if (mountHolding(seen.mounts, want.path)?.mountOptions.includes("nosuid") === true) return undefined;
  return `QEMU runs as root, so with accessMode ${want.accessMode} the guest can make files in ${want.path} that run as root on this host: mount it nosuid there, or use mapped`;
}

/** Of a share whose QEMU could not use what the guest is to use: by owner, group and mode as they will be. */
export function unusableForQemu(want: DirectoryWant, seen: DirectorySeen, owner: Owner): string | undefined {
  const qemu = qemuUser(want, seen);
  // An access list may let it; what else the user of a name is in is not known.
  if (!qemu || qemu.uid === 0 || seen.groupRights !== undefined) return undefined;
  const to = becoming(want, seen.entry ?? { uid: 0, gid: 0, mode: createdMode }, owner);
  // With passthrough it is said already that it can make nothing.
  const reads = want.readOnly || want.accessMode === "passthrough";
  const lacks = (reads ? 5 : 7) & ~rightsOf(to, qemu.uid, [qemu.group]);
  return lacks === 0
    ? undefined
    : `QEMU (uid ${qemu.uid}, gid ${qemu.group}) may not ${reads ? "read" : "write to"} ${want.path}, which is ${ownedText(to)}, and so the guest cannot: directory.owner: "qemu" gives it to QEMU`;
}

/** QEMU warns of it in its own log alone (hw/9pfs/9p.c `stat_to_qid`, 7.2). */
export function collidingInodes(want: DirectoryWant, { tree, mounts }: DirectorySeen): string | undefined {
  const device = mountHolding(mounts, want.path)?.device;
  const { count, names } = tree.otherFileSystems;
  const subvolumes = names.filter((name) => !mountAt(mounts, `${want.path}/${name}`));
  const mounted = mountsBelow(mounts, want.path).filter((mount) => mount.device !== device);
  const others = [...mounted.map(({ mountPoint }) => posix.relative(want.path, mountPoint)), ...subvolumes];
  const left = others.length + count - names.length;
  return want.multidevs !== "default" || left <= 0
    ? undefined
    : `other file systems begin in ${want.path} (${others.join(", ")}${left > others.length ? ", ..." : ""}), and QEMU may give the guest one inode number for two files of them: multidevs: "remap" tells them apart`;
}

/** A plan that changes something is none where the file system, or a mount of it, takes no change. */
export function orUnwritable({ path }: DirectoryWant, { mounts }: Mounted, plan: Plan): Plan {
  const mount = mountHolding(mounts, path);
  if (plan.steps.length === 0 || !mount) return plan;
  if (![...mount.mountOptions, ...mount.superOptions].includes("ro")) return plan;
  return {
    ...plan,
    steps: [],
    refuse: refuse(
      "fileSystemReadOnly",
      `${path} has to be changed, and ${mount.mountPoint}, which it is on, is mounted read-only`,
      `mount -o remount,rw ${mount.mountPoint}, or write the owner and the mode that ${path} has into the program`,
    ),
  };
}

/**
 * Owner and mode that this share does not manage, and that neither its last operation left nor a share makes: somebody
 * else's work. What first contact found comes back all the same, and whoever meant it is told.
 */
export function unmanagedChanges(
  old: DirectoryWant,
  before: Extract<DirectoryBefore, { created: false }>,
  seen: OwnerSeen,
  entry: Entry,
  stood: Stood | undefined,
): string[] {
  if (stood?.path !== old.path) return [];
  const { owner: qemu } = resolveOwner({ ...old, owner: "qemu", group: "qemu" }, seen);
  const mode = parseOctalMode(before.mode) ?? createdMode;
  const isForeign = (now: number, then: number | undefined, ...known: (number | undefined)[]): boolean =>
    then !== undefined && now !== then && !known.includes(now);
  const ofOwner =
    (old.owner === undefined && isForeign(entry.uid, stood.uid, before.uid, qemu.uid)) ||
    (old.group === undefined && isForeign(entry.gid, stood.gid, before.gid, qemu.gid));
  const ofMode = old.mode === undefined && isForeign(entry.mode, stood.mode, mode, mode | 0o700);
  const told = (now: string, then: string): string =>
    `${old.path} had ${now}, which this share did not set; it gets ${then} back, as first contact found it (directory.onDelete: leave would keep it)`;
  return [
    ...(ofOwner ? [told(`owner ${entry.uid}:${entry.gid}`, `${before.uid}:${before.gid}`)] : []),
    ...(ofMode ? [told(`mode ${formatOctalMode(entry.mode)}`, before.mode)] : []),
  ];
}
