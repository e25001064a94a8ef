/**
 * An access list as Linux keeps it in `system.posix_acl_access`, and QEMU that of its guest in
 * `user.virtfs.system.posix_acl_access`: a u32 that is 2, and 8 bytes for each of its lines, a tag (u16), rights (u16) and
 * an id (u32), little-endian. Source: include/uapi/linux/posix_acl_xattr.h and posix_acl.h of Linux 6.1.
 */

const [user, group, mask, other] = [0x01, 0x04, 0x10, 0x20];

/** Whether bytes have that shape. */
export function isAccessList(bytes: Buffer): boolean {
  return bytes.length >= 4 && bytes.length % 8 === 4 && bytes.readUInt32LE() === 2;
}

/**
 * The list after chmod(2): its owner and the others get their bits of the mode, and the mask those of the group; where
 * there is no mask the group does (fs/posix_acl.c `__posix_acl_chmod_masq`).
 */
export function withMode(list: Buffer, mode: number): Buffer {
  const changed = Buffer.from(list);
  const lines = Array.from({ length: (list.length - 4) / 8 }, (_, line) => 4 + line * 8);
  const hasMask = lines.some((at) => list.readUInt16LE(at) === mask);
  for (const at of lines) {
    const tag = list.readUInt16LE(at);
    const shift = tag === user ? 6 : tag === (hasMask ? mask : group) ? 3 : tag === other ? 0 : undefined;
    if (shift !== undefined) changed.writeUInt16LE((mode >> shift) & 7, at + 2);
  }
  return changed;
}
