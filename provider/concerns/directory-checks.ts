import { type Refusal, type Step, refuse } from "../engine/concern";
import { DirectoryTrees } from "../formats/directory-tree";
import { type Mount, mountHolding } from "../formats/mountinfo";
import { formatOctalMode, parseOctalMode } from "../formats/octal-mode";
import type {
  DirectoryBefore,
  DirectorySeen,
  DirectoryWant,
  Entry,
  ForeignRecord,
  Stood,
} from "./directory-facts";
import { type FileSystem, fileSystemOf, isSame, type KnownBy } from "./directory-identity";
import { createdMode, type Owner, type OwnerSeen, qemuLabel, resolveOwner } from "./directory-owner";

/** Everything for which a share's directory is refused. Pure. */

/** Is the directory there, and the one that it was at first contact, or when we last saw it? */
export function standing(
  want: DirectoryWant,
  seen: DirectorySeen,
  before: DirectoryBefore | undefined,
  stood: Stood | undefined,
  others?: ForeignRecord,
): Refusal[] {
  const { entry, realPath } = seen;
  const foreign = others?.before.created === false ? others : undefined;
  const recorded = before ?? foreign?.before;
  const holders = foreign ? ` of ${foreign.holders.join(", ")}` : "";
  if (realPath !== want.path) {
    return refuse(
      "sourceIsLink",
      `${want.path} leads through a link to ${realPath}`,
      `give source as "${realPath}"`,
    );
  }
  if (seen.unreadable !== undefined) return [unreadableSource(want, seen, seen.unreadable)];
  if (!entry) {
    if (stood ?? (recorded && !recorded.created)) {
      return refuse(
        "sourceVanished",
        `${want.path} was there ${stood ? "after the last operation" : `at first contact${holders}`} and is not now`,
        "mount its file system, or put the directory back; it is not made anew, for that would hide the loss (if it was meant: pulumi up --replace)",
      );
    }
    const parent = seen.parents[0];
    const above = want.path.slice(0, want.path.lastIndexOf("/")) || "/";
    if (want.create && parent?.path === above && parent.kind === "directory") return [];
    return refuse(
      "sourceMissing",
      `${want.path} is not there${want.create ? ", nor the directory that it is in" : ""}`,
      want.create ? "make its parent: only the last component is made" : "make it, or set directory.create",
    );
  }
  if (entry.kind !== "directory") {
    return refuse("sourceNotDirectory", `${want.path} is not a directory`, "share a directory");
  }
  const then = recorded && !recorded.created ? recorded : stood;
  if (then && !isSame(want.path, entry, seen, then)) {
    return refuse(
      "sourceMoved",
      `${want.path} is not the directory that it was: ${identityText(entry, fileSystemOf(seen, want.path).fileSystem)}, it was ${identityText(then, then.fileSystem)}${holders && ` at first contact${holders}`}`,
      foreign
        ? "mount the file system that it was on; if the change was meant, destroy those shares, and where nothing is left of them to destroy remove the record that names it in /var/lib/virtio9p/host"
        : "mount the file system that it was on; if the change was meant, destroy the share and create it again",
    );
  }
  return [];
}

function unreadableSource(
  { path, session }: DirectoryWant,
  { mounts, user }: DirectorySeen,
  why: string,
): Refusal {
  const owner = soleUser(mountHolding(mounts, path));
  const what = `${path} cannot be looked at: ${why}`;
  if (owner !== undefined) {
    return {
      code: "sourceUnreadable",
      what: `${what}; it is on ${owner.mount}, which lets in nobody but the user ${owner.uid}, not even root`,
      remedy: "mount that with -o allow_other, or share another directory",
    };
  }
  return {
    code: "sourceUnreadable",
    what,
    remedy: session
      ? `let the user ${user.user}, who alone acts with qemu:///session, search the directories above it; or use qemu:///system`
      : "see whether its file system, or one above it, still answers; or share another directory",
  };
}

/** Of a FUSE mount without `allow_other`, whom alone it lets in (Linux 6.1 fs/fuse/dir.c `fuse_allow_current_process`). */
function soleUser(mount: Mount | undefined): { readonly mount: string; readonly uid: number } | undefined {
  if (!mount || !/^fuse(blk)?($|\.)/.test(mount.type) || mount.superOptions.includes("allow_other"))
    return undefined;
  const uid = mount.superOptions.find((option) => option.startsWith("user_id="))?.slice("user_id=".length);
  return uid === undefined
    ? undefined
    : { mount: `${mount.mountPoint} (${mount.type} of ${mount.source})`, uid: Number(uid) };
}

/** With libvirt's session: what is to be changed is that user's, or it cannot be changed. */
export function notOwned(want: DirectoryWant, seen: DirectorySeen, owner: Owner): Refusal[] {
  const { user, group, groups } = seen.user;
  const { entry } = seen;
  if (!want.session || user === "0") return [];
  const refuse = (what: string, remedy: string): Refusal[] => [
    {
      code: "sourceNotOwned",
      what: `${what}, and qemu:///session acts as the user ${user} alone, who may not`,
      remedy: `${remedy}; or share a directory of that user`,
    },
  ];
  if (!entry) {
    const parent = seen.parents[0];
    const bit = parent?.uid === Number(user) ? 0o300 : groups.includes(String(parent?.gid)) ? 0o030 : 0o003;
    // An access list may let the user.
    return !parent || parent.acl || (parent.mode & bit) === bit
      ? []
      : refuse(
          `${want.path} is to be made in ${parent.path}, which is ${parent.uid}:${parent.gid} ${formatOctalMode(parent.mode)}`,
          `as root: mkdir ${want.path} && chown ${user}:${group} ${want.path}`,
        );
  }
  const toOther = owner.uid !== undefined && owner.uid !== entry.uid;
  const toGroup = owner.gid !== undefined && owner.gid !== entry.gid;
  const toMode = want.mode !== undefined && want.mode !== entry.mode;
  const isOwn = entry.uid === Number(user);
  if (isOwn ? !toOther && !(toGroup && !groups.includes(String(owner.gid))) : !(toOther || toGroup || toMode))
    return [];
  return refuse(
    `${want.path} is ${entry.uid}:${entry.gid} ${formatOctalMode(entry.mode)} and is to be ${owner.uid ?? entry.uid}:${owner.gid ?? entry.gid} ${formatOctalMode(want.mode ?? entry.mode)}`,
    `as root: chown ${owner.uid ?? entry.uid}:${owner.gid ?? entry.gid} ${want.path}${toMode ? ` && chmod ${formatOctalMode(want.mode)} ${want.path}` : ""}`,
  );
}

function identityText({ inode, born }: KnownBy, fileSystem: FileSystem | undefined): string {
  const on = fileSystem === undefined ? "" : ` on ${fileSystem.type} of ${fileSystem.source}`;
  return `inode ${inode} made at ${born}${on}`;
}

/**
 * Has another path to the same directory a share, or is it about to get one?
 *
 * Each path would have a record of its own, and the one that was made last would take for the directory's
 * own what the other share made of it.
 */
export function aliases(
  want: DirectoryWant,
  seen: Pick<DirectorySeen, "mounts" | "records">,
  others: readonly string[],
): Refusal[] {
  const trees = new DirectoryTrees(seen.mounts);
  const other = [...recordedPaths(seen), ...others].find(
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
  return seen.takenAround.find((above) => recordedPaths(seen).includes(above));
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
export function sharesInside(
  want: DirectoryWant,
  { changedInside, treeRemembered }: DirectorySeen,
): Refusal[] {
  if (treeRemembered || changedInside.length === 0) return [];
  return refuse(
    "treeOfOthers",
    `${want.path} holds ${changedInside.slice(0, 5).join(", ")}${changedInside.length > 5 ? ", ..." : ""}, of which other shares have changed the owners; this share would take them from those`,
    `destroy those shares, or write directory.recursive: false`,
  );
}

/** The paths of all directories that shares have. */
export function recordedPaths({ records }: Pick<DirectorySeen, "records">): readonly string[] {
  return records.map(({ identity }) => identity);
}

/** Can QEMU get there and work there? */
export function reachable(want: DirectoryWant, seen: DirectorySeen): Refusal[] {
  const refuse: Refusal[] = [];
  const label = qemuLabel(want, seen);
  const qemu = label && /^\d+$/.test(label.user) && { uid: Number(label.user), gid: Number(label.group) };
  const shut =
    qemu && qemu.uid !== 0
      ? seen.parents.find((parent) => {
          const bit = parent.uid === qemu.uid ? 0o100 : parent.gid === qemu.gid ? 0o010 : 0o001;
          // An access list may let it through, and the group bits are then its mask: left to QEMU.
          return !parent.acl && (parent.mode & bit) === 0;
        })
      : undefined;
  if (shut && qemu) {
    refuse.push({
      code: "parentNotSearchable",
      what: `QEMU (uid ${qemu.uid}) cannot pass ${shut.path}: mode ${formatOctalMode(shut.mode)}, owner ${shut.uid}:${shut.gid}`,
      remedy: `chmod o+x ${shut.path}, or setfacl -m u:${qemu.uid}:x ${shut.path}, or share a directory elsewhere`,
    });
  }
  const only = soleUser(mountHolding(seen.mounts, want.path));
  if (qemu && only && only.uid !== qemu.uid) {
    refuse.push({
      code: "sourceUnreadable",
      what: `QEMU (uid ${qemu.uid}) cannot look at ${want.path}: it is on ${only.mount}, which lets in nobody but the user ${only.uid}`,
      remedy: "mount that with -o allow_other, or share another directory",
    });
  }
  if (want.mapped && seen.attributes === "unsupported") {
    refuse.push({
      code: "noUserAttributes",
      what: `the file system of ${want.path} takes no user attributes, in which accessMode mapped keeps owners and modes`,
      remedy: "share from ext4, xfs or btrfs, or use another accessMode",
    });
  }
  return refuse;
}

/**
 * What comes of a share that is not mapped, by whom its QEMU runs as: seen with QEMU 7.2, docs/access-modes.md.
 *
 * QEMU gives each file that the guest makes to the guest's user, which only root may do (hw/9pfs/9p-local.c
 * `local_set_cred_passthrough`); `squash` goes on where that fails.
 */
export function unmappedDangers(want: DirectoryWant, seen: DirectorySeen): string[] {
  const user = qemuLabel(want, seen)?.user;
  if (want.mapped || want.readOnly || user === undefined || !/^\d+$/.test(user)) return [];
  if (Number(user) !== 0) {
    return want.accessMode === "passthrough"
      ? [
          `with accessMode passthrough the guest can make nothing in ${want.path}: QEMU (uid ${user}) may not give files to the guest's users; use mapped, or squash`,
        ]
      : [];
  }
  const mount = mountHolding(seen.mounts, want.path);
  if (mount?.mountOptions.includes("nosuid") === true) return [];
  return [
    `QEMU runs as root, so with accessMode ${want.accessMode} the guest can make files in ${want.path} that run as root on this host: mount it nosuid there, or use mapped`,
  ];
}

/** Of a share whose QEMU could not use what the guest is to use: by owner, group and mode as they will be. */
export function unusableForQemu(want: DirectoryWant, seen: DirectorySeen, owner: Owner): string[] {
  const label = qemuLabel(want, seen);
  const { entry } = seen;
  // An access list may let it; what else the user of a name is in is not known.
  if (!label || !/^\d+$/.test(label.user) || label.user === "0" || seen.groupRights !== undefined) return [];
  const uid = owner.uid ?? entry?.uid ?? 0;
  const gid = owner.gid ?? entry?.gid ?? 0;
  const opened = owner.uid !== undefined && owner.uid !== entry?.uid && want.keepOwners ? 0o700 : 0;
  const mode = want.mode ?? (entry?.mode ?? createdMode) | opened;
  const rights = Number(label.user) === uid ? mode >> 6 : Number(label.group) === gid ? mode >> 3 : mode;
  // With passthrough it is said already that it can make nothing.
  const isRead = want.readOnly || want.accessMode === "passthrough";
  if ((rights & (isRead ? 5 : 7)) === (isRead ? 5 : 7)) return [];
  return [
    `QEMU (uid ${label.user}, gid ${label.group}) may not ${isRead ? "read" : "write to"} ${want.path}, which is ${uid}:${gid} ${formatOctalMode(mode)}, and so the guest cannot: directory.owner: "qemu" gives it to QEMU`,
  ];
}

/** QEMU warns of it in its own log alone (hw/9pfs/9p.c `stat_to_qid`, 7.2). */
export function collidingInodes(want: DirectoryWant, { tree, mounts }: DirectorySeen): string[] {
  if (want.multidevs !== "default") return [];
  const device = mountHolding(mounts, want.path)?.device;
  const isSameDevice = (name: string): boolean =>
    device !== undefined &&
    mountHolding(mounts, `${want.path}/${name}`)?.device === device &&
    mounts.some(({ mountPoint }) => mountPoint === `${want.path}/${name}`);
  const { count, names } = tree.otherFileSystems;
  const others = names.filter((name) => !isSameDevice(name));
  const left = count - (names.length - others.length);
  if (left <= 0) return [];
  return [
    `other file systems begin in ${want.path} (${others.join(", ")}${left > others.length ? ", ..." : ""}), and QEMU may give the guest one inode number for two files of them: multidevs: "remap" tells them apart`,
  ];
}

/** A plan that changes something is none where nothing can be changed. */
export function orUnwritable<
  P extends { readonly steps: readonly Step[]; readonly refuse?: readonly Refusal[] },
>(want: DirectoryWant, seen: Pick<DirectorySeen, "mounts">, plan: P): P {
  const refuse = plan.steps.length === 0 ? [] : unwritable(want, seen);
  return refuse.length === 0 ? plan : { ...plan, steps: [], refuse };
}

/** What is to be changed lies on a file system, or under a mount, that takes no change. */
function unwritable({ path }: DirectoryWant, { mounts }: Pick<DirectorySeen, "mounts">): Refusal[] {
  const mount = mountHolding(mounts, path);
  const isReadOnly = [...(mount?.mountOptions ?? []), ...(mount?.superOptions ?? [])].includes("ro");
  if (!mount || !isReadOnly) return [];
  return refuse(
    "fileSystemReadOnly",
    `${path} has to be changed, and ${mount.mountPoint}, which it is on, is mounted read-only`,
    `mount -o remount,rw ${mount.mountPoint}, or write the owner and the mode that ${path} has into the program`,
  );
}

/**
 * Of what this share does not manage, what is not as its last operation left it, nor as a share makes it: another
 * share's work or a person's, which cannot be told apart. What first contact found comes back all the same, and
 * whoever meant it is told.
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
  const changed = (now: number, then: number | undefined, ...known: (number | undefined)[]): boolean =>
    then !== undefined && now !== then && !known.includes(now);
  const owner =
    (old.owner === undefined && changed(entry.uid, stood.uid, before.uid, qemu.uid)) ||
    (old.group === undefined && changed(entry.gid, stood.gid, before.gid, qemu.gid));
  const what = [
    ...(owner ? [[`owner ${entry.uid}:${entry.gid}`, `${before.uid}:${before.gid}`] as const] : []),
    ...(old.mode === undefined && changed(entry.mode, stood.mode, mode, mode | 0o700)
      ? [[`mode ${formatOctalMode(entry.mode)}`, before.mode] as const]
      : []),
  ];
  return what.map(
    ([now, then]) =>
      `${old.path} had ${now}, which this share did not set; it gets ${then} back, as first contact found it (directory.onDelete: leave would keep it)`,
  );
}
