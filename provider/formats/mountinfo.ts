import { decodeOctalEscapes } from "./octal-escape";
import { isAtOrBelow } from "./path";

/** One line of /proc/self/mountinfo, escapes decoded. */
export interface Mount {
  readonly id: number;
  /** The id of the mount that this one is mounted on. */
  readonly parent: number;
  /** st_dev of its files, `major:minor`: `0:45`. */
  readonly device: string;
  /** The directory of the file system that is seen at `mountPoint`: `/` unless it is a bind mount or subvolume. */
  readonly root: string;
  readonly mountPoint: string;
  /** Of this mount: `rw`, `nodev`, `relatime`. */
  readonly mountOptions: readonly string[];
  /** `ext4`, `9p`, `fuse.sshfs`. */
  readonly type: string;
  /** What was mounted: a device, a 9p tag; empty where the caller of mount(2) gave an empty one. */
  readonly source: string;
  /** Of the file system, as the kernel really uses them: `rw`, `trans=virtio`, `msize=512000`. */
  readonly superOptions: readonly string[];
}

/**
 * Reads /proc/self/mountinfo, in its order: a mount that covers another comes after it.
 *
 * ```
 * 36 27 0:45 / /mnt/foo\040bar rw,nodev,relatime shared:1 master:2 - 9p foobar rw,access=client,trans=virtio
 * ```
 * id, parent, device, root, mount point, options, any number of optional fields, `-`, type, source, options of
 * the file system. The fields are separated by one space each, so an empty source shows as two of them.
 * Throws an Error that quotes the line which is not of that shape: a mount must not be overlooked.
 *
 * Source: proc(5) of man-pages 6.03; Linux 6.1 fs/proc_namespace.c `show_mountinfo`.
 */
export function parseMountinfo(text: string): Mount[] {
  return text
    .split("\n")
    .filter((line) => line !== "")
    .map(parseLine);
}

/** The mount that one sees at exactly `path`: of several that lie on each other, the last. */
export function mountAt(mounts: readonly Mount[], path: string): Mount | undefined {
  return mounts.findLast((mount) => mount.mountPoint === path);
}

/**
 * The mount that holds `path`: the longest mount point that is `path` or a directory above it, of several
 * the last. `path` is absolute and canonical. Submounts that a later mount above them hides still count.
 */
export function mountHolding(mounts: readonly Mount[], path: string): Mount | undefined {
  return mounts
    .filter(({ mountPoint }) => isAtOrBelow(path, mountPoint))
    .reduce<Mount | undefined>(
      (best, mount) => (best && best.mountPoint.length > mount.mountPoint.length ? best : mount),
      undefined,
    );
}

/** The mounts that one sees below `path`: not those that a later one above them hides. */
export function mountsBelow(mounts: readonly Mount[], path: string): Mount[] {
  const byId = new Map(mounts.map((mount) => [mount.id, mount]));
  const holder = mountHolding(mounts, path);
  const isBelow = ({ mountPoint }: Mount): boolean => mountPoint !== path && isAtOrBelow(mountPoint, path);
  const isSeen = ({ parent }: Mount): boolean => {
    let above = byId.get(parent);
    while (above && above !== holder && isBelow(above)) above = byId.get(above.parent);
    return above !== undefined && above === holder;
  };
  return mounts.filter((mount) => isBelow(mount) && isSeen(mount));
}

function parseLine(line: string): Mount {
  const fields = line.split(" ");
  const separator = fields.indexOf("-", 6);
  const [id, parent, device, root, mountPoint, mountOptions] = fields;
  const [type, source, ...superOptions] = separator === -1 ? [] : fields.slice(separator + 1);
  if (
    id === undefined ||
    parent === undefined ||
    device === undefined ||
    root === undefined ||
    mountPoint === undefined ||
    mountOptions === undefined ||
    type === undefined ||
    source === undefined
  ) {
    throw new Error(`not a line of /proc/self/mountinfo: ${JSON.stringify(line)}`);
  }
  return {
    id: Number(id),
    parent: Number(parent),
    device,
    root: decodeOctalEscapes(root),
    mountPoint: decodeOctalEscapes(mountPoint),
    mountOptions: splitOptions(mountOptions),
    type: decodeOctalEscapes(type),
    source: decodeOctalEscapes(source),
    superOptions: splitOptions(superOptions.join(" ")),
  };
}

/**
 * Splits at the commas that are not inside double quotes: the kernel quotes a SELinux context that has commas,
 * `rw,context="system_u:object_r:httpd_sys_content_t:s0:c1,c2",trans=virtio` (Linux 6.1
 * security/selinux/hooks.c `show_sid`).
 */
function splitOptions(options: string): string[] {
  return (options.match(/(?:"[^"]*"|[^,])+/g) ?? []).map(decodeOctalEscapes);
}
