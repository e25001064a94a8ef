import { type Script, sh } from "./sh";

/**
 * What stat(1) prints of an entry to know it by: its inode, and the time of its birth, which a file that takes the same
 * inode later has not (`%W`: coreutils 8.31, Linux 4.11; 0 where the file system does not tell).
 */
export const identityFormat = "%i:%.9W";

/**
 * Prints what a directory is that another file system begins at: the file system, inode, time of birth. Sample:
 * `3f1c8a6b4d2e9071:256:1763877000.123456789`.
 *
 * A snapshot of btrfs has inodes and times of its original, and an id of its own; other file systems have one that is not
 * the same after the next start of the machine (f_fsid: statfs(2) of man-pages 6.03), and that is left out: `-`.
 */
export function nestedIdentity(directory: Script): Script {
  return sh`case $(stat -f -c %T -- ${directory}) in (btrfs | ext2/ext3) stat -f -c %i -- ${directory} ;; (*) echo - ;; esac | tr "\n" :
stat -c ${identityFormat} -- ${directory}`;
}
