import { type Refusal, refuse } from "../../engine/layer";
import { formatOctalMode } from "../../formats/octal-mode";
import type { Owned } from "../shared/directory-entry";
import type { DirectorySeen, DirectoryWant } from "./probes";

/** Whose a share's directory is, and is to be. Pure. */

/** Permission bits of a directory that we make, when the program gives none. */
export const createdMode = 0o755;

/** Owner and group as numbers; undefined: untouched, or not known. */
export interface Owner {
  readonly uid: number | undefined;
  readonly gid: number | undefined;
}

/** Sample: `64055:108 0755`. */
export function ownedText({ uid, gid, mode }: Owned): string {
  return `${uid}:${gid} ${formatOctalMode(mode)}`;
}

/** How a share leaves its directory. Whoever takes it over must be able to use it; what the guest sees is kept apart. */
export function becoming(want: DirectoryWant, { uid, gid, mode }: Owned, owner: Owner): Owned {
  const to = { uid: owner.uid ?? uid, gid: owner.gid ?? gid };
  const opens = want.keepOwners && (to.uid !== uid || to.gid !== gid);
  return { ...to, mode: want.mode ?? (opens ? mode | 0o700 : mode) };
}

/** By what an owner is resolved; what could not be looked at is undefined, and whom it names is then not known. */
export type OwnerSeen = Pick<DirectorySeen, "live" | "persistent"> & {
  readonly [K in "baselabels" | "principals" | "user"]?: DirectorySeen[K] | undefined;
};

/** The numbers of owner and group; `qemu` is whoever the domain's QEMU runs as. */
export function resolveOwner(want: DirectoryWant, seen: OwnerSeen): { owner: Owner; refuse: Refusal[] } {
  const unknown: Refusal[] = [];
  const label = qemuLabel(want, seen);
  const number = (name: string | undefined, what: "user" | "group"): number | undefined => {
    if (name === undefined) return undefined;
    const text = name === "qemu" ? label?.[what] : name;
    if (text !== undefined && /^\d+$/.test(text)) return Number(text);
    const id =
      text === undefined ? undefined : seen.principals?.[`${what === "user" ? "passwd" : "group"} ${text}`];
    if (id === undefined && seen.persistent) {
      const says = text === undefined ? "" : ` (it says "${text}")`;
      unknown.push(
        ...refuse(
          "unknownUser",
          name === "qemu"
            ? `libvirt does not say by number whom it runs the domain's QEMU as${says}`
            : `there is no ${what} ${name}`,
          `give directory.${what === "user" ? "owner" : "group"} as a number`,
        ),
      );
    }
    return id;
  };
  return { owner: { uid: number(want.owner, "user"), gid: number(want.group, "group") }, refuse: unknown };
}

/** Whom the domain's QEMU runs as; undefined: libvirt does not say it by number. */
export function qemuUser(want: DirectoryWant, seen: OwnerSeen): { uid: number; group: string } | undefined {
  const label = qemuLabel(want, seen);
  return label && /^\d+$/.test(label.user) ? { uid: Number(label.user), group: label.group } : undefined;
}

/** A running QEMU's own label; else what the definition asks for; else what libvirt gives by default. */
function qemuLabel(want: DirectoryWant, seen: OwnerSeen) {
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
