import type { Fact, SeenBy } from "../../engine/layer";
import { mountHolding } from "../../formats/mountinfo";
import { sh } from "../../remote/shell/sh";
import type { ShareSpec } from "../../spec/spec";
import { entryOf } from "./directory-entry";
import { isLasting } from "./lasting-inodes";
import { liveDomain } from "./domain";
import { isShareMountedAt, mountinfo } from "./guest";
import { hostMounts } from "./mounts";

/** Whether the root that a guest has mounted is the directory of the host, told by their inode numbers. */

/**
 * The inode number of a mounted share's root, sample: `804063`; or why the guest may not look at it, sample: `Permission
 * denied`. Undefined: the share is not mounted. Where QEMU does not answer, the limit of a section ends it.
 */
export function rootInodeOf(path: string, tag: string): Fact<string | undefined> {
  return {
    place: "guest",
    does: `look at the inode of ${path} (${tag})`,
    gathers: mountinfo,
    script: sh`if ${isShareMountedAt(path, tag)}; then stat -c %i -- ${path} 2>&1 || :; fi`,
    parse: (output) => (output.trim() === "" ? undefined : output.trim().replace(/^.*: /s, "")),
  };
}

/** A share with what its guest is to do with it. */
export type ShareInGuest = Pick<ShareSpec, "source" | "tag" | "readOnly"> & NonNullable<ShareSpec["guest"]>;

/** Undefined: the guest is left alone. */
export function inGuest({ source, tag, readOnly, guest }: ShareSpec): ShareInGuest | undefined {
  return guest && { source, tag, readOnly, ...guest };
}

type Shared = Pick<ShareInGuest, "source" | "tag" | "mountPoint">;

/** What is asked of a share's directory, on both machines. */
export const rootFacts = ({ source, tag, mountPoint }: Shared) => ({
  entry: entryOf(source),
  hostMounts,
  live: liveDomain,
  rootInode: rootInodeOf(mountPoint, tag),
});

/** What is seen of it; what is undefined could not be looked at. */
export type RootSeen = SeenBy<ReturnType<typeof rootFacts>, never>;

/** Whether the running QEMU has a 9p device of this tag. */
export function isLive({ tag }: Pick<Shared, "tag">, { live }: Pick<RootSeen, "live">): boolean {
  return live?.devices9p.some((device) => device.tag === tag) === true;
}

/**
 * The inode numbers that the root of a share can have in the guest; undefined: the host's number says nothing of it.
 *
 * QEMU gives the number of the host as the path of the qid, unless `multidevs` is `remap` (`stat_to_qid` of
 * hw/9pfs/9p.c, QEMU 4.2 to 9.2). Linux adds 2 to it, and where its own numbers have 32 bits it folds the halves: the
 * upper one of the sum (`v9fs_qid2ino` of fs/9p/vfs_inode.c, Linux 2.6.14 to 6.8), or that of the number (`QID2INO` of
 * fs/9p/v9fs_vfs.h since 6.9). Seen with Linux 6.1 and QEMU 7.2: 804061 on the host, 804063 in the guest.
 */
export function inodesInGuest(
  { source, tag }: Pick<Shared, "source" | "tag">,
  { entry, hostMounts, live }: RootSeen,
): readonly string[] | undefined {
  if (entry?.kind !== "directory" || !hostMounts) return undefined;
  if (!isLasting(mountHolding(hostMounts, source), entry.born)) return undefined;
  const device = live?.devices9p.find((one) => one.tag === tag);
  // A former device with another directory is what a power cycle waits for.
  if (device && (device.multidevs === "remap" || device.source !== source)) return undefined;
  const inode = BigInt(entry.inode);
  const path = BigInt.asUintN(64, inode + 2n);
  const folded = [path ^ (path >> 32n), path ^ (inode >> 32n)].map((one) => BigInt.asUintN(32, one));
  return [...new Set([path, ...folded].map(String))];
}

/** That the guest may not look at its root, in the operator's words; undefined: it may, or does not have it mounted. */
export function shutRoot(mountPoint: string, { rootInode }: RootSeen): string | undefined {
  if (rootInode === undefined || isNumber(rootInode)) return undefined;
  return `the guest cannot look at ${mountPoint}: ${rootInode}`;
}

const isNumber = (rootInode: string): boolean => /^\d+$/.test(rootInode);

/** How the guest's root is another directory than the host's, in the operator's words; undefined: nothing says that it is. */
export function otherRoot(share: Shared, seen: RootSeen): string | undefined {
  const { rootInode, entry } = seen;
  const wanted = inodesInGuest(share, seen);
  if (rootInode === undefined || !isNumber(rootInode) || !wanted || wanted.includes(rootInode))
    return undefined;
  return `the guest has another directory under the tag ${share.tag} on ${share.mountPoint}: its inode on the host is ${BigInt(rootInode) - 2n}, and that of ${share.source} is ${entry?.inode ?? ""}; QEMU got it before ${share.source} was made anew, or a device of <qemu:commandline> has the tag`;
}
