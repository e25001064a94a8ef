import type { StepFailure } from "../engine/concern";
import { telling } from "../engine/machine-lock";
import { lines, type Script, sh } from "../formats/shell";
import { identityFormat, withoutLinks } from "../formats/without-links";
import { type Ledger } from "./ledger";

/** What the steps of a tree do in a shell: what its entries have, what a guest is to see of them, and the way back. */

/** Attributes that change with owner and mode, or that a guest changes. Others have names of anybody's choice. */
const virtfs = [
  "user.virtfs.uid",
  "user.virtfs.gid",
  "user.virtfs.mode",
  "user.virtfs.rdev",
  "user.virtfs.system.posix_acl_access",
  "user.virtfs.system.posix_acl_default",
] as const;
const accessLists = ["system.posix_acl_access", "system.posix_acl_default"] as const;
const capability = "security.capability";
const pattern = `^(${[...virtfs, ...accessLists, capability].join("|").replaceAll(".", "\\.")})$`;

/** The directory that a tree begins at. */
export interface TreeAt {
  readonly path: string;
  /** Inode and birth, `6029396:1763877000.123456789`; of a nested one as formats/without-links.ts has it. */
  readonly identity: string;
  /**
   * Of one that another file system begins at (nested-trees.ts), the directory of the share. It is taken over as its
   * entries are; of the share's own directory only what is in it.
   */
  readonly outer?: string;
}

/** A nested one's goes by what it is, wherever it is. */
export function ledgerOf(of: Ledger["of"], tree: Pick<TreeAt, "path"> & Partial<TreeAt>): Ledger {
  return { of, path: tree.outer === undefined ? tree.path : `${tree.outer} ${tree.identity ?? ""}` };
}

/** In `$depth`: where find(1) begins, for what it is one of the entries. */
export function begun({ outer }: TreeAt): Script {
  return outer !== undefined ? sh`depth='-mindepth 0'` : sh`depth='-mindepth 1'`;
}

/** Bytes of arguments that xargs(1) gives to one process; Linux takes 2 MiB at least with the usual stack limit (execve(2)). */
export const argumentBytes = 1_000_000;

/** The same where several processes at once are each given some. */
const partBytes = 250_000;

/** Processes that do one thing at once: as many as there are processors, and no more than that. */
const mostParts = 4;

/** How a line ends that tells of an entry that moved or went between two looks, or has another thing in its place. */
export const goneMeanwhile =
  ": (No such file or directory|Not a directory|Too many levels of symbolic links|No such attribute)$";

/** What scripts below use. Names are bytes, and stand in a line each: `\`, LF and CR as getfattr and setfattr write them. */
export const tools = sh`[ "$(printf 'a\0b\0' | awk 'BEGIN { RS = "\0" } END { print NR }')" = 2 ] || {
  echo 'the awk of this machine cannot read names that end with NULs: install gawk or mawk' >&2
  exit 1
}
in_lines() {
  awk -v mark="$mark" 'BEGIN { RS = "\0" } ${{ text: telling }}
/[\n\r\\]/ { gsub(/\\/, "\\134"); gsub(/\n/, "\\012"); gsub(/\r/, "\\015") } { print }'
}
as_names() {
  awk -v mark="$mark" '${{ text: telling }}
/\\/ { gsub(/\\012/, "\n"); gsub(/\\015/, "\r"); gsub(/\\134/, "\\") } { printf "%s%c", $0, 0 }' "$1"
}
# COMMAND... | what reads it: that the first ended well is in $ledger.fed, for the shell drops its status
feeding() { rm -f -- "$ledger.fed$part"; "$@" && : > "$ledger.fed$part"; }
# COMMAND...: forgives it what moved or went meanwhile, for the tree lives, and nothing else. Ten lines of what it says.
# $ledger.moved says that there was something to forgive.
on_living() {
  : > "$ledger.errors$part" || return 1
  status=0
  "$@" 2> "$ledger.errors$part" || status=$?
  [ $status -ne 0 ] || return 0
  if [ -s "$ledger.errors$part" ] && { [ $status -eq 1 ] || [ $status -eq 123 ]; }; then
    kinds=0
    grep -aqvE ${`${goneMeanwhile}|: Permission denied$`} "$ledger.errors$part" || kinds=$?
    # setfacl(1) says that permission is denied, too, where the kind of an entry changes while it is at it.
    if [ $kinds -eq 1 ] && grep -aqE ${goneMeanwhile} "$ledger.errors$part"; then
      : > "$ledger.moved"
      return 0
    fi
  fi
  head -n 10 "$ledger.errors$part" >&2
  return 1
}
part='' parts=$(nproc) || parts=1
[ "$parts" -le ${mostParts} ] || parts=${mostParts}
# Names that end with NULs, and lines: as they come, with signs of progress
telling_names() { awk -v mark="$mark" 'BEGIN { RS = "\0" } ${{ text: telling }} { printf "%s%c", $0, 0 }'; }
telling_lines() { awk -v mark="$mark" '${{ text: telling }} { print }' "$1"; }
# FILE COMMAND...: with FILE.N as its --restore, for all N at once
in_parts() {
  of=$1 one=0 jobs='' worst=0
  shift
  while [ $one -lt $parts ]; do
    if [ -s "$of.$one" ]; then
      ( part=.$one; feeding telling_lines "$of.$one" | on_living "$@" --restore=- && [ -e "$ledger.fed$part" ] ) &
      jobs="$jobs $!"
    fi
    one=$((one + 1))
  done
  for job in $jobs; do wait "$job" || worst=1; done
  return $worst
}
# COMMAND...: on names that end with NULs, several at once
at_once() { on_living xargs -0 -r -P "$parts" -s ${partBytes} "$@" --; }
# COMMAND...: on names that end with NULs, in their order
in_order() { on_living xargs -0 -r -s ${argumentBytes} "$@" --; }
# NAMES COMMAND...: the same for names in lines
on_names() { feeding as_names "$1" | { shift; at_once "$@"; } && [ -e "$ledger.fed$part" ]; }
stats() { in_order stat --printf ${`%d ${identityFormat} %u %g %f %n\\0`}; }
getfattrs() { in_order getfattr -h --absolute-names -d -e hex -m ${pattern}; }
# Names that end with NULs: lines IDENTITY UID GID MODE NAME of those that are on the same file system as the tree, for
# find tells of the directories that others begin at, too.
lines_of_stats() {
  rm -f -- "$ledger.described"
  { part=.stats; stats && : > "$ledger.described"; } | awk -v mark="$mark" -v device="$(stat -c %d .)" 'BEGIN { RS = "\0" } ${{ text: telling }}
$1 != device { next }
{ sub(/^[^ ]* /, "") }
/[\n\r\\]/ { gsub(/\\/, "\\134"); gsub(/\n/, "\\012"); gsub(/\r/, "\\015") } { print }'
  [ -e "$ledger.described" ]
  rm -f -- "$ledger.described"
}
# ...: finds entries to be taken over or given back: their names into $ledger.names, directories as NAME/., and these
# lines into $ledger.lines
find_entries() {
  feeding on_living find . -xdev $depth "$@" '(' -type d -printf '%p/.\0' -o -type f -print0 ')' |
    tee -- "$ledger.names" | lines_of_stats > "$ledger.lines"
  [ -e "$ledger.fed$part" ]
}
# Lines of all entries, each inode once, into $ledger.list
describe() {
  find_entries
  sort -s -u -t ' ' -k 1,1 -- "$ledger.lines" > "$ledger.list"
}
# Names that end with NULs: what attributes they have, with a line that says that they are all
attributes() { getfattrs && echo '# end'; }
# Names in lines: the same, into $ledger.attributes
attributes_of() {
  feeding as_names "$1" | attributes > "$ledger.attributes"
  [ -e "$ledger.fed$part" ]
}`;

/** Functions of awk(1) on what getfattr(1) prints, which comes in the order of the names that it was given. */
const attributesInStep = String.raw`
function load(line) { # the next entry that has attributes
  following = ""; values = ""
  while ((getline line < attributes) > 0) {
    if (line == "# end") { ended = 1; return }
    if (line == "") return
    if (line ~ /^# file: /) following = substr(line, 9)
    else values = values (values == "" ? "" : ",") line
  }
}
function attributesOf(name, found) {
  if (name != following) return ""
  found = values; load(); return found
}
function valueOf(list, name, at) { # of "a=0x1,b=0x2"
  at = index("," list, "," name "=")
  if (!at) return ""
  list = substr(list, at + length(name) + 1)
  return index(list, ",") ? substr(list, 1, index(list, ",") - 1) : list
}
function number(hex, n, i) {
  for (i = 1; i <= length(hex); i++) n = n * 16 + index("123456789abcdef", substr(hex, i, 1))
  return n + 0
}
BEGIN { load() }
END { if (!ended) { print "the attributes of the tree cannot be read whole" > "/dev/stderr"; exit 1 } }`;

/** The words before a name, as a regular expression: not every awk(1) counts repetitions. */
const words = (count: number): Script => ({ text: "[^ ]* ".repeat(count) });

/** Of awk(1): a number as the value of an attribute, `0xe8030000` for 1000. */
export const u32 = String.raw`
BEGIN { for (i = 0; i < 256; i++) byte[i] = sprintf("%02x", i) }
function u32(n) { return "0x" byte[n % 256] byte[int(n / 256) % 256] byte[int(n / 65536) % 256] byte[int(n / 16777216)] }`;

/**
 * Functions of awk(1): what is to be written into an entry's attributes so that the guest sees what it had, but for what
 * is there already, as setfattr(1) takes it.
 *
 * The group's bits of an entry with an access list are its mask; what the group may do is in the list, and no more than
 * the mask.
 */
const view = String.raw`
function both(a, b, bit, n) { for (bit = 1; bit < 8; bit *= 2) if (int(a / bit) % 2 && int(b / bit) % 2) n += bit; return n + 0 }
function group(acl, i) { # of ACL_GROUP_OBJ (Linux 6.1 include/uapi/linux/posix_acl.h)
  for (i = 11; i < length(acl); i += 16) if (substr(acl, i, 4) == "0400") return substr(acl, i + 5, 1)
  return 7
}
function view(uid, gid, mode, had, has, acl, wanted) {
  mode = number(mode)
  if (had != "") acl = valueOf(had, "system.posix_acl_access")
  if (acl != "") mode += (both(group(acl), int(mode / 8) % 8) - int(mode / 8) % 8) * 8
  if (has == "" || valueOf(has, "user.virtfs.uid") == "") wanted = wanted "user.virtfs.uid=" u32(uid) "\n"
  if (has == "" || valueOf(has, "user.virtfs.gid") == "") wanted = wanted "user.virtfs.gid=" u32(gid) "\n"
  if (has == "" || valueOf(has, "user.virtfs.mode") == "") wanted = wanted "user.virtfs.mode=" u32(mode) "\n"
  return wanted
}`;

/**
 * Of the entries that were found: lines of a ledger into `$ledger.new`; into `$ledger.dump.N` what lets the guest see
 * them; the names of all into `$ledger.taken`, with NULs, of those that their owner could not use into `$ledger.closed`,
 * and of those that have setuid, setgid or capabilities into `$ledger.lost`.
 *
 * What stat(1) and getfattr(1) say comes in the order of the names; either may miss what moves, and getfattr(1) says
 * nothing of what has none: what it could not look at is left for the next time.
 */
export const whatTheyHave = sh`( part=.attributes; attributes < "$ledger.names" > "$ledger.attributes" )
sed -n 's/^getfattr: \(.*\): [A-Z][a-z ]*$/\1/p' "$ledger.errors.attributes" > "$ledger.missed"
rm -f -- "$ledger".dump.* "$ledger.described"
for one in taken closed lost; do : > "$ledger.$one"; done
{ in_lines < "$ledger.names" | awk -v attributes="$ledger.attributes" -v stats="$ledger.lines" -v missing="$ledger.missed" -v ledger="$ledger" -v parts="$parts" '${{ text: attributesInStep }}${{ text: u32 }}${{ text: view }}
function isClosed(mode, user, runs) {
  user = index("123456789abcdef", substr(mode, length(mode) - 2, 1)) % 2 * 4 + int(index("123456789abcdef", substr(mode, length(mode) - 1, 1)) / 4)
  runs = number(substr(mode, length(mode) - 1)) % 64
  return user < 6 || user % 2 == 0 && (mode ~ /^4/ || runs % 2 || int(runs / 8) % 2)
}
function next_status() {
  status_name = ""
  if ((getline status < stats) <= 0) return
  split(status, next_had, " ")
  status_name = substr(status, length(next_had[1] next_had[2] next_had[3] next_had[4]) + 5)
}
BEGIN { while ((getline line < missing) > 0) missed[line]; next_status() }
{
  name = $0
  found = attributesOf(name)
  if (name != status_name) next
  if (name in missed) { next_status(); next }
  id = next_had[1]; uid = next_had[2]; gid = next_had[3]; mode = next_had[4]
  next_status()
  print id, uid, gid, mode, found == "" ? "-" : found
  if (found == "") {
    # Most have none, and many of them the same owner and mode.
    kind = uid " " gid " " mode
    if (!(kind in views)) {
      if (++kinds > 10000) { split("", views); kinds = 1 }
      views[kind] = view(uid, gid, mode, "", "")
    }
    text = views[kind]
  } else text = view(uid, gid, mode, found, found)
  if (text != "") print "# file: " name "\n" text > (ledger ".dump." dumped++ % parts)
  if (!(mode in closed)) closed[mode] = isClosed(mode)
  if (closed[mode]) print name > (ledger ".closed")
  if ((mode ~ /^8[4-9a-f]/ || found != "" && valueOf(found, ${{ text: `"${capability}"` }}) != "") && !lost[id]++) print name > (ledger ".lost")
  if (name ~ /\\/) { gsub(/\\012/, "\n", name); gsub(/\\015/, "\r", name); gsub(/\\134/, "\\", name) }
  printf "%s%c", name, 0 > (ledger ".taken")
}' && : > "$ledger.described"; } | sort -s -u -t ' ' -k 1,1 > "$ledger.new"
[ -e "$ledger.described" ]
rm -f -- "$ledger.described"`;

/** Lines of `$ledger.both`: what an entry had, what it has, and its name. */
const joined = sh`join -t ' ' -- "$ledger.had" "$ledger.list" > "$ledger.both"
cut -d ' ' -f 9- "$ledger.both" > "$ledger.these"
attributes_of "$ledger.these"`;

/** Of all in the ledger, where that holds more than what was found just now. */
const viewOfAll = sh`ln -sf -- "$ledger" "$ledger.had"
describe
${joined}
rm -f -- "$ledger".dump.*
awk -v attributes="$ledger.attributes" -v ledger="$ledger" -v parts="$parts" '${{ text: attributesInStep }}${{ text: u32 }}${{ text: view }}
{
  name = $0; sub(/^${words(8)}/, "", name)
  text = view($2, $3, $4, $5, attributesOf(name))
  if (text != "") print "# file: " name "\n" text > (ledger ".dump." dumped++ % parts)
}' "$ledger.both"`;

/** `$shown`: the guest sees all that was in the ledger before. */
export const show = sh`if [ -z "$shown" ]; then
${viewOfAll}
fi
in_parts "$ledger.dump" setfattr -h
: > "$ledger.view"
shown=1`;

/** What was in use meanwhile is not left behind; what has to outlive the script is `view`, `run` and `privileged`. */
export const cleaning = sh`for one in list lines new names found described fed these taken attributes both closed unset had lost earlier whole known missed now moved shares rest all; do rm -f -- "$ledger.$one"; done
rm -f -- "$ledger".dump.* "$ledger".set.* "$ledger".errors* "$ledger".fed.*`;

/** Before what changes a tree: it is cleaned up after, and taken back where it fails. */
export function takenBackOnFailure(takeBack: Script): Script {
  return sh`take_back() { ${takeBack}
}
trap 'status=$?
trap - EXIT
[ $status -eq 0 ] || take_back
${{ text: cleaning.text }}
exit $status' EXIT
export records mark`;
}

/** Entries with what their owner cannot read, write, pass or run: `u+rwX` changes them. */
export const closed = sh`'(' ! -perm -u+rw -o -type d ! -perm -u+x -o -perm /g+x,o+x ! -perm -u+x ')'`;

/** What a tree that others change all the time makes of a way back. */
export const inMotion = "the tree does not hold still: not all in it could be found";

/**
 * setuid, setgid and capabilities of files are not given back: a guest could have written what has them.
 *
 * It ends well when a walk finds all that `had` speaks of as it was, or when what is not found is gone: as several walks
 * say that agree, find nothing to do and meet nothing that moves, four where something did before: a walk may miss
 * without a word what is moved right then, and what was given back by name may have been another by then.
 * What is not known to be gone must not be forgotten.
 */
export function restored(tree: TreeAt, had: Script): Script {
  const { path, identity } = tree;
  const give = sh`${begun(tree)}
${tools}
ln -sf -- ${had} "$ledger.had"
had=$(wc -l < "$ledger.had") agreed=0 enough=2 last=''
for turn in 1 2 3 4 5 6 7 8 9 10; do
rm -f -- "$ledger.moved"
describe
${joined}
rm -f -- "$ledger".dump.* "$ledger".set.*
: > "$ledger.unset"
awk -v attributes="$ledger.attributes" -v ledger="$ledger" -v parts="$parts" '${{ text: attributesInStep }}
function bits(n) { return (int(n / 4) % 2 ? "r" : "-") (int(n / 2) % 2 ? "w" : "-") (n % 2 ? "x" : "-") }
{
  name = $0; sub(/^${words(8)}/, "", name)
  now = attributesOf(name); before = $5 == "-" ? "" : $5
  mode = number($4)
  # A guest may have written what it made setuid itself: no file gets it back, and what nobody touched keeps it.
  if (int(mode / 4096) == 8 && ($2 != $6 || $3 != $7 || $4 != $8)) mode -= int(mode / 1024) % 4 * 1024
  lists = valueOf(now, "system.posix_acl_access") != valueOf(before, "system.posix_acl_access") ||
    valueOf(now, "system.posix_acl_default") != valueOf(before, "system.posix_acl_default")
  owner = $2 != $6 || $3 != $7 || mode != number($8) || lists
  if (owner) {
    special = int(mode / 512) % 8
    flags = (special > 3 ? "s" : "-") (int(special / 2) % 2 ? "s" : "-") (special % 2 ? "t" : "-")
    print "# file: " name "\n# owner: " $2 "\n# group: " $3 "\n# flags: " flags "\nuser::" bits(int(mode / 64) % 8) "\ngroup::" bits(int(mode / 8) % 8) "\nother::" bits(mode % 8) "\n" > (ledger ".dump." dumped++ % parts)
  }
  set = ""
  for (i = split(before, list, ","); i > 0; i--) {
    what = list[i]; sub(/=.*/, "", what)
    if (what ~ /^security/) continue
    if (valueOf(now, what) "" != valueOf(before, what) "" || owner && what ~ /^system/) set = set list[i] "\n"
  }
  if (set != "") print "# file: " name "\n" set > (ledger ".set." given++ % parts)
  for (i = split(now, list, ","); i > 0; i--) {
    what = list[i]; sub(/=.*/, "", what)
    if (what ~ /^user/ && valueOf(before, what) == "") print what, name > (ledger ".unset")
  }
}' "$ledger.both"
in_parts "$ledger.dump" setfacl
in_parts "$ledger.set" setfattr -h
for attribute in ${virtfs}; do
  sed -n "s/^$attribute //p" "$ledger.unset" > "$ledger.these"
  on_names "$ledger.these" setfattr -h -x "$attribute"
done
found=$(wc -l < "$ledger.both")
if [ -e "$ledger.moved" ]; then
  agreed=0 enough=4
else
  # What is still to be done after it was done (a file system that keeps no such mode) is as good as nothing to do.
  work=$(cat -- "$ledger".dump.* "$ledger".set.* "$ledger.unset" 2>/dev/null | cksum)
  case $work in (*' 0') [ "$found" != "$had" ] || break;; esac
  if [ "$last" = "$found $work" ]; then agreed=$((agreed + 1)); else agreed=1; fi
  [ $agreed -lt $enough ] || break
  last="$found $work"
fi
[ $turn -lt 10 ] || { echo ${inMotion} >&2; exit 1; }
done`;
  return lines([sh`export records mark`, withoutLinks(path, true, give, identity)]);
}

/** Before the names of those that may not be taken over. */
export const heldPrivileges = "these have setuid, setgid or capabilities:";

/** What goes wrong with a tree that has no fault of its own. */
export const failures: readonly StepFailure[] = [
  {
    answer: heldPrivileges,
    code: "treePrivileged",
    what: "there are files with setuid, setgid or capabilities, which a change of owner would take",
    remedy:
      "take them out, or write directory.privileged: strip: they lose that for good, for a guest could rewrite them",
  },
  ...["No space left on device", "Disk quota exceeded"].map((answer) => ({
    answer,
    code: "fileSystemFull" as const,
    what: "there is no room for what is to be kept of the entries",
    remedy: "make room on that file system, or raise the quota, and run pulumi up again",
  })),
  {
    answer: inMotion,
    code: "treeInMotion",
    what: "entries are renamed while they are given back, and what is not found would be forgotten",
    remedy: "stop who writes there (another guest, a program of the host), and run it again",
  },
  {
    answer: "Read-only file system",
    code: "fileSystemReadOnly",
    what: "the file system is read-only",
    remedy: "mount it read-write, and run pulumi up again",
  },
];

/** As chown(1) takes it. */
export function ownerText(uid: number | undefined, gid: number | undefined): string {
  return `${uid ?? ""}${gid === undefined ? "" : `:${gid}`}`;
}
