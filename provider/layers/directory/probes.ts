import { posix } from "node:path";
import {
  type Fact,
  type Json,
  type Needed,
  needs,
  type Purpose,
  type Seen,
  type Tool,
} from "../../engine/layer";
import { parseOctalMode } from "../../formats/octal-mode";
import { selfAndAbove } from "../../formats/path";
import { sh } from "../../remote/shell/sh";
import type { ShareSpec } from "../../spec/spec";
import { recordsIn } from "../../engine/baseline";
import { dacBaselabels, domainInfo, liveDomain, persistentDomain } from "../shared/domain";
import type { KnownBy } from "./identity";
import { type Entry, entryFormat, entryOf, type Owned, parseEntry } from "../shared/directory-entry";
import { hostMounts } from "../shared/mounts";
import { directoriesAbove } from "../../formats/system-path";
import {
  isRemembered,
  linksMapped,
  ownersChangedInside,
  rememberedOnSameFileSystem,
  viewKept,
} from "../shared/inode-snapshot";
import { takenWith } from "./taken-with";
import { hostExports } from "../shared/exclusive-access";
import { principalsOf } from "../shared/principals";
import { privilegesTaken, treeIn } from "./tree/probe";

/** What a share wants of its host directory, what can be seen of it, and the facts that see it. */

const attr: readonly Tool[] = [
  { program: "getfattr", packages: ["attr", "attr"] },
  { program: "setfattr", packages: ["attr", "attr"] },
];

/** `owner` and `group` are a name, a number in digits, or `qemu`. */
export type DirectoryWant = ReturnType<typeof directoryWant>;

export function directoryWant({ source, accessMode, multidevs, readOnly, host, directory }: ShareSpec) {
  const { mode, keepOwners, onDelete, ...others } = directory;
  return {
    ...others,
    accessMode,
    multidevs,
    readOnly,
    path: source,
    mode: parseOctalMode(mode ?? ""),
    keepOwners: keepOwners === true,
    mapped: accessMode === "mapped",
    giveBack: onDelete === "restore",
    // QEMU is the connecting user then, too.
    session: host.libvirtUri === "qemu:///session",
  };
}

/** `user.virtfs.*` of the directory itself, values as getfattr prints them: `{"user.virtfs.uid": "0x00000000"}`. */
export type VirtfsAttributes = Readonly<Record<string, string>>;

/** What first contact found. `created`: nothing, and the directory is ours. */
export type DirectoryBefore =
  | { readonly [key: string]: Json; readonly created: true }
  | (KnownBy & {
      readonly [key: string]: Json;
      readonly created: false;
      readonly uid: number;
      readonly gid: number;
      readonly mode: string;
      readonly attributes: VirtfsAttributes;
    });

/** The directory that an operation left standing: by which the next one knows it, and how it was. */
export type Stood = KnownBy & Partial<Owned> & { readonly path: string };

/** What can be seen of a share's directory. */
export type DirectorySeen = Seen<ReturnType<typeof directoryFacts>>;

/**
 * To compare: the directory, whose it is to be, and what is taken over in it. Why QEMU could not use it, and where else
 * it is, are for refusals of the way up.
 */
export const directoryDriftNeeds = needs([
  ...(["entry", "unreadable", "tree", "treeRemembered", "viewKept"] as const),
  ...(["principals", "live", "persistent", "baselabels", "user"] as const),
]);

/**
 * To give back: what is there, what was written down, and who else has it. The rest makes warnings, or lets a directory
 * stay that was made.
 */
export const directoryRestoreNeeds = needs(
  [
    ...(["entry", "mounts", "records", "attributes", "treeRemembered", "linksMapped"] as const),
    ...(["takenAround", "takenWith", "info", "live", "persistent"] as const),
  ],
  ["unreadable", "tree", "hadPrivileges", "principals", "baselabels", "user", "exports"],
);

/** What is seen on the way down. */
export type DirectorySeenBack = Needed<DirectorySeen, typeof directoryRestoreNeeds>;

/** Everything that is asked about a share's directory, and about whom its QEMU runs as. */
export function directoryFacts(want: DirectoryWant, purpose: Purpose = "plan") {
  const { path } = want;
  const isUndecided = want.recursive === undefined && purpose === "plan";
  const walks = want.recursive === true || want.links === "map" || isUndecided;
  return {
    entry: entryOf(path),
    unreadable: unreadableOf(path),
    realPath: realPathOf(path),
    mounts: hostMounts,
    // Of all directories of shares, by path.
    records: recordsIn("host", "directory") as Fact<readonly { identity: string; before: DirectoryBefore }[]>,
    parents: parentsOf(path),
    attributes: attributesOf(path),
    groupRights: groupRightsOf(path),
    tree: treeIn(path, { whole: walks && purpose !== "restore", taken: want.recursive === true }),
    treeRemembered: isRemembered({ of: "owners", path }),
    linksMapped: linksMapped(path),
    hadPrivileges: privilegesTaken(path),
    viewKept: viewKept(path),
    takenAround: rememberedOnSameFileSystem(path, directoriesAbove(path)),
    changedInside: ownersChangedInside(path),
    takenWith: takenWith(path),
    principals: principalsOf("host", [want.owner, want.group]),
    info: domainInfo,
    live: liveDomain,
    persistent: persistentDomain,
    baselabels: dacBaselabels,
    user: connectingUser,
    // Where a directory that was made may go again.
    ...(want.giveBack ? { exports: hostExports } : {}),
  };
}

/**
 * Absent is a fact, and is not told here. Sample: `stat: cannot statx '/srv/a': Permission denied` of a FUSE mount that
 * lets its owner in alone, and of a directory above that a user may not search.
 */
function unreadableOf(path: string): Fact<string | undefined> {
  return {
    place: "host",
    does: `see whether ${path} can be looked at`,
    script: sh`[ -e ${path} ] || [ -L ${path} ] || said=$(stat -c %i -- ${path} 2>&1) || case $said in
  (*': No such file or directory' | *': Not a directory' | *': Too many levels of symbolic links') ;;
  (*) printf '%s\n' "$said" ;;
esac`,
    parse: (output) => (output.trim() === "" ? undefined : output.trim().replace(/^.*: /s, "")),
  };
}

/**
 * Of a directory with an access list the bits of the group in its mode are the list's mask, acl(5) of acl 2.3.1.
 *
 * Sample: `system.posix_acl_access=0x0200000001000700ffffffff04000500ffffffff...`: tag 4 is the group's own entry
 * (Linux 6.1 include/uapi/linux/posix_acl_xattr.h).
 */
function groupRightsOf(path: string): Fact<number | undefined> {
  return {
    place: "host",
    does: `read the access list of ${path}`,
    precondition: true,
    tools: attr,
    script: sh`[ -d ${path} ] || exit 0
list=$(getfattr -h --absolute-names -e hex -n system.posix_acl_access -- ${path} 2>&1) || case $list in
  (*': No such attribute' | *': Operation not supported') exit 0 ;;
  (*) printf '%s\n' "$list" >&2; exit 1 ;;
esac
printf '%s\n' "$list"`,
    parse(output) {
      const entries = /=0x.{8}((?:.{16})+)/.exec(output)?.[1]?.match(/.{16}/g) ?? [];
      const own = entries.find((entry) => entry.startsWith("0400"));
      return own === undefined ? undefined : Number.parseInt(own.slice(4, 6), 16);
    },
  };
}

/** With libvirt's session daemon QEMU is this user, too. Sample: `1000 1000 4 27`, the groups last. */
const connectingUser = {
  fixed: true,
  place: "host",
  does: "see as which user commands run",
  // Effective ids and groups, from proc(5): a process less than each of id(1).
  script: sh`while read -r key _ effective _; do
  case $key in Uid:) user=$effective;; Gid:) group=$effective;; esac
done < /proc/self/status
printf '%s %s %s' "$user" "$group" "$(id -G)"`,
  parse: (output) => {
    const [user = "", group = "", ...groups] = output.split(" ");
    return { user, group, groups };
  },
} satisfies Fact<object>;

function realPathOf(path: string): Fact<string> {
  return {
    fixed: true,
    place: "host",
    does: `follow the links in ${path}`,
    // The dot keeps a final newline of the path itself; -m: it may not be there yet.
    script: sh`printf %s. "$(readlink -m -- ${path})"`,
    parse: (output) => output.slice(0, -1),
  };
}

/**
 * Every directory above, the nearest first, and whether it has an access list; one that is missing is left out. Samples:
 * `0:0:755:131073:1763877000.123456789:directory:root:root:/srv`, and of those with an access list `# file: /srv`.
 */
function parentsOf(path: string): Fact<readonly (Entry & { path: string; acl: boolean })[]> {
  return {
    fixed: true,
    place: "host",
    does: `look at the directories above ${path}`,
    tools: attr,
    script: sh`set --
for at in ${selfAndAbove(posix.dirname(path))}; do [ ! -e "$at" ] || set -- "$@" "$at"; done
stat -c ${`${entryFormat}:%n`} -- "$@"
lists=$(getfattr -h --absolute-names -e hex -n system.posix_acl_access -- "$@" 2>&1 |
  grep -v -e ': No such attribute$' -e ': Operation not supported$' || :)
case $lists in *': system.posix_acl_access: '*) printf '%s\n' "$lists" >&2; exit 1;; esac
printf '%s\n' "$lists"`,
    parse(output) {
      const lines = output.split("\n");
      return lines
        .filter((line) => /^\d/.test(line))
        .map((line) => {
          const at = line.slice(line.indexOf(":/") + 1);
          const acl = lines.includes(`# file: ${at.replaceAll("\\", "\\134")}`);
          return { ...parseEntry(line), path: at, acl };
        });
    },
  };
}

/**
 * `user.virtfs.*` of the directory, or `unsupported` where the file system takes no user attributes.
 *
 * Reading one attribute tells without writing: EOPNOTSUPP against ENODATA (xattr(7), man-pages 6.03).
 * Asked of the parent while the directory is not there.
 */
function attributesOf(path: string): Fact<VirtfsAttributes | "unsupported"> {
  return {
    place: "host",
    does: `read user.virtfs.* of ${path}`,
    precondition: true,
    tools: attr,
    script: sh`at=${path}; [ -d "$at" ] || at=${posix.dirname(path)}
[ -d "$at" ] || exit 0
had=''
[ "$at" != ${path} ] || had=$(getfattr -h --absolute-names -d -m '^user\.virtfs\.' -e hex -- "$at")
if [ -n "$had" ]; then printf '%s\n' "$had"; exit; fi
case $(getfattr -h --absolute-names -n user.virtfs.uid -- "$at" 2>&1 >/dev/null) in
*'not supported'*) echo unsupported ;;
esac`,
    parse(output) {
      if (output.trim() === "unsupported") return "unsupported";
      const lines = output.matchAll(/^(user\.virtfs\.[^=\n]*)=(.*)$/gm);
      return Object.fromEntries([...lines].map(([, name, value]) => [name, value])) as VirtfsAttributes;
    },
  };
}
