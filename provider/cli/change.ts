import { isAccessList, withMode } from "../formats/access-list";
import { listAttributes, seenByGuest, u32, wholeMode } from "../drivers/ninep/attributes";
import type { Listed } from "./entries";

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

const [accessList] = listAttributes;

/** `1000`, `1000:100`, `:100`; undefined for anything else. Numbers alone: the guest's names are not known on its host. */
export function parseOwner(text: string): Wanted | undefined {
  const [uid, gid] = (/^(\d{1,10})?(?::(\d{1,10}))?$/.exec(text) ?? [])
    .slice(1)
    .map((digits: string | undefined) => (digits === undefined ? undefined : Number(digits)));
  if ((uid ?? gid) === undefined || (uid ?? 0) > mostId || (gid ?? 0) > mostId) return undefined;
  return { uid, gid };
}

/**
 * The attributes to set so that a guest sees what is wanted; empty where it does already. What is damaged of them is
 * written anew, with the type that the entry has on the host where the damaged mode says none that it can have.
 *
 * As chown(2), a change of owner or group takes setuid of a plain file, and setgid where its group may run it. As
 * chmod(2), a mode is that of the guest's access list too, where there is one. A link has no mode of its own.
 */
export function attributesFor(entry: Listed, wanted: Wanted): ReadonlyMap<string, Buffer> {
  const attributes = entry.attributes ?? new Map<string, Buffer>();
  const { status, damage } = seenByGuest(entry.host, attributes);
  const set = new Map<string, Buffer>();
  const isDamaged = (name: string): boolean => damage.some((one) => one.startsWith(`${name} `));
  const putId = (name: string, id: number | undefined, now: number): void => {
    if (id !== undefined && (id !== now || isDamaged(name))) set.set(name, u32(id));
  };
  putId("user.virtfs.uid", wanted.uid, status.uid);
  putId("user.virtfs.gid", wanted.gid, status.gid);
  const damaged = isDamaged("user.virtfs.mode");
  const type = damaged ? entry.host.type : status.type;
  const asked = type === "link" ? undefined : wanted.mode;
  const privileges = (status.mode & 0o010) !== 0 ? 0o6000 : 0o4000;
  const losesThem = set.size > 0 && type === "file";
  const mode = asked ?? (losesThem ? status.mode & ~privileges : status.mode);
  if (mode !== status.mode || (damaged && asked !== undefined))
    set.set("user.virtfs.mode", u32(wholeMode({ ...status, type, mode })));
  const list = attributes.get(accessList);
  if (asked !== undefined && list && isAccessList(list)) {
    const changed = withMode(list, asked);
    if (!changed.equals(list)) set.set(accessList, changed);
  }
  return set;
}
