import type { Fact } from "../../engine/layer";
import { identityFormat } from "../../remote/shell/inode";
import { sh } from "../../remote/shell/sh";

/** A directory as stat(1) tells it. */

/** Owner, group and permission bits (0 to 0o7777) of something that is there. */
export type Owned = { readonly uid: number; readonly gid: number; readonly mode: number };

/** One directory entry as stat(1) of coreutils 9.1 tells it. */
export interface Entry extends Owned {
  readonly kind: "directory" | "link" | "other";
  readonly user: string;
  readonly group: string;
  readonly inode: string;
  /** Seconds since 1970 at which it was made, to the nanosecond: `1763877000.123456789`; 0 where the file system does not tell. */
  readonly born: string;
}

/** The directory itself, as it stands. */
export function entryOf(path: string): Fact<Entry | undefined> {
  return {
    place: "host",
    does: `look at ${path}`,
    precondition: true,
    script: sh`if [ -e ${path} ] || [ -L ${path} ]; then stat -c ${entryFormat} -- ${path}; fi`,
    parse: (output) => (output === "" ? undefined : parseEntry(output)),
  };
}

/** Sample: `64055:64055:755:6029396:1763877000.123456789:directory:libvirt-qemu:libvirt-qemu`; no name of a user or group holds a colon. */
export const entryFormat = `%u:%g:%a:${identityFormat}:%F:%U:%G`;

export function parseEntry(line: string): Entry {
  const [uid, gid, mode = "", inode = "", born = "", type = "", user = "", group = ""] = line
    .trim()
    .split(":");
  const kind = type === "directory" ? type : type === "symbolic link" ? "link" : "other";
  return { kind, uid: Number(uid), gid: Number(gid), user, group, mode: parseInt(mode, 8), inode, born };
}

/** What the mode gives a user, 0 to 7; `groups`: those that the user is in, as numbers. */
export function rightsOf({ uid, gid, mode }: Owned, user: number, groups: readonly string[]): number {
  const shift = uid === user ? 6 : groups.includes(String(gid)) ? 3 : 0;
  return (mode >> shift) & 7;
}
