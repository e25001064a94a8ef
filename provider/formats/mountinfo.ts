import { linesIn } from "./lines-in";
import { decodeOctalEscapes, encodeOctalEscapes } from "./octal-escape";
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
  return linesIn(text).map(parseLine);
}

/** The mount that one sees at exactly `path`; not one that another mount, on it or above it, hides. */
export function mountAt(mounts: readonly Mount[], path: string): Mount | undefined {
  const mount = mountHolding(mounts, path);
  return mount?.mountPoint === path ? mount : undefined;
}

/**
 * The mount in which `path` ends, an absolute and canonical path: found as the kernel walks, from the root on, each
 * time into the first mount on the way that lies on the present one. A mount that the way does not pass is hidden.
 *
 * Of several mounts on one place of one mount, which the kernel does not show, the last counts.
 */
export function mountHolding(mounts: readonly Mount[], path: string): Mount | undefined {
  const ids = new Set(mounts.map(({ id }) => id));
  const onTheWay = new Set(mounts.filter(({ mountPoint }) => isAtOrBelow(path, mountPoint)));
  for (let here: Mount | undefined; ;) {
    const liesHere = ({ id, parent }: Mount): boolean =>
      here ? parent === here.id : parent === id || !ids.has(parent);
    const next = [...onTheWay]
      .filter(liesHere)
      .reduce<Mount | undefined>(
        (first, mount) => (first && first.mountPoint.length < mount.mountPoint.length ? first : mount),
        undefined,
      );
    if (!next) return here;
    onTheWay.delete(next);
    here = next;
  }
}

/** The mounts that one sees below `path`: not those that another one hides. */
export function mountsBelow(mounts: readonly Mount[], path: string): Mount[] {
  return mounts.filter(
    (mount) =>
      mount.mountPoint !== path &&
      isAtOrBelow(mount.mountPoint, path) &&
      mountAt(mounts, mount.mountPoint) === mount,
  );
}

/** How the kernel writes a mount point in mountinfo: `/mnt/foo\040bar` (Linux 6.1 fs/proc_namespace.c, `show_mountinfo`). */
export function mountPointInMountinfo(path: string): string {
  return encodeOctalEscapes(path, /[ \t\n\\]/g);
}

/**
 * How the kernel writes what was mounted: as a mount point, and since Linux 5.17 a `#` as `\043` too (`mangle`). Both
 * forms, the newer one first.
 */
export function sourcesInMountinfo(source: string): readonly [string, string] {
  const older = mountPointInMountinfo(source);
  return [older.replaceAll("#", "\\043"), older];
}

const sixFields = "([^ ]*) ".repeat(6);
const shape = new RegExp(`^${sixFields}(?:[^ ]+ )*?- ([^ ]*) ([^ ]*) ?([^]*)$`);

function parseLine(line: string): Mount {
  const [, id, parent, device = "", root = "", mountPoint = "", mountOptions = "", ...ofFileSystem] =
    shape.exec(line) ?? [];
  const [type = "", source = "", superOptions = ""] = ofFileSystem;
  if (id === undefined) throw new Error(`not a line of /proc/self/mountinfo: ${JSON.stringify(line)}`);
  return {
    id: Number(id),
    parent: Number(parent),
    device,
    root: decodeOctalEscapes(root),
    mountPoint: decodeOctalEscapes(mountPoint),
    mountOptions: splitOptions(mountOptions),
    type: decodeOctalEscapes(type),
    source: decodeOctalEscapes(source),
    superOptions: splitOptions(superOptions),
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
