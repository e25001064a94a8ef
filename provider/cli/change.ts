import { formatU32, seenByGuest, type Status } from "../formats/virtfs";
import { type Listed, wholeMode } from "./entries";

/** What `virtio9p chown` and `virtio9p chmod` write: pure. */

/** undefined: as it is. */
export interface Wanted {
  readonly uid?: number | undefined;
  readonly gid?: number | undefined;
  /** Permission bits. */
  readonly mode?: number | undefined;
}

/** The highest id: (uid_t) -1 is nobody. */
const mostId = 0xfffffffe;

/** `1000`, `1000:100`, `:100`; undefined for anything else. Numbers alone: the guest's names are not known on its host. */
export function parseOwner(text: string): Wanted | undefined {
  const [, uid, gid] = /^(\d{1,10})?(?::(\d{1,10}))?$/.exec(text) ?? [];
  if (uid === undefined && gid === undefined) return undefined;
  if (Number(uid ?? 0) > mostId || Number(gid ?? 0) > mostId) return undefined;
  return {
    uid: uid === undefined ? undefined : Number(uid),
    gid: gid === undefined ? undefined : Number(gid),
  };
}

/** Whether an entry can have user attributes at all (xattr(7) of man-pages 6.03). */
export function takesAttributes({ host }: Listed): boolean {
  return host.type === "file" || host.type === "directory";
}

/**
 * The attributes to set so that a guest sees what is wanted; empty where it does already.
 *
 * As chown(2), a change of owner or group takes setuid of a plain file, and setgid where its group may run it. A link
 * has no mode of its own.
 */
export function attributesFor(entry: Listed, wanted: Wanted): ReadonlyMap<string, Buffer> {
  const { status } = seenByGuest(entry.host, entry.attributes);
  const set = new Map<string, Buffer>();
  const put = (name: string, value: number): void => {
    set.set(name, Buffer.from(formatU32(value).slice(2), "hex"));
  };
  const uid = wanted.uid ?? status.uid;
  const gid = wanted.gid ?? status.gid;
  if (uid !== status.uid) put("user.virtfs.uid", uid);
  if (gid !== status.gid) put("user.virtfs.gid", gid);
  const mode =
    wanted.mode !== undefined && status.type !== "link"
      ? wanted.mode
      : set.size > 0
        ? withoutPrivileges(status)
        : status.mode;
  const type = status.type ?? entry.host.type;
  if (mode !== status.mode || (status.type === undefined && wanted.mode !== undefined))
    put("user.virtfs.mode", wholeMode({ ...status, type, mode }));
  return set;
}

function withoutPrivileges({ type, mode }: Status): number {
  if (type !== "file") return mode;
  const groupRuns = (mode & 0o010) !== 0;
  return mode & ~(groupRuns ? 0o6000 : 0o4000);
}
