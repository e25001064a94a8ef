import type { Fact, Facts, Tool } from "../engine/concern";
import type { Json } from "../engine/concern";
import type { Domain } from "../formats/domain-xml";
import type { Mount } from "../formats/mountinfo";
import { lines, sh } from "../formats/shell";
import { recordedOnHost } from "../engine/record";
import { dacBaselabels, type DomainInfo, domainInfo, liveDomain, persistentDomain } from "./domain-facts";
import { hostMounts } from "./mounts";
import { principalsOf } from "./principals";

/** What a share wants of its host directory, what can be seen of it, and the facts that see it. */

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

export interface DirectorySeen {
  readonly entry: Entry | undefined;
  /** The path with every link in it followed; what it would be, when it is not there. */
  readonly realPath: string;
  readonly mounts: readonly Mount[];
  /** The paths of all directories of which the host has a record. */
  readonly recorded: readonly string[];
  readonly parents: readonly (Entry & { readonly path: string; readonly acl: boolean })[];
  readonly attributes: VirtfsAttributes | "unsupported";
  /** Owners of what is in the tree, most first, sample: `{ uid: 0, user: "root", gid: 0, count: 12 }`. */
  readonly owners: readonly { uid: number; user: string; count: number }[];
  readonly principals: Readonly<Record<string, number | undefined>>;
  readonly info?: DomainInfo | undefined;
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

/** The directory that an operation left standing: by which the next one knows it, and how it was. */
export type Stood = {
  readonly path: string;
  readonly inode: string;
  readonly born: string;
  readonly uid?: number;
  readonly gid?: number;
  readonly mode?: number;
};

/** What the first contact of other shares found of the directory, and who they are. */
export interface ForeignRecord {
  readonly before: DirectoryBefore;
  readonly holders: readonly string[];
}

/** Everything that is asked about a share's directory, and about whom its QEMU runs as. */
export function directoryFacts(want: DirectoryWant): Facts<DirectorySeen> {
  return {
    entry: entryOf(want.path),
    realPath: realPathOf(want.path),
    mounts: hostMounts,
    recorded: recordedOnHost("directory"),
    parents: parentsOf(want.path),
    attributes: attributesOf(want.path),
    owners: ownersIn(want.path),
    principals: principalsOf("host", [want.owner, want.group]),
    info: domainInfo,
    live: liveDomain,
    persistent: persistentDomain,
    baselabels: dacBaselabels,
    user: connectingUser,
  };
}

/** The directory itself, as it stands. */
export function entryOf(path: string): Fact<Entry | undefined> {
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
