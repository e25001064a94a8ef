import type { Refusal } from "../engine/concern";
import { DirectoryTrees } from "../formats/directory-tree";
import { formatOctalMode, parseOctalMode } from "../formats/octal-mode";
import type {
  DirectoryBefore,
  DirectorySeen,
  DirectoryWant,
  Entry,
  ForeignRecord,
  Stood,
} from "./directory-facts";

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
  seen: Pick<DirectorySeen, "mounts" | "recorded">,
  others: readonly string[],
): Refusal[] {
  const trees = new DirectoryTrees(seen.mounts);
  const other = [...seen.recorded, ...others].find(
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

/** By inode and birth, not by device number: that may be another one after the host's next boot. */
export function isSame(entry: Entry, before: { readonly inode: string; readonly born: string }): boolean {
  return entry.inode === before.inode && entry.born === before.born;
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
  if (before === undefined && want.recursive !== false && others !== undefined) {
    refuse.push({
      code: "treeOfOthers",
      what: `${want.path} holds entries of other owners: ${others}`,
      remedy:
        "write directory.recursive: false to take only the directory itself; taking a tree over with its owners kept is not available in this release",
    });
  }
  return refuse;
}

/** Who but the wanted owner has entries in the tree, sample: `12 of root (0), 1 of alice (1000)`; undefined: nobody. */
export function strangers(
  want: DirectoryWant,
  seen: DirectorySeen,
  uid: number | undefined,
): string | undefined {
  const others = uid === undefined || !want.mapped ? [] : seen.owners.filter((one) => one.uid !== uid);
  const counts = others.slice(0, 8).map((one) => `${one.count} of ${named(one.user, one.uid)} (${one.uid})`);
  return others.length === 0 ? undefined : counts.join(", ") + (others.length > 8 ? ", ..." : "");
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
