import { mountHolding } from "../../formats/mountinfo";
import type { Entry } from "../shared/directory-entry";
import { isLasting } from "../shared/lasting-inodes";
import type { DirectorySeen } from "./probes";
import { treeAt, type TreeAt } from "../shared/tree-at";

/** By what a share's directory is known again. Pure. */

/** The directory that is meant: one that we make has no identity yet. */
export type DirectoryAt = Pick<TreeAt, "path"> & Partial<TreeAt>;

export type Mounted = Pick<DirectorySeen, "mounts">;

/** What was written down of a directory; what an earlier release wrote has no file system. */
export type KnownBy = {
  readonly inode: string;
  readonly born: string;
  /** Sample: `{"type": "fuse.sshfs", "source": "alice@nas:/data"}`. */
  readonly fileSystem?: { readonly type: string; readonly source: string };
};

/** What is written down of it, to know it by. */
export function knownBy(path: string, { inode, born }: Entry, { mounts }: Mounted): KnownBy {
  const mount = mountHolding(mounts, path);
  return { inode, born, ...(mount && { fileSystem: { type: mount.type, source: mount.source } }) };
}

/**
 * By inode and birth, not by device number: that may be another one after the host's next boot. Where those do not last,
 * by its path and what is mounted there.
 */
export function isSame(path: string, entry: Entry, { mounts }: Mounted, before: KnownBy): boolean {
  if (hasInodeOf(entry, before)) return true;
  const mount = mountHolding(mounts, path);
  if (!mount || isLasting(mount, entry.born)) return false;
  if (before.fileSystem === undefined) return true;
  const { type, source } = before.fileSystem;
  // A disk may have another name after the next boot: /dev/sdb1, /dev/sdc1.
  const areDisks = [source, mount.source].every((name) => name.startsWith("/dev/"));
  return mount.type === type && (mount.source === source || areDisks);
}

/** What an earlier release wrote down has the birth in whole seconds. */
export function hasInodeOf(entry: Entry, before: KnownBy): boolean {
  const [now, then] = [`${entry.born}.`, `${before.born}.`];
  return entry.inode === before.inode && (now.startsWith(then) || then.startsWith(now));
}

/**
 * For a step: the directory that was looked at, or where its inode may be another by then, the one at its path. Of an
 * overlay the inode stays as long as it is mounted.
 */
export function directoryAt(path: string, entry: Entry, { mounts }: Mounted): DirectoryAt {
  const mount = mountHolding(mounts, path);
  return isLasting(mount, entry.born) || mount?.type === "overlay" ? treeAt(path, entry) : { path };
}

/** What a person should know at first contact. */
export function unlasting(path: string, { entry, mounts }: DirectorySeen): string | undefined {
  const mount = mountHolding(mounts, path);
  return !entry || !mount || isLasting(mount, entry.born)
    ? undefined
    : `${path} is on ${mount.type} (${mount.source}), where inode or birth of a directory change: it is known again by its path and by that mount alone, and another directory in its place is taken for it`;
}
