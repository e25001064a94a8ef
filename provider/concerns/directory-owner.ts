import type { Refusal } from "../engine/concern";
import type { DirectorySeen, DirectoryWant } from "./directory-facts";

/** Whose a share's directory is to be. Pure. */

/** Permission bits of a directory that we make, when the program gives none. */
export const createdMode = 0o755;

/** Owner and group as numbers; undefined: untouched, or not known. */
export interface Owner {
  readonly uid: number | undefined;
  readonly gid: number | undefined;
}

/** By what an owner is resolved; what could not be looked at is undefined, and whom it names is then not known. */
export type OwnerSeen = Pick<DirectorySeen, "live" | "persistent"> & {
  readonly [K in "baselabels" | "principals" | "user"]?: DirectorySeen[K] | undefined;
};

/** The numbers of owner and group; `qemu` is whoever the domain's QEMU runs as. Undefined: untouched, or not known. */
export function resolveOwner(
  want: Pick<DirectoryWant, "owner" | "group" | "session">,
  seen: OwnerSeen,
): { owner: Owner; refuse: Refusal[] } {
  const refuse: Refusal[] = [];
  const label = qemuLabel(want, seen);
  const number = (name: string | undefined, database: "passwd" | "group"): number | undefined => {
    if (name === undefined) return undefined;
    const text = name !== "qemu" ? name : database === "passwd" ? label?.user : label?.group;
    if (text !== undefined && /^\d+$/.test(text)) return Number(text);
    const id = text === undefined ? undefined : seen.principals?.[`${database} ${text}`];
    if (id === undefined && seen.persistent) {
      refuse.push({
        code: "unknownUser",
        what:
          name === "qemu"
            ? `libvirt does not say by number whom it runs the domain's QEMU as${text === undefined ? "" : ` (it says "${text}")`}`
            : `there is no ${database === "passwd" ? "user" : "group"} ${name}`,
        remedy: `give directory.${database === "passwd" ? "owner" : "group"} as a number`,
      });
    }
    return id;
  };
  return { owner: { uid: number(want.owner, "passwd"), gid: number(want.group, "group") }, refuse };
}

/** A running QEMU's own label; else what the definition asks for; else what libvirt gives by default. */
export function qemuLabel(want: Pick<DirectoryWant, "session">, seen: Omit<OwnerSeen, "principals">) {
  if (want.session) return seen.user;
  const domain = seen.live ?? seen.persistent;
  return seen.live?.dacLabel ?? seen.persistent?.dacLabel ?? (domain && seen.baselabels?.(domain.type));
}

/** A name where the host has one (stat(1) says UNKNOWN, find(1) the number), else the number. */
export function named(name: string, id: number): string {
  return name === "UNKNOWN" || name === "" ? String(id) : name;
}

/** As chown(1) takes it. */
export function ownerText(uid: number | undefined, gid: number | undefined): string {
  return `${uid ?? ""}${gid === undefined ? "" : `:${gid}`}`;
}
