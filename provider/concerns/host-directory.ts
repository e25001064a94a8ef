import type { Concern, Fact, Facts, Json, Plan, Refusal, Step, Tool } from "../engine/concern";
import { asWanted } from "../engine/concern";
import { lines, sh } from "../formats/shell";
import type { Domain } from "../formats/domain-xml";
import { formatOctalMode, parseOctalMode } from "../formats/octal-mode";
import { dacBaselabels, liveDomain, persistentDomain } from "./domain-facts";

const findutils: Tool = { program: "find", packages: ["findutils", "findutils"] };
const attr: Tool = { program: "getfattr", packages: ["attr", "attr"] };

/** What a share wants of its directory. `owner` and `group` are a name, a number in digits, or `qemu`. */
export interface DirectoryWant {
  readonly path: string;
  readonly create: boolean;
  readonly owner: string | undefined;
  readonly group: string | undefined;
  readonly mode: number | undefined;
  readonly recursive: boolean | undefined;
  readonly keepOwners: boolean;
  readonly mapped: boolean;
  readonly giveBack: boolean;
  /** libvirt is the connecting user's own session, and so QEMU is that user. */
  readonly session: boolean;
}

/** One directory entry as stat(1) of coreutils 9.1 tells it. */
export interface Entry {
  readonly kind: "directory" | "link" | "other";
  readonly uid: number;
  readonly gid: number;
  readonly user: string;
  readonly group: string;
  /** Permission bits, 0 to 0o7777. */
  readonly mode: number;
  readonly inode: string;
  /** Seconds since 1970 at which it was made; `0` where the file system does not tell. */
  readonly born: string;
}

/** `user.virtfs.*` of the directory itself, values as getfattr prints them: `{"user.virtfs.uid": "0x00000000"}`. */
export type VirtfsAttributes = Readonly<Record<string, string>>;

interface DirectorySeen {
  readonly entry: Entry | undefined;
  /** The path with every link in it followed; what it would be, when it is not there. */
  readonly realPath: string;
  readonly parents: readonly (Entry & { readonly path: string; readonly acl: boolean })[];
  readonly attributes: VirtfsAttributes | "unsupported";
  /** Owners of what is in the tree, most first, sample: `{ uid: 0, user: "root", gid: 0, count: 12 }`. */
  readonly owners: readonly { uid: number; user: string; count: number }[];
  readonly principals: Readonly<Record<string, number | undefined>>;
  readonly live: Domain | undefined;
  readonly persistent: Domain | undefined;
  readonly baselabels: (domainType: string) => { user: string; group: string } | undefined;
  readonly user: { readonly user: string; readonly group: string };
}

/** What first contact found. `created`: nothing, and the directory is ours. */
export type DirectoryBefore =
  | { readonly [key: string]: Json; readonly created: true }
  | {
      readonly [key: string]: Json;
      readonly created: false;
      readonly uid: number;
      readonly gid: number;
      readonly mode: string;
      readonly inode: string;
      readonly born: string;
      readonly attributes: VirtfsAttributes;
    };

/** Permission bits of a directory that we make, when the program gives none. */
const createdMode = 0o755;

/**
 * The directory on the host: there, reachable for QEMU, owned by whom the share wants.
 *
 * With `keepOwners` what the guest sees of the directory itself is first written into `user.virtfs.*`,
 * where QEMU looks (hw/9pfs/9p-xattr-user.c and 9p-local.c, 7.2), and only then does the owner change.
 *
 * Refuses with `sourceMissing`, `sourceVanished`, `sourceMoved`, `sourceNotDirectory`, `sourceIsLink`,
 * `parentNotSearchable`, `noUserAttributes`, `treeOfOthers`, `unknownUser`.
 */
export const hostDirectory: Concern<DirectoryWant, DirectorySeen, DirectoryBefore> = {
  layer: "directory",
  place: "host",
  up: "host",
  down: "hostLast",
  scope: "host",

  want: (spec) => ({
    path: spec.source,
    create: spec.directory.create,
    owner: spec.directory.owner,
    group: spec.directory.group,
    mode: parseOctalMode(spec.directory.mode ?? ""),
    recursive: spec.directory.recursive,
    keepOwners: spec.directory.keepOwners === true,
    mapped: spec.accessMode === "mapped",
    giveBack: spec.directory.onDelete === "restore",
    session: spec.host.libvirtUri === "qemu:///session",
  }),

  identity: (want) => want.path,

  facts: (want): Facts<DirectorySeen> => ({
    entry: entryOf(want.path),
    realPath: realPathOf(want.path),
    parents: parentsOf(want.path),
    attributes: attributesOf(want.path),
    owners: ownersIn(want.path),
    principals: principalsOf([want.owner, want.group]),
    live: liveDomain,
    persistent: persistentDomain,
    baselabels: dacBaselabels,
    user: connectingUser,
  }),

  plan(want, seen, before) {
    const { owner, refuse: unknown } = resolveOwner(want, seen);
    const refuse = [...unknown, ...standing(want, seen, before), ...reachable(want, seen, owner, before)];
    if (refuse.length > 0) return { refuse, steps: [] };
    const others =
      before === undefined || want.recursive === false ? undefined : strangers(want, seen, owner.uid);
    return {
      steps: seen.entry ? adjust(want, seen, seen.entry, owner) : create(want, owner),
      warnings:
        others === undefined
          ? []
          : [
              `${want.path} holds entries that are not QEMU's, and that the guest can at most read: ${others}`,
            ],
    };
  },

  remember(_want, { entry, attributes }) {
    if (!entry) return { created: true };
    return {
      created: false,
      uid: entry.uid,
      gid: entry.gid,
      mode: formatOctalMode(entry.mode),
      inode: entry.inode,
      born: entry.born,
      attributes: attributes === "unsupported" ? {} : attributes,
    };
  },

  restore(old, before, seen) {
    const entry = seen.entry;
    if (!entry || !old.giveBack) return { steps: [] };
    if (before.created) return giveUpOwn(old, seen);
    if (entry.kind !== "directory" || !isSame(entry, before)) {
      return {
        steps: [],
        warnings: [`${old.path} is not the directory that was shared: its owner was left as it is`],
      };
    }
    const path = old.path;
    const mode = parseOctalMode(before.mode) ?? createdMode;
    const chowned = entry.uid !== before.uid || entry.gid !== before.gid;
    return {
      steps: [
        ...(chowned
          ? [
              {
                does: `give ${path} back to ${before.uid}:${before.gid}`,
                run: sh`chown -h -- ${`${before.uid}:${before.gid}`} ${path}`,
                undo: sh`chown -h -- ${`${entry.uid}:${entry.gid}`} ${path}`,
              },
            ]
          : []),
        ...(chowned || entry.mode !== mode ? [chmodStep(path, mode, entry.mode)] : []),
        ...restoreAttributes(path, before.attributes, seen.attributes),
      ],
    };
  },

  drift(want, seen) {
    const { entry } = seen;
    if (!entry) {
      return { state: "missing", args: {}, notes: [`the directory ${want.path} is not there`] };
    }
    const { owner } = resolveOwner(want, seen);
    const args = {
      ...(owner.uid !== undefined && entry.uid !== owner.uid
        ? { "directory.owner": named(entry.user, entry.uid) }
        : {}),
      ...(owner.gid !== undefined && entry.gid !== owner.gid
        ? { "directory.group": named(entry.group, entry.gid) }
        : {}),
      ...(want.mode !== undefined && entry.mode !== want.mode
        ? { "directory.mode": formatOctalMode(entry.mode) }
        : {}),
    };
    return Object.keys(args).length === 0 ? asWanted : { state: "differs", args, notes: [] };
  },
};

/** The numbers of owner and group; `qemu` is whoever the domain's QEMU runs as. Undefined: untouched, or not known. */
export function resolveOwner(
  want: Pick<DirectoryWant, "owner" | "group" | "session">,
  seen: Pick<DirectorySeen, "live" | "persistent" | "baselabels" | "principals" | "user">,
): { owner: { uid: number | undefined; gid: number | undefined }; refuse: Refusal[] } {
  const refuse: Refusal[] = [];
  const label = qemuLabel(want, seen);
  const number = (name: string | undefined, database: "passwd" | "group"): number | undefined => {
    if (name === undefined) return undefined;
    const text = name !== "qemu" ? name : database === "passwd" ? label?.user : label?.group;
    if (text !== undefined && /^\d+$/.test(text)) return Number(text);
    const id = text === undefined ? undefined : seen.principals[`${database} ${text}`];
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
function qemuLabel(
  want: Pick<DirectoryWant, "session">,
  seen: Pick<DirectorySeen, "live" | "persistent" | "baselabels" | "user">,
) {
  if (want.session) return seen.user;
  const domain = seen.live ?? seen.persistent;
  return seen.live?.dacLabel ?? seen.persistent?.dacLabel ?? (domain && seen.baselabels(domain.type));
}

/** Is the directory there, and the one that it was? */
function standing(want: DirectoryWant, seen: DirectorySeen, before: DirectoryBefore | undefined): Refusal[] {
  const { entry, realPath } = seen;
  if (realPath !== want.path) {
    return [
      {
        code: "sourceIsLink",
        what: `${want.path} leads through a link to ${realPath}`,
        remedy: `give source as "${realPath}"`,
      },
    ];
  }
  if (!entry) {
    if (before && !before.created) {
      return [
        {
          code: "sourceVanished",
          what: `${want.path} was there at first contact and is not now`,
          remedy:
            "mount its file system, or put the directory back; it is not made anew, for that would hide the loss",
        },
      ];
    }
    const parent = seen.parents[0];
    const above = want.path.slice(0, want.path.lastIndexOf("/")) || "/";
    if (want.create && parent?.path === above && parent.kind === "directory") return [];
    return [
      {
        code: "sourceMissing",
        what: `${want.path} is not there${want.create ? ", nor the directory that it is in" : ""}`,
        remedy: want.create
          ? "make its parent: only the last component is made"
          : "make it, or set directory.create",
      },
    ];
  }
  if (entry.kind !== "directory") {
    return [
      { code: "sourceNotDirectory", what: `${want.path} is not a directory`, remedy: "share a directory" },
    ];
  }
  if (before && !before.created && !isSame(entry, before)) {
    return [
      {
        code: "sourceMoved",
        what: `${want.path} is not the directory of first contact: inode ${entry.inode} made at ${entry.born}, it was ${before.inode} made at ${before.born}`,
        remedy:
          "mount the file system that it was on; if the change was meant, destroy the share and create it again",
      },
    ];
  }
  return [];
}

/** By inode and birth, not by device number: that may be another one after the host's next boot. */
function isSame(entry: Entry, before: { readonly inode: string; readonly born: string }): boolean {
  return entry.inode === before.inode && entry.born === before.born;
}

/** Can QEMU get there and work there? */
function reachable(
  want: DirectoryWant,
  seen: DirectorySeen,
  owner: { uid: number | undefined; gid: number | undefined },
  before: DirectoryBefore | undefined,
): Refusal[] {
  const refuse: Refusal[] = [];
  const label = qemuLabel(want, seen);
  const qemu = label && /^\d+$/.test(label.user) && { uid: Number(label.user), gid: Number(label.group) };
  const shut =
    qemu && qemu.uid !== 0
      ? seen.parents.find((parent) => {
          const bit = parent.uid === qemu.uid ? 0o100 : parent.gid === qemu.gid ? 0o010 : 0o001;
          // An access list may let it through, and the group bits are then its mask: left to QEMU.
          return !parent.acl && (parent.mode & bit) === 0;
        })
      : undefined;
  if (shut && qemu) {
    refuse.push({
      code: "parentNotSearchable",
      what: `QEMU (uid ${qemu.uid}) cannot pass ${shut.path}: mode ${formatOctalMode(shut.mode)}, owner ${shut.uid}:${shut.gid}`,
      remedy: `chmod o+x ${shut.path}, or setfacl -m u:${qemu.uid}:x ${shut.path}, or share a directory elsewhere`,
    });
  }
  if (want.mapped && seen.attributes === "unsupported") {
    refuse.push({
      code: "noUserAttributes",
      what: `the file system of ${want.path} takes no user attributes, in which accessMode mapped keeps owners and modes`,
      remedy: "share from ext4, xfs or btrfs, or use another accessMode",
    });
  }
  const others = strangers(want, seen, owner.uid);
  if (before === undefined && want.recursive === undefined && others !== undefined) {
    refuse.push({
      code: "treeOfOthers",
      what: `${want.path} holds entries of other owners: ${others}`,
      remedy:
        "write directory.recursive: false to take only the directory itself; taking a tree over with its owners kept is not available in this release",
    });
  }
  return refuse;
}

/** Who but the wanted owner has entries in the tree, sample: `12 of root (0), 1 of alice (1000)`; undefined: nobody. */
function strangers(want: DirectoryWant, seen: DirectorySeen, uid: number | undefined): string | undefined {
  const others = uid === undefined || !want.mapped ? [] : seen.owners.filter((one) => one.uid !== uid);
  const counts = others.slice(0, 8).map((one) => `${one.count} of ${named(one.user, one.uid)} (${one.uid})`);
  return others.length === 0 ? undefined : counts.join(", ") + (others.length > 8 ? ", ..." : "");
}

function create(want: DirectoryWant, owner: { uid: number | undefined; gid: number | undefined }): Step[] {
  const mode = want.mode ?? createdMode;
  const root: Entry = {
    kind: "directory",
    uid: 0,
    gid: 0,
    user: "root",
    group: "root",
    mode,
    inode: "",
    born: "",
  };
  return [
    {
      does: `make ${want.path}`,
      run: sh`mkdir -m ${formatOctalMode(mode)} -- ${want.path}`,
      undo: sh`rmdir -- ${want.path}`,
    },
    ...(want.keepOwners ? [keepStep(want.path, root)] : []),
    ...chownSteps(want.path, owner, root),
  ];
}

function adjust(
  want: DirectoryWant,
  seen: DirectorySeen,
  entry: Entry,
  owner: { uid: number | undefined; gid: number | undefined },
): Step[] {
  const chowned =
    (owner.uid !== undefined && owner.uid !== entry.uid) ||
    (owner.gid !== undefined && owner.gid !== entry.gid);
  const kept = seen.attributes !== "unsupported" && "user.virtfs.uid" in seen.attributes;
  // Whoever takes over must be able to use it; what the guest sees is kept apart.
  const mode = want.mode ?? (chowned && want.keepOwners ? entry.mode | 0o700 : entry.mode);
  return [
    ...(chowned && want.keepOwners && !kept ? [keepStep(want.path, entry)] : []),
    ...chownSteps(want.path, owner, entry),
    ...(mode === entry.mode ? [] : [chmodStep(want.path, mode, entry.mode)]),
  ];
}

function chownSteps(
  path: string,
  owner: { uid: number | undefined; gid: number | undefined },
  from: Entry,
): Step[] {
  const to = `${owner.uid ?? from.uid}:${owner.gid ?? from.gid}`;
  const was = `${from.uid}:${from.gid}`;
  if (to === was) return [];
  return [
    {
      does: `chown ${path} from ${was} to ${to}`,
      run: sh`chown -h -- ${to} ${path}`,
      undo: sh`chown -h -- ${was} ${path}`,
    },
  ];
}

function chmodStep(path: string, to: number, from: number): Step {
  return {
    does: `chmod ${path} from ${formatOctalMode(from)} to ${formatOctalMode(to)}`,
    run: sh`chmod -- ${formatOctalMode(to)} ${path}`,
    undo: sh`chmod -- ${formatOctalMode(from)} ${path}`,
  };
}

const attributeNames = ["user.virtfs.uid", "user.virtfs.gid", "user.virtfs.mode"] as const;

/** S_IFDIR of stat(2): QEMU replaces all of st_mode by the attribute, so the type must be in it. */
const directoryType = 0o040000;

function keepStep(path: string, entry: Entry): Step {
  const values = [entry.uid, entry.gid, entry.mode | directoryType].map(littleEndian);
  const undo = lines(attributeNames.map((name) => sh`setfattr -h -x ${name} -- ${path} 2>/dev/null || :`));
  return {
    does: `let the guest go on seeing ${path} as ${entry.uid}:${entry.gid} ${formatOctalMode(entry.mode)} (user.virtfs.*)`,
    // All three or none: a full file system must not leave an owner without its mode.
    run: sh`forget() { ${undo}
}
trap '[ $? = 0 ] || forget' EXIT
${lines(attributeNames.map((name, index) => sh`setfattr -h -n ${name} -v ${values[index] ?? ""} -- ${path}`))}`,
    undo,
  };
}

function restoreAttributes(
  path: string,
  before: VirtfsAttributes,
  now: VirtfsAttributes | "unsupported",
): Step[] {
  if (now === "unsupported") return [];
  const gone = Object.keys(now).filter((name) => !(name in before));
  const changed = Object.entries(before).filter(([name, value]) => now[name] !== value);
  if (gone.length + changed.length === 0) return [];
  return [
    {
      does: `give ${path} its attributes back (user.virtfs.*)`,
      run: lines([
        ...gone.map((name) => sh`setfattr -h -x ${name} -- ${path}`),
        ...changed.map(([name, value]) => sh`setfattr -h -n ${name} -v ${value} -- ${path}`),
      ]),
    },
  ];
}

/** A directory that we made goes if it is empty and nothing uses it; else it stays, for the files in it are not ours. */
function giveUpOwn(old: DirectoryWant, seen: DirectorySeen): Plan {
  const uses = (domain: Domain | undefined): boolean =>
    domain?.devices9p.some((device) => device.source === old.path) === true;
  if (uses(seen.live)) {
    return {
      steps: [],
      warnings: [
        `${old.path}, which this share made, stays: the running QEMU has it open until its next power cycle`,
      ],
    };
  }
  if (uses(seen.persistent)) {
    return {
      steps: [],
      warnings: [`${old.path}, which this share made, stays: the domain still declares it`],
    };
  }
  if (seen.owners.length > 0) {
    return { steps: [], warnings: [`${old.path}, which this share made, stays: there are files in it`] };
  }
  return {
    steps: [
      {
        does: `remove ${old.path}, which is empty and was made by this share`,
        run: sh`rmdir -- ${old.path}`,
      },
    ],
  };
}

function entryOf(path: string): Fact<Entry | undefined> {
  return {
    key: `entry ${path}`,
    place: "host",
    does: `look at ${path}`,
    guard: true,
    script: sh`if [ -e ${path} ] || [ -L ${path} ]; then stat -c ${entryFormat} -- ${path}; fi`,
    parse: (output) => (output === "" ? undefined : parseEntry(output)),
  };
}

/** Whom the scripts run as; with libvirt's session daemon, QEMU too. Sample: `1000 1000`. */
const connectingUser: Fact<{ user: string; group: string }> = {
  key: "connecting user",
  place: "host",
  does: "ask who we are",
  script: sh`printf '%s %s' "$(id -u)" "$(id -g)"`,
  parse: (output) => {
    const [user = "", group = ""] = output.split(" ");
    return { user, group };
  },
};

/** Sample: `64055:64055:755:6029396:1763877000:directory:libvirt-qemu:libvirt-qemu`; no name of a user or group holds a colon. */
const entryFormat = "%u:%g:%a:%i:%W:%F:%U:%G";

function parseEntry(line: string): Entry {
  const [uid, gid, mode, inode = "", born = "", kind = "", user = "", group = ""] = line.trim().split(":");
  return {
    kind: kind === "directory" ? "directory" : kind === "symbolic link" ? "link" : "other",
    uid: Number(uid),
    gid: Number(gid),
    user,
    group,
    mode: parseInt(mode ?? "0", 8),
    inode,
    born,
  };
}

function realPathOf(path: string): Fact<string> {
  return {
    key: `real path ${path}`,
    place: "host",
    does: `follow the links in ${path}`,
    // The dot keeps a final newline of the path itself; -m: it may not be there yet.
    script: sh`printf %s. "$(readlink -m -- ${path})"`,
    parse: (output) => output.slice(0, -1),
  };
}

/** Every directory above, the nearest first; one that is missing is left out. */
function parentsOf(path: string): Fact<readonly (Entry & { path: string; acl: boolean })[]> {
  const parts = path.split("/").slice(1, -1);
  const parents = parts.map((_, index) => `/${parts.slice(0, parts.length - index).join("/")}`).concat("/");
  return {
    key: `parents ${path}`,
    place: "host",
    does: `look at the directories above ${path}`,
    tools: [attr],
    script: lines(
      parents.map(
        (parent, index) =>
          sh`if [ -e ${parent} ]; then printf '%s %s ' ${index} "$(getfattr -h --absolute-names -n system.posix_acl_access -- ${parent} 2>/dev/null | grep -c '^system' || :)"; stat -c ${entryFormat} -- ${parent}; fi`,
      ),
    ),
    parse: (output) =>
      output
        .split("\n")
        .filter((line) => line !== "")
        .map((line) => {
          const [index, acl, ...rest] = line.split(" ");
          return { ...parseEntry(rest.join(" ")), path: parents[Number(index)] ?? "/", acl: acl !== "0" };
        }),
  };
}

/**
 * `user.virtfs.*` of the directory, or `unsupported` where the file system takes no user attributes.
 *
 * Reading one attribute tells without writing: EOPNOTSUPP against ENODATA (xattr(7), man-pages 6.03).
 * Asked of the parent while the directory is not there.
 */
function attributesOf(path: string): Fact<VirtfsAttributes | "unsupported"> {
  const parent = path.slice(0, path.lastIndexOf("/")) || "/";
  return {
    key: `virtfs attributes ${path}`,
    place: "host",
    does: `read user.virtfs.* of ${path}`,
    guard: true,
    tools: [attr],
    script: sh`at=${path}; [ -d "$at" ] || at=${parent}
[ -d "$at" ] || exit 0
if getfattr -h --absolute-names -n user.virtfs.uid -- "$at" 2>&1 >/dev/null | grep -q 'not supported'; then echo unsupported
elif [ "$at" = ${path} ]; then getfattr -h --absolute-names -d -m '^user\.virtfs\.' -e hex -- "$at" | grep '^user\.virtfs\.' || :
fi`,
    parse(output) {
      if (output.trim() === "unsupported") return "unsupported";
      const pairs = output
        .split("\n")
        .filter((line) => line.includes("="))
        .map((line) => [line.slice(0, line.indexOf("=")), line.slice(line.indexOf("=") + 1)]);
      return Object.fromEntries(pairs) as VirtfsAttributes;
    },
  };
}

/** Who owns what in the tree, by count; the directory itself is not counted, other file systems are not entered. */
function ownersIn(path: string): Fact<readonly { uid: number; user: string; count: number }[]> {
  return {
    key: `owners in ${path}`,
    place: "host",
    does: `count the owners in ${path}`,
    tools: [findutils],
    script: sh`if [ -d ${path} ]; then find ${path} -xdev -mindepth 1 -printf '%U %u\n' | sort | uniq -c | sort -rn; fi`,
    parse: (output) =>
      output
        .split("\n")
        .map((line) => /^\s*(\d+) (\d+) (.*)$/.exec(line))
        .filter((match) => match !== null)
        .map((match) => ({ count: Number(match[1]), uid: Number(match[2]), user: match[3] ?? "" })),
  };
}

/** Numbers for names, sample: `{"passwd alice": 1000}`. */
function principalsOf(
  names: readonly (string | undefined)[],
): Fact<Readonly<Record<string, number | undefined>>> {
  const wanted = [
    ...new Set(names.filter((name) => name !== undefined && name !== "qemu" && !/^\d+$/.test(name))),
  ];
  return {
    key: `principals ${wanted.join(" ")}`,
    place: "host",
    does: "look up users and groups",
    script: lines(
      wanted.flatMap((name) =>
        ["passwd", "group"].map(
          (database) =>
            sh`printf '%s:' ${`${database} ${name ?? ""}`}; getent ${database} ${name ?? ""} || echo`,
        ),
      ),
    ),
    parse: (output) =>
      Object.fromEntries(
        output
          .split("\n")
          .map((line) => line.split(":"))
          .filter((fields) => fields.length > 3)
          .map((fields) => [fields[0] ?? "", Number(fields[3])]),
      ),
  };
}

/** A name where the host has one (stat(1) says UNKNOWN, find(1) the number), else the number. */
function named(name: string, id: number): string {
  return name === "UNKNOWN" || name === "" ? String(id) : name;
}

/** A u32 as QEMU writes it: `0xe8410000` for 040750. */
function littleEndian(value: number): string {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return `0x${bytes.toString("hex")}`;
}
