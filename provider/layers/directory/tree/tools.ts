import { telling } from "../../../engine/lock";
import { type Script, sh } from "../../../remote/shell/sh";
import { identityFormat } from "../../../remote/shell/inode";
import { virtfsAttributes } from "../../../drivers/ninep/attributes";

/** What the steps of a tree use in a shell: names that are bytes, what moves meanwhile, and several processes at once. */

const accessLists = ["system.posix_acl_access", "system.posix_acl_default"] as const;
export const capability = "security.capability";
/** Attributes that change with owner and mode, or that a guest changes. Others have names of anybody's choice. */
const pattern = `^(${[...virtfsAttributes, ...accessLists, capability].join("|").replaceAll(".", "\\.")})$`;

/** Bytes of arguments that xargs(1) gives to one process; Linux takes 2 MiB at least with the usual stack limit (execve(2)). */
export const argumentBytes = 1_000_000;

/** The same where several processes at once are each given some. */
const partBytes = 250_000;

/** Bytes of the longest path that a system call takes, without the NUL (PATH_MAX of limits.h, Linux 6.1). */
const longestName = 4095;

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
  # setfacl(1) alone prints line ends of names as they are.
  if grep -aq '^setfacl: ' "$ledger.errors$part"; then
    awk '/^setfacl: / && NR > 1 { print "" } { printf "%s", (/^setfacl: / || NR == 1 ? "" : "\\012") $0 } END { print "" }' "$ledger.errors$part" > "$ledger.errors$part.whole"
    mv -f -- "$ledger.errors$part.whole" "$ledger.errors$part"
  fi
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
# Names that end with NULs, as they come: but those that no command can be given, where a guest may have made such
passing() { cat; }
longest=${longestName}
only_short() {
  awk -v far="$ledger.far" -v longest="$longest" 'BEGIN { RS = "\0" } length($0) > longest { print substr($0, 1, 200) "..." > far; next } { printf "%s%c", $0, 0 }'
}
# ...: finds entries to be taken over or given back: their names into $ledger.names, directories as NAME/., and these
# lines into $ledger.lines
find_entries() {
  feeding on_living find . -xdev $depth "$@" '(' -type d -printf '%p/.\0' -o -type f -print0 ')' |
    passing | tee -- "$ledger.names" | lines_of_stats > "$ledger.lines"
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
export const attributesInStep = String.raw`
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
export const words = (count: number): Script => ({ text: "[^ ]* ".repeat(count) });

/** Of awk(1): a number as the value of an attribute, `0xe8030000` for 1000. */
export const u32 = String.raw`
BEGIN { for (i = 0; i < 256; i++) byte[i] = sprintf("%02x", i) }
function u32(n) { return "0x" byte[n % 256] byte[int(n / 256) % 256] byte[int(n / 65536) % 256] byte[int(n / 16777216)] }`;

/** Lines of `$ledger.both`: what an entry had, what it has, and its name. */
export const joined = sh`join -t ' ' -- "$ledger.had" "$ledger.list" > "$ledger.both"
cut -d ' ' -f 9- "$ledger.both" > "$ledger.these"
attributes_of "$ledger.these"`;

/** What was in use meanwhile is not left behind; what has to outlive the script is `view`, `run` and `privileged`. */
export const cleaning = sh`for one in list lines new names found described fed these taken attributes both closed unset had lost earlier whole known missed now moved mounts rest far; do rm -f -- "$ledger.$one"; done
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
