import type { Refusal } from "../engine/concern";
import { DirectoryTrees } from "../formats/directory-tree";
import { mountHolding } from "../formats/mountinfo";
import { formatOctalMode, parseOctalMode } from "../formats/octal-mode";
import {
  type DirectoryBefore,
  type DirectorySeen,
  type DirectoryWant,
  type Entry,
  type ForeignRecord,
  type Stood,
  takesAll,
} from "./directory-facts";
import { takenIn, unnestable } from "./nested-trees";
import { hasLinks, type Named } from "./tree-facts";

/** Whose a share's directory is to be, and everything for which it is refused. Pure. */

/** Permission bits of a directory that we make, when the program gives none. */
export const createdMode = 0o755;

/** Owner and group as numbers; undefined: untouched, or not known. */
export interface Owner {
  readonly uid: number | undefined;
  readonly gid: number | undefined;
}

/** The numbers of owner and group; `qemu` is whoever the domain's QEMU runs as. Undefined: untouched, or not known. */
export function resolveOwner(
  want: Pick<DirectoryWant, "owner" | "group" | "session">,
  seen: Pick<DirectorySeen, "live" | "persistent" | "baselabels" | "principals" | "user">,
): { owner: Owner; refuse: Refusal[] } {
  const refuse: Refusal[] = [];
  const label = qemuLabel(want, seen);
  const number = (name: string | undefined, database: "passwd" | "group"): number | undefined => {
    if (name === undefined) return undefined;
    const text = name !== "qemu" ? name : database === "passwd" ? label?.user : label?.group;
    if (text !== undefined && /^\d+$/.test(text)) return Number(text);
    const id = text === undefined ? undefined : seen.principals[`${database} ${text}`];
    if (id === undefined && seen.persistent) {
      refuse.push({
        code: "unknownUser",
        what:
          name === "qemu"
            ? `libvirt does not say by number whom it runs the domain's QEMU as${text === undefined ? "" : ` (it says "${text}")`}`
            : `there is no ${database === "passwd" ? "user" : "group"} ${name}`,
        remedy: `give directory.${database === "passwd" ? "owner" : "group"} as a number`,
      });
    }
    return id;
  };
  return { owner: { uid: number(want.owner, "passwd"), gid: number(want.group, "group") }, refuse };
}

/** A running QEMU's own label; else what the definition asks for; else what libvirt gives by default. */
function qemuLabel(
  want: Pick<DirectoryWant, "session">,
  seen: Pick<DirectorySeen, "live" | "persistent" | "baselabels" | "user">,
) {
  if (want.session) return seen.user;
  const domain = seen.live ?? seen.persistent;
  return seen.live?.dacLabel ?? seen.persistent?.dacLabel ?? (domain && seen.baselabels(domain.type));
}

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
    return [
      {
        code: "sourceIsLink",
        what: `${want.path} leads through a link to ${realPath}`,
        remedy: `give source as "${realPath}"`,
      },
    ];
  }
  if (!entry) {
    if (stood ?? (recorded && !recorded.created)) {
      return [
        {
          code: "sourceVanished",
          what: `${want.path} was there ${stood ? "after the last operation" : `at first contact${holders}`} and is not now`,
          remedy:
            "mount its file system, or put the directory back; it is not made anew, for that would hide the loss (if it was meant: pulumi up --replace)",
        },
      ];
    }
    const parent = seen.parents[0];
    const above = want.path.slice(0, want.path.lastIndexOf("/")) || "/";
    if (want.create && parent?.path === above && parent.kind === "directory") return [];
    return [
      {
        code: "sourceMissing",
        what: `${want.path} is not there${want.create ? ", nor the directory that it is in" : ""}`,
        remedy: want.create
          ? "make its parent: only the last component is made"
          : "make it, or set directory.create",
      },
    ];
  }
  if (entry.kind !== "directory") {
    return [
      { code: "sourceNotDirectory", what: `${want.path} is not a directory`, remedy: "share a directory" },
    ];
  }
  const then = recorded && !recorded.created ? recorded : stood;
  if (then && !isSame(entry, then)) {
    return [
      {
        code: "sourceMoved",
        what: `${want.path} is not the directory that it was: inode ${entry.inode} made at ${entry.born}, it was ${then.inode} made at ${then.born}${holders && ` at first contact${holders}`}`,
        remedy: foreign
          ? "mount the file system that it was on; if the change was meant, destroy those shares, and where nothing is left of them to destroy remove the record that names it in /var/lib/virtio9p/host"
          : "mount the file system that it was on; if the change was meant, destroy the share and create it again",
      },
    ];
  }
  return [];
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
  return [
    {
      code: "sourceIsLink",
      what: `${want.path} is ${other} by another path, through a mount, and a share has it under that one`,
      remedy: `give source as "${other}" here too`,
    },
  ];
}

/**
 * By inode and birth, not by device number: that may be another one after the host's next boot. What an earlier release
 * wrote down has the birth in whole seconds.
 */
export function isSame(entry: Entry, before: { readonly inode: string; readonly born: string }): boolean {
  const [now, then] = [entry.born.split("."), before.born.split(".")];
  const whole = now.length === 1 || then.length === 1;
  return entry.inode === before.inode && now[0] === then[0] && (whole || now[1] === then[1]);
}

/** The paths of all directories that shares have. */
export function recordedPaths({ records }: Pick<DirectorySeen, "records">): readonly string[] {
  return records.map(({ identity }) => identity);
}

/** Can QEMU get there and work there? */
export function reachable(
  want: DirectoryWant,
  seen: DirectorySeen,
  owner: Owner,
  before: DirectoryBefore | undefined,
): Refusal[] {
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
  if (want.mapped && seen.attributes === "unsupported") {
    refuse.push({
      code: "noUserAttributes",
      what: `the file system of ${want.path} takes no user attributes, in which accessMode mapped keeps owners and modes`,
      remedy: "share from ext4, xfs or btrfs, or use another accessMode",
    });
  }
  const others = strangers(want, seen, owner.uid);
  if (before === undefined && want.recursive === undefined && others !== undefined) {
    refuse.push({
      code: "treeOfOthers",
      what: `${want.path} holds entries of other owners: ${others}`,
      remedy: `write directory.recursive: true to take all of it over${want.keepOwners ? ", whose owners the guest goes on seeing, and which destroy gives back" : ""}; or false to take only the directory itself`,
    });
  }
  return refuse;
}

/** Links that were made on the host, which a guest of a mapped share cannot read: how many. */
export function unreadableLinks(want: DirectoryWant, { tree }: DirectorySeen): string[] {
  const links = tree.entries.filter(({ kind }) => kind === "link").reduce((sum, { count }) => sum + count, 0);
  if (!want.mapped || want.links === "map" || links === 0) return [];
  return [
    `${links} symbolic links in ${want.path} were made on the host: with accessMode mapped a guest sees them, and can neither read nor follow them (directory.links: map changes that)`,
  ];
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

/** What is to be changed lies on a file system, or under a mount, that takes no change. */
export function unwritable({ path }: DirectoryWant, { mounts }: DirectorySeen): Refusal[] {
  const mount = mountHolding(mounts, path);
  const isReadOnly = [...(mount?.mountOptions ?? []), ...(mount?.superOptions ?? [])].includes("ro");
  if (!mount || !isReadOnly) return [];
  return [
    {
      code: "fileSystemReadOnly",
      what: `${path} has to be changed, and ${mount.mountPoint}, which it is on, is mounted read-only`,
      remedy: `mount -o remount,rw ${mount.mountPoint}, or write the owner and the mode that ${path} has into the program`,
    },
  ];
}

/** Whether there is something in the tree that is to be taken over and is not, or not to the end. */
export function isToBeTaken(want: DirectoryWant, seen: DirectorySeen, owner: Owner): boolean {
  if (want.recursive !== true) return false;
  const unlike = seen.tree.entries.some(
    ({ kind, uid, gid, open }) =>
      (kind === "directory" || kind === "file") &&
      ((owner.uid !== undefined && uid !== owner.uid) ||
        (owner.gid !== undefined && gid !== owner.gid) ||
        (want.mapped && owner.uid !== undefined && !open)),
  );
  const unseen =
    (seen.treeRemembered && !seen.viewKept) ||
    (takesAll(want) && takenIn(seen).some(({ roots, taken }) => roots.length > 0 && !taken.viewKept));
  return unlike || (want.keepOwners && unseen);
}

/** Whether there are links of the host's that are to be made readable for the guest. */
export function isToBeMapped(want: DirectoryWant, { tree }: DirectorySeen): boolean {
  return want.links === "map" && hasLinks(tree);
}

/** What cannot be taken over, or not without a loss. */
export function untakeable(want: DirectoryWant, seen: DirectorySeen): Refusal[] {
  const { tree, entry, mounts } = seen;
  const refuse: Refusal[] = [];
  const say = ({ count, names }: Named, code: Refusal["code"], what: string, remedy: string): void => {
    const shown = `${count}: ${names.join(", ")}${count > names.length ? ", ..." : ""}`;
    if (count > 0) refuse.push({ code, what: `${what} (${shown})`, remedy });
  };
  const inside = mounts
    .map(({ mountPoint }) => mountPoint)
    .filter((mountPoint) => mountPoint.startsWith(`${want.path}/`))
    .map((mountPoint) => mountPoint.slice(want.path.length + 1));
  const others = [...new Set([...inside, ...tree.otherFileSystems.names])];
  if (want.session) {
    refuse.push({
      code: "treeOfOthers",
      what: `${want.path} holds what is not the connecting user's, who alone is asked with qemu:///session`,
      remedy: "give it to that user by hand, or write directory.recursive: false",
    });
  }
  const isOverlay = mountHolding(mounts, want.path)?.type === "overlay";
  if ((entry && !(Number(entry.born) > 0)) || isOverlay) {
    refuse.push({
      code: "treeWithoutBirth",
      what: isOverlay
        ? `${want.path} is on an overlay, which gives a file another inode when its owner changes: what it had could not be found again`
        : `the file system of ${want.path} does not say when a file was made, and without that one that the guest makes could be taken for another that was there`,
      remedy: "share from ext4 with 256-byte inodes, xfs or btrfs, or write directory.recursive: false",
    });
  }
  if (want.privileged === "refuse") {
    say(
      tree.privileged,
      "treePrivileged",
      `${want.path} holds files with setuid or setgid`,
      "take them out, or write directory.privileged: strip: they lose that for good, for a guest could rewrite them",
    );
  }
  say(
    tree.linkedOut,
    "treeLinkedOut",
    `${want.path} holds files that have a name outside of it, too`,
    "copy them, or move the other name into it: whoever uses it there would find another owner",
  );
  // chown(1) cannot be kept from going on in a subvolume.
  if (takesAll(want)) {
    refuse.push(...unnestable(want.path, { ...seen, recorded: recordedPaths(seen) }, want.mapped));
  } else if (want.otherFileSystems === "refuse" || (want.mapped && !want.keepOwners)) {
    say(
      { count: Math.max(others.length, tree.otherFileSystems.count), names: others.slice(0, 5) },
      "treeOfFileSystems",
      `other file systems, mounts or subvolumes begin in ${want.path}`,
      "write directory.otherFileSystems: take, which takes them over too; or leave (with keepOwners); or directory.recursive: false",
    );
  }
  say(
    tree.tooDeep,
    "treeTooDeep",
    `${want.path} holds paths that are too long for a command`,
    "move what is there up, or write directory.recursive: false",
  );
  return refuse;
}

/** Who but the wanted owner has entries in the tree, sample: `12 of root (0), 1 of alice (1000)`; undefined: nobody. */
export function strangers(
  want: DirectoryWant,
  seen: DirectorySeen,
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

/**
 * Of what this share does not manage, what is not as its last operation left it, nor as a share makes it: another
 * share's work or a person's, which cannot be told apart. What first contact found comes back all the same, and
 * whoever meant it is told.
 */
export function unmanagedChanges(
  old: DirectoryWant,
  before: Extract<DirectoryBefore, { created: false }>,
  seen: DirectorySeen,
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

/** A name where the host has one (stat(1) says UNKNOWN, find(1) the number), else the number. */
export function named(name: string, id: number): string {
  return name === "UNKNOWN" || name === "" ? String(id) : name;
}
