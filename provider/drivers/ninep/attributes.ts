/**
 * What QEMU keeps of an entry of a mapped share in its `user.virtfs.*` attributes, as getfattr and setfattr write
 * them with `-e hex`: `user.virtfs.uid`, `gid` and `mode` are a u32 each, little-endian; `rdev` is a u64.
 *
 * Sample: a directory with mode 0750 has `user.virtfs.mode=0xe8410000`, for 0x41e8 is 040750: QEMU puts the value in
 * the place of the whole st_mode, so the type of the file must be in it. Source: hw/9pfs/9p-local.c `local_lstat` of
 * QEMU 7.2.
 */
import { isAccessList } from "../../formats/access-list";
import { countOf } from "../../formats/count";

/** The three that say whose an entry is. */
export const ownerAttributes = ["user.virtfs.uid", "user.virtfs.gid", "user.virtfs.mode"] as const;

/** The guest's access lists: of an entry, and of a directory for what is made in it. */
export const listAttributes = [
  "user.virtfs.system.posix_acl_access",
  "user.virtfs.system.posix_acl_default",
] as const;

/** All that QEMU reads. */
export const virtfsAttributes = [...ownerAttributes, "user.virtfs.rdev", ...listAttributes] as const;

/** Of inode(7) of man-pages 6.03. */
const fileTypes = {
  0o010000: "fifo",
  0o020000: "character",
  0o040000: "directory",
  0o060000: "block",
  0o100000: "file",
  0o120000: "link",
  0o140000: "socket",
} as const;

export type FileType = (typeof fileTypes)[keyof typeof fileTypes];

/** S_IFDIR of stat(2). */
export const directoryType = 0o040000;

/** `e8 41 00 00` for 0x41e8. */
export function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

/** `0xe8410000` for 0x41e8. */
export function formatU32(value: number): string {
  return `0x${u32(value).toString("hex")}`;
}

/** What stat(2) says of an entry on the host, or a guest sees of it. */
export interface Status {
  /** undefined: no type that there is. */
  readonly type: FileType | undefined;
  /** Permission bits, 0 to 0o7777. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Of a device: its number. */
  readonly device?: { readonly major: number; readonly minor: number };
}

/** The type that the first digits of an st_mode say. */
export function fileTypeOf(mode: number): FileType | undefined {
  return (fileTypes as Readonly<Record<number, FileType>>)[mode & 0o170000];
}

/** The whole st_mode of what is seen. */
export function wholeMode({ type, mode }: Status): number {
  return mode | Number(Object.entries(fileTypes).find(([, name]) => name === type)?.[0] ?? 0);
}

/** What a guest sees of an entry, and everything for which that is not what anybody can have meant. */
export interface Seen {
  readonly status: Status;
  /** Whether it has an access list of the guest. */
  readonly acl: boolean;
  /** Each begins with the attribute: `user.virtfs.mode has 2 bytes, not 4`. */
  readonly damage: readonly string[];
}

/**
 * What a guest sees of an entry whose host shows `host`, with these attributes by name.
 *
 * As QEMU: an attribute that is missing, empty or too long is passed over; one that is too short is damaged, and what
 * QEMU makes of it is chance, so it is passed over here.
 */
export function seenByGuest(host: Status, attributes: ReadonlyMap<string, Buffer>): Seen {
  const damage: string[] = [];
  const read = (name: string): Buffer | undefined => {
    const value = attributes.get(name);
    const wrong = value && malformed(name, value);
    if (wrong === undefined) return value;
    damage.push(wrong);
    return undefined;
  };
  const id = (name: string): number | undefined => {
    const value = read(name)?.readUInt32LE();
    // (uid_t) -1 is nobody: chown(2).
    if (value === 0xffffffff) damage.push(`${name} is ${value}, which is no id`);
    return value;
  };
  const uid = id("user.virtfs.uid") ?? host.uid;
  const gid = id("user.virtfs.gid") ?? host.gid;
  const mode = read("user.virtfs.mode")?.readUInt32LE();
  const rdev = read("user.virtfs.rdev")?.readBigUInt64LE();
  const type = mode === undefined ? host.type : fileTypeOf(mode);
  const wrong = mode !== undefined && impossible(mode, host);
  if (wrong) damage.push(wrong);
  listAttributes.forEach(read);
  const isDevice = type === "block" || type === "character";
  if (isDevice && rdev === undefined && mode !== undefined) damage.push("user.virtfs.rdev is missing");
  const device = rdev === undefined ? host.device : deviceOf(rdev);
  return {
    status: {
      type,
      mode: mode === undefined ? host.mode : mode & 0o7777,
      uid,
      gid,
      ...(isDevice && device ? { device } : {}),
    },
    acl: attributes.has("user.virtfs.system.posix_acl_access"),
    damage,
  };
}

/** For what a value is none that QEMU writes, whatever else the entry has. */
export function malformed(name: string, value: Buffer): string | undefined {
  const has = (names: readonly string[]): boolean => names.includes(name);
  const bytes = has(ownerAttributes) ? 4 : name === "user.virtfs.rdev" ? 8 : value.length;
  if (value.length !== bytes) return `${name} has ${countOf(value.length, "byte")}, not ${bytes}`;
  return has(listAttributes) && !isAccessList(value) ? `${name} is no access list` : undefined;
}

function impossible(mode: number, host: Status): string | undefined {
  const type = fileTypeOf(mode);
  const is = `user.virtfs.mode is 0${mode.toString(8)}`;
  if (type === undefined || mode > 0o177777) return `${is}, which has no type of a file`;
  return (type === "directory") === (host.type === "directory")
    ? undefined
    : `${is}, a ${type}, and it is a ${host.type ?? "file"} on the host`;
}

/** As glibc makes a dev_t (sys/sysmacros.h of glibc 2.36): minor 0-7, major 8-19, the rest above. */
function deviceOf(rdev: bigint): { major: number; minor: number } {
  return {
    major: Number(((rdev >> 8n) & 0xfffn) | ((rdev >> 32n) & 0xfffff000n)),
    minor: Number((rdev & 0xffn) | ((rdev >> 12n) & 0xffffff00n)),
  };
}
