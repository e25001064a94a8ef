import type { Step } from "../../../engine/layer";
import { goesOn } from "../../../engine/lock";
import { lines, type Script, sh } from "../../../remote/shell/sh";
import { identityFormat } from "../../../remote/shell/inode";
import { withoutLinks } from "../../../remote/shell/no-symlinks";
import { type Owner, ownerText } from "../owner";
import { forgetLedger, keepLedger, makeLedger, openLedger } from "../../shared/inode-snapshot";
import { longestLinkName, longestStaged } from "./probe";
import { mountsIn, without } from "../../shared/tree-mounts";
import { ledgerOf, type TreeAt } from "../../shared/tree-at";
import { failures, inMotion, tooFar } from "./failures";
import { argumentBytes, cleaning, takenBackOnFailure, tools, u32 } from "./tools";

/**
 * Symbolic links that were made on the host, which a guest of a mapped share can neither read nor follow: made what the
 * guest's own links are, plain files that hold the target and have the type of a link in `user.virtfs.mode`, and back.
 *
 * A line of the ledger is what a link was, by the plain file in its place: owner, time, and target, in which blanks too
 * stand as octal digits. Sample: `6029396:1763877000.123456789 0:0 1763877000.1234567890 ../a\040b`.
 *
 * Each takes its place in one rename, and what stood there keeps the name with a suffix until all are done: whatever was
 * put there in between is found under it, and put back.
 */

/** In sh(1): the name `$1` without the suffix. */
const unsuffixed: Script = { text: '"$' + '{1%"$suffix"}"' };

/** Functions for both ways, and what an earlier run left half done is undone. */
const ready = sh`depth='-mindepth 1'
exec 7>&2
${tools}
# COUNT COMMAND: runs it for so many words that end with NULs at a time, which are $1 and on; no more than 100 paths a shell,
# and never a part of the words that belong together
each() {
  on_living xargs -0 -r -x -n $((100 / $1 * $1)) -s ${argumentBytes} sh -c "worst=0
  while [ \$# -ge $1 ]; do
    { $2; } || worst=1
    shift $1
  done
  [ \$# -eq 0 ] || { echo 'words are missing that belong together' >&2; worst=1; }
  "'${goesOn}
  exit $worst' sh
}
# What was put aside goes, or back where its place is empty or has been taken by what is not ours; what was never put in place goes.
settle() {
  [ -s "$ledger.suffix" ] || return 0
  suffix=$(cat -- "$ledger.suffix")
  export suffix
  on_living find . -xdev -name "*$suffix" -type l -print0 > "$ledger.aside"
  each 1 'n=${unsuffixed}; if [ -e "$n" ] || [ -L "$n" ]; then rm -f -- "$1"; else mv -n -T -- "$1" "$n"; fi' < "$ledger.aside"
  on_living find . -xdev -name "*$suffix" ! -type l -print0 > "$ledger.aside"
  in_order stat --printf ${`${identityFormat} %n\\0`} < "$ledger.aside" > "$ledger.found"
  awk -v ledger="$ledger" 'BEGIN { while ((getline line < ledger) > 0) { sub(/ .*/, "", line); ours[line] }; RS = "\0" }
{ id = $1; sub(/^[^ ]* /, ""); printf "%s%c%s%c", $0, 0, id in ours ? "ours" : "theirs", 0 }' "$ledger.found" > "$ledger.aside"
  each 2 'n=${unsuffixed}; if [ "$2" = theirs ]; then { [ ! -d "$1" ] || [ -d "$n" ] || rm -f -- "$n"; } && mv -T -- "$1" "$n"
    elif [ -L "$n" ]; then rm -f -- "$1"; else mv -n -T -- "$1" "$n"; fi' < "$ledger.aside"
  on_living find . -xdev -name "$suffix.*" -exec rm -f -- {} +
  rm -f -- "$ledger.suffix" "$ledger.aside"
}
settle
# Names of directories that end with NULs: when they were changed last, for to put another thing in a name changes that
# What a killed run kept comes last, and so stands.
keep_times() {
  sort -z -u | on_living xargs -0 -r stat --printf '@%.9Y\0%n\0' -- > "$ledger.now"
  [ ! -e "$ledger.times" ] || cat -- "$ledger.times" >> "$ledger.now"
  mv -f -- "$ledger.now" "$ledger.times"
}
give_times() {
  each 2 'touch -c -m -d "$1" -- "$2"' < "$ledger.times"
  rm -f -- "$ledger.times"
}
mark_names() { suffix=".$(od -An -N4 -tx4 /dev/urandom | tr -d ' ')~v9p"; export suffix; printf %s "$suffix" > "$ledger.suffix"; }`;

/** Functions of awk(1). */
const naming = String.raw`
function beside(name, dir) { dir = name; sub(/[^\/]*$/, "", dir); return dir suffix "." ++staged }
function escaped(name) {
  if (name ~ /[\\\n\r]/) { gsub(/\\/, "\\134", name); gsub(/\n/, "\\012", name); gsub(/\r/, "\\015", name) }
  return name
}
function raw(name) {
  if (name ~ /\\/) { gsub(/\\040/, " ", name); gsub(/\\012/, "\n", name); gsub(/\\015/, "\r", name); gsub(/\\134/, "\\", name) }
  return name
}`;

/** Puts plain files in the place of links, as QEMU makes them for a guest's own. */
export function mapLinks(tree: TreeAt, { uid, gid }: Owner): Step {
  const { path, identity } = tree;
  const links = ledgerOf("links", tree);
  const owner = ownerText(uid, gid);
  const map = sh`${ready}
rm -f -- "$ledger".dump.*
for one in these taken lines; do : > "$ledger.$one"; done
${without(sh`cat -- "$ledger.mounts"`, ".")}
on_living find . -xdev -mindepth 1 "$@" -type l -printf '%U:%G\0%T@\0%p\0%l\0' > "$ledger.names"
mark_names
find . -xdev -mindepth 1 "$@" -type l -printf '%h\0' | keep_times
awk -v ledger="$ledger" -v suffix="$suffix" -v parts="$parts" -v mark="$mark" 'BEGIN { RS = "\0" }${{ text: naming }}${{ text: u32 }}
NR % 4 == 1 { owner = $0; next }
NR % 4 == 2 { time = $0; next }
NR % 4 == 3 { name = $0; next }
{
  base = name; sub(/^.*\//, "", base)
  if (length(base) > ${longestLinkName}) next
  file = beside(name)
  printf "%s", $0 > file; close(file)
  printf "%s%c", file, 0 > (ledger ".taken")
  printf "%s%c%s%c", file, 0, name, 0 > (ledger ".these")
  target = escaped($0); gsub(/ /, "\\040", target)
  print owner, time, target > (ledger ".lines")
  split(owner, id, ":")
  print "# file: " escaped(file) "\nuser.virtfs.uid=" u32(id[1]) "\nuser.virtfs.gid=" u32(id[2]) "\nuser.virtfs.mode=0xffa10000\n" > (ledger ".dump." staged % parts)
}' "$ledger.names"
in_parts "$ledger.dump" setfattr -h
at_once chown -h ${owner} < "$ledger.taken"
in_order stat --printf ${`${identityFormat}\\n`} < "$ledger.taken" > "$ledger.found"
[ "$(wc -l < "$ledger.found")" = "$(wc -l < "$ledger.lines")" ] || { echo ${inMotion} >&2; exit 1; }
paste -d ' ' "$ledger.found" "$ledger.lines" | sort -s -u -t ' ' -k 1,1 > "$ledger.new"
[ "$(wc -l < "$ledger.new")" = "$(wc -l < "$ledger.lines")" ] || { echo 'what the links were cannot be written down' >&2; exit 1; }
[ ! -s "$ledger.new" ] || {
cp -- "$ledger.new" "$ledger.run"
${keepLedger(links)}
}
each 2 'mv -T --backup=simple -S "$suffix" -- "$1" "$2"' < "$ledger.these"
settle
give_times`;
  // What failed before anything was put in place left its own files beside the links.
  const undo = sh`if [ -e "$ledger.run" ] || [ -e "$ledger.suffix" ]; then
[ -e "$ledger.run" ] || : > "$ledger.run"
( set -e
${linksBack(tree, sh`"$ledger.run"`)}
)
if [ -e "$ledger" ]; then
join -t ' ' -v 1 -- "$ledger" "$ledger.run" > "$ledger.rest"
if [ -s "$ledger.rest" ]; then mv -f -- "$ledger.rest" "$ledger"; else rm -f -- "$ledger"; fi
fi
fi
rm -f -- "$ledger.run" "$ledger.rest"`;
  return {
    does: `make the links in ${path} that were made on the host readable for the guest`,
    run: sh`${makeLedger(links)}
rm -f -- "$ledger.run"
${mountsIn(path)} > "$ledger.mounts"
${takenBackOnFailure(undo)}
${withoutLinks(path, true, map, identity)}`,
    undo: sh`${openLedger(links)}
${undo}
${cleaning}`,
    failures,
  };
}

/** Of those that are still there; where the guest removed one, or put another thing in its place, that stays. */
export function giveLinksBack(tree: TreeAt): Step {
  const { path } = tree;
  const links = ledgerOf("links", tree);
  return {
    does: `make the links in ${path} again that were there`,
    run: sh`${openLedger(links)}
[ -e "$ledger" ] || [ -e "$ledger.suffix" ] || exit 0
[ -e "$ledger" ] || : > "$ledger"
trap ${{ text: `'${cleaning.text}'` }} EXIT
${linksBack(tree, sh`"$ledger"`)}
${forgetLedger(links)}`,
    failures,
  };
}

export function forgetLinks(path: string): Step {
  return {
    does: `forget what the links in ${path} were`,
    run: forgetLedger(ledgerOf("links", { path })),
  };
}

function linksBack({ path, identity }: TreeAt, had: Script): Script {
  const back = sh`${ready}
passing() { only_short; }
longest=$((longest - ${longestStaged}))
ln -sf -- ${had} "$ledger.had"
for turn in 1 2 3 4 5; do
rm -f -- "$ledger.moved" "$ledger.far"
describe
join -t ' ' -- "$ledger.had" "$ledger.list" > "$ledger.both"
mark_names
sed 's/^[^ ]* [^ ]* [^ ]* [^ ]* [^ ]* [^ ]* [^ ]* //; s,/[^/]*$,,' "$ledger.both" > "$ledger.found"
as_names "$ledger.found" | keep_times
awk -v suffix="$suffix" '${{ text: naming }}
{
  name = $0; sub(/^[^ ]* [^ ]* [^ ]* [^ ]* [^ ]* [^ ]* [^ ]* /, "", name)
  name = raw(name); base = name; sub(/^.*\//, "", base)
  printf "%s%c%s%c%s%c%s%c%s%c%s%c", $2, 0, "@" $3, 0, raw($4), 0, beside(name), 0, name, 0, (length(base) > ${longestLinkName} ? $1 : ""), 0
}' "$ledger.both" > "$ledger.these"
wrong=0
# A guest may have given it a name that leaves no room for the suffix.
each 6 'ln -s -T -- "$3" "$4" && chown -h -- "$1" "$4" && touch -h -d "$2" -- "$4" &&
  if [ -z "$6" ]; then mv -T --backup=simple -S "$suffix" -- "$4" "$5"
  elif [ "$(stat -c ${{ text: identityFormat }} -- "$5")" = "$6" ]; then mv -f -T -- "$4" "$5"; fi' < "$ledger.these" || wrong=1
# Also where one failed: no name of ours stays in the tree.
settle
give_times
[ $wrong -eq 0 ] || exit 1
[ -e "$ledger.moved" ] || break
[ $turn -lt 5 ] || { echo ${inMotion} >&2; exit 1; }
done
[ ! -e "$ledger.far" ] || [ "$(wc -l < "$ledger.had")" = "$(wc -l < "$ledger.both")" ] || {
  echo ${tooFar} >&2
  head -n 3 -- "$ledger.far" >&2
  exit 1
}`;
  return lines([sh`export records mark`, withoutLinks(path, true, back, identity)]);
}
