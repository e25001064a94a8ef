import type { Fact, Tool } from "../../../engine/layer";
import { telling } from "../../../engine/lock";
import { linesIn } from "../../../formats/lines-in";
import { decodeOctalEscapes } from "../../../formats/octal-escape";
import { sh } from "../../../remote/shell/sh";
import { openLedger } from "../../shared/inode-snapshot";
import { without, withoutMounts } from "../../shared/tree-mounts";
import { goneMeanwhile } from "./tools";

/** What is in a share's directory: whose it is, and what would have to be known before it is taken over. */

const findutils: Tool = { program: "find", packages: ["findutils", "findutils"] };
const awk: Tool = { program: "awk", packages: ["mawk", "gawk"] };
/** What a takeover and its way back need beside. */
const takingOver: readonly Tool[] = [
  { program: "setfattr", packages: ["attr", "attr"] },
  { program: "setfacl", packages: ["acl", "acl"] },
  { program: "unshare", packages: ["util-linux", "util-linux"] },
  // That of busybox has none.
  { program: "join", packages: ["coreutils", "coreutils"] },
];

/** Lines of owner, group and kind that are told apart; guests can make any number of them. */
const mostKinds = 2000;

/** Entries of one owner, group and kind. */
export interface EntryCount {
  readonly count: number;
  readonly kind: "directory" | "file" | "link" | "special";
  readonly uid: number;
  readonly gid: number;
  /** The owner's name where the host has one, else empty. */
  readonly user: string;
  /** Whether their owner can read and write them, and pass directories and run what others may run: `u+rwX`. */
  readonly open: boolean;
}

/** Entries of which each matters: how many, and the first five of them, by their path in the tree. */
export interface Named {
  readonly count: number;
  readonly names: readonly string[];
}

/** The directory itself is not counted, and other file systems and mounts are not entered. */
export interface TreeSeen {
  readonly entries: readonly EntryCount[];
  /** Plain files that somebody may run. */
  readonly executables: number;
  /** Plain files with setuid or setgid. */
  readonly privileged: Named;
  /** Plain files with a name outside the tree, too. */
  readonly linkedOut: Named;
  /** Where other file systems are mounted, and where subvolumes begin. */
  readonly otherFileSystems: Named;
  /** Whose path no command can be given (PATH_MAX of limits.h, Linux 6.1). */
  readonly tooDeep: Named;
  /** What cannot be looked at or into, as find(1) says it: `'./a': Permission denied`. What is in it is not counted. */
  readonly unreadable: Named;
}

/** Whether there are symbolic links in it. */
export function hasLinks({ entries }: TreeSeen): boolean {
  return entries.some(({ kind }) => kind === "link");
}

/** Bytes that a name beside a link is longer than its own at most: `.5d3f1a2b~v9p.1234567`. */
export const longestStaged = 21;

/**
 * Bytes of the longest path that a command can be given: what a system call takes (PATH_MAX of limits.h, Linux 6.1)
 * without the NUL, `./` before it, `/.` behind it, and what a name beside a link is longer than its own.
 */
const longestPath = 4096 - 1 - 2 - 2 - longestStaged;

/** Bytes of a name (NAME_MAX of limits.h, Linux 6.1), without those of a suffix that is put behind it. */
export const longestLinkName = 255 - 14;

/** Levels that the longest path has at least, whose names are 255 bytes each (NAME_MAX). */
const levelsOfLongest = 15;

/**
 * Of lines `f 644 0 0 1 2049 3`: kind, mode, owner, group, names, device, level. The first is the tree itself. Lines that
 * are equal are judged once.
 */
const counting = String.raw`
function judge(line, n,  part, mode, user, special, rest, runs, sort) {
  split(line, part, " ")
  if (part[6] != device) { named = 1; return }
  mode = sprintf("%04d", part[2]); special = substr(mode, 1, 1); user = substr(mode, 2, 1); rest = substr(mode, 3)
  runs = user % 2 || part[1] == "f" && substr(rest, 1, 1) % 2 == 0 && substr(rest, 2, 1) % 2 == 0
  sort = (part[1] ~ /^[dfl]$/ ? part[1] : "o") " " part[3] " " part[4]
  sort = sort " " (user >= 6 && runs || part[1] !~ /[df]/ ? "open" : "closed")
  if (!(sort in total) && ++sorts > ${mostKinds}) sort = substr(sort, 1, 1) " 4294967295 4294967295 closed"
  total[sort] += n; users[part[3]]
  if (part[1] == "f" && (user % 2 || substr(rest, 1, 1) % 2 || substr(rest, 2, 1) % 2)) executables += n
  if (part[1] == "f" && (part[5] > 1 || special > 1) || part[7] > ${levelsOfLongest}) named = 1
}
${telling}
$0 == "!" { print; next }
NR == 1 { device = $6; next }
$0 in count { count[$0]++; next }
++lines <= 100000 { count[$0] = 1; next }
{ judge($0, 1) }
END {
  for (line in count) judge(line, count[line])
  for (one in total) print total[one] " " one
  for (one in users) print "user " one
  if (executables) print "executables " executables
  if (named) print "named"
}`;

/** Of records `f 644 1 9977855 2049 sub/a`, which end with a NUL: those that matter one by one, five names at most. */
const naming = String.raw`
BEGIN { RS = "\0" }
function path() { sub(/^[^ ]* [^ ]* [^ ]* [^ ]* [^ ]* /, ""); return $0 }
function matters(what, name) {
  if (++count[what] > 5) return
  gsub(/\\/, "\\134", name); gsub(/\n/, "\\012", name)
  print what ": " name
}
${telling}
$0 == "!\n" { print "!"; next }
NR == 1 { device = $5; next }
$5 != device { matters("otherFileSystems", path()); next }
{
  line = $0
  if ($1 == "f" && $3 > 1) { if (!found[$5, $4]++) { links[$5, $4] = $3; first[$5, $4] = line } }
  if ($1 == "f" && length($2) > 3 && substr($2, 1, 1) > 1) { matters("privileged", path()); $0 = line }
  if (length(line) - length($1 $2 $3 $4 $5) - 5 > ${longestPath}) matters("tooDeep", path())
}
END {
  for (inode in found) if (found[inode] < links[inode]) { $0 = first[inode]; matters("linkedOut", path()) }
  for (what in count) print what " " count[what]
}`;

/** Names of links that cannot be mapped, as find(1) matches bytes; they are counted as what stays as it is. */
const tooLongForMapping = `${"?".repeat(longestLinkName + 1)}*`;

const kinds = { d: "directory", f: "file", l: "link", o: "special" } as const;

/** Walks the working directory. */
const counted = sh`exec 5>&2
# COMMAND... | awk PROGRAM: what it counts, and lines "said ..." of what the command says; 5 has signs of progress
walk() {
  exec 3>&1
  said=$(exec 6>&1; { "$@" || printf '!\n'; } 2>&6 | awk -v mark="$mark" "$program" >&3 2>&5) || exit 1
  printf '%s\n' "$said" | sed '/^$/d; s/^/said /'
}
# What went while it was walked is no error, and is gone the next time; where that goes on, it is counted without it.
walked() {
  for turn in 1 2 3; do
    counted=$(walk "$@") || exit 1
    printf '%s\n' "$counted" | grep -q '^!$' || return 0
    said=$(printf '%s\n' "$counted" | sed -n 's/^said //p')
    [ -z "$said" ] || printf '%s\n' "$said" | grep -aqE ${goneMeanwhile} || break
  done
  [ -n "$said" ] || { echo 'find failed' >&2; exit 1; }
  shut=$(printf '%s\n' "$said" | grep -avE ${goneMeanwhile} | sed 's/^find: //') || :
}
shut=''
program=${counting}
${without(sh`printf '%s\n' "$mounts"`, ".", sh`-printf 'd 755 0 0 1 mount %d\n'`)}
walked find . -xdev $depth "$@" '(' -type f -printf 'f %m %U %G %n %D %d\n' -o -type l -name ${tooLongForMapping} -printf 'o %m %U %G 1 %D %d\n' -o -printf '%y %m %U %G 1 %D %d\n' ')'
sums=$counted counted=''
case $sums in (*named*)
  program=${naming}
  ${without(sh`printf '%s\n' "$mounts"`, ".", sh`-printf 'd 755 1 %i mount %P\0'`)}
  walked find . -xdev $depth "$@" '(' -type f -o -type d ')' -printf '%y %m %n %i %D %P\0';;
esac
printf '%s\n' "$sums" "$counted" | sed '/^user /d; /^said /d; /^named/d; /^!$/d'
if [ -n "$shut" ]; then
  echo "unreadable $(printf '%s\n' "$shut" | wc -l)"
  printf '%s\n' "$shut" | head -n 5 | sed 's/^/unreadable: /'
fi
for user in $(printf '%s\n' "$sums" | sed -n 's/^user //p' | head -n 50); do
  name=$(id -nu -- "$user" 2>/dev/null) && printf 'user %s %s\n' "$user" "$name"
done
:`;

/**
 * One walk, counted on the spot: what it prints does not grow with the tree. A second one for names, where there are any
 * to be told. Not `whole`: no deeper than what stands in the directory itself.
 *
 * Samples: `12 f 0 0 open`, `privileged 2`, `privileged: bin/a\134b`, `user 0 root`. In a name a backslash and a line
 * end stand as three octal digits.
 */
export function treeIn(path: string, { whole = true, taken = false } = {}): Fact<TreeSeen> {
  return {
    place: "host",
    does: whole ? `count what is in ${path}` : `see what stands in ${path}`,
    tools: [findutils, awk, ...(taken ? takingOver : [])],
    script: sh`[ -d ${path} ] || exit 0
if ! ( cd -P -- ${path} 2>/dev/null ); then printf '%s\n' 'unreadable 1' ${`unreadable: '.': Permission denied`}; exit 0; fi
[ -n "$(ls -AU -- ${path} 2>&1 | head -n 1)" ] || exit 0
export depth=${whole ? "" : "-maxdepth 1"}
${withoutMounts(path, counted)}`,
    parse(output) {
      const lines = linesIn(output);
      const found = (shape: RegExp) =>
        lines.map((line) => shape.exec(line)).filter((match) => match !== null);
      const users = new Map(found(/^user (\d+) (.*)$/).map(([, uid, name]) => [uid, name]));
      return {
        entries: found(/^(\d+) ([dflo]) (\d+) (\d+) (open|closed)$/).map(
          ([, count, kind, uid, gid, state]) => ({
            count: Number(count),
            kind: kinds[kind as keyof typeof kinds],
            uid: Number(uid),
            gid: Number(gid),
            user: users.get(uid) ?? "",
            open: state === "open",
          }),
        ),
        executables: namedIn(lines, "executables").count,
        privileged: namedIn(lines, "privileged"),
        linkedOut: namedIn(lines, "linkedOut"),
        otherFileSystems: namedIn(lines, "otherFileSystems"),
        tooDeep: namedIn(lines, "tooDeep"),
        unreadable: namedIn(lines, "unreadable"),
      };
    },
  };
}

function namedIn(lines: readonly string[], what: string): Named {
  return {
    count: Number(lines.find((line) => line.startsWith(`${what} `))?.split(" ")[1] ?? 0),
    names: lines
      .filter((line) => line.startsWith(`${what}: `))
      .map((line) => decodeOctalEscapes(line.slice(what.length + 2))),
  };
}

/** What had setuid, setgid or capabilities when it was taken over. Sample: `2`, and then names, a line each. */
export function privilegesTaken(path: string): Fact<Named> {
  return {
    place: "host",
    does: `see which files in ${path} had setuid, setgid or capabilities`,
    script: sh`${openLedger({ of: "owners", path })}
if [ -e "$ledger.privileged" ]; then wc -l < "$ledger.privileged"; head -n 5 -- "$ledger.privileged"; fi`,
    parse(output) {
      const [count = "0", ...names] = linesIn(output);
      return {
        count: Number(count),
        names: names.map((name) => decodeOctalEscapes(name.replace(/^\.\//, ""))),
      };
    },
  };
}
