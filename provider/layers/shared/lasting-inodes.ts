import type { Mount } from "../../formats/mountinfo";

/** Which file systems keep the inodes of their entries. Pure. */

/**
 * Their inodes are made up as entries are looked up (FUSE, vfat, exfat), so that they are others after a remount; an
 * overlay gives a directory another time of birth with its first change (Linux 6.1 Documentation/filesystems/vfat.rst,
 * overlayfs.rst; libfuse 3.14 `use_ino`).
 */
const changing = /^(?:fuse(?:blk)?(?:\..*)?|overlay|aufs|vfat|msdos|exfat)$/;

/** These keep their inodes; some of them, or older formats of them, tell no time of birth. */
const lasting =
  /^(?:ext[234]|xfs|btrfs|bcachefs|f2fs|jfs|nilfs2|reiserfs|zfs|ocfs2|gfs2|lustre|ceph|nfs4?|9p|virtiofs|ntfs3?|hfsplus|tmpfs)$/;

/** Whether inode and birth say that a directory is the same one later. */
export function isLasting(mount: Mount | undefined, born: string): boolean {
  if (!mount || lasting.test(mount.type)) return true;
  // With serverino, the default, the inodes are the server's (mount.cifs(8) of cifs-utils 7.0).
  if (/^(?:cifs|smb3)$/.test(mount.type)) return mount.superOptions.includes("serverino");
  return !changing.test(mount.type) && Number(born) > 0;
}
