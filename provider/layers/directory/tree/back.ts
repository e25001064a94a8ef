import { lines, type Script, sh } from "../../../remote/shell/sh";
import { virtfsAttributes } from "../../../drivers/ninep/attributes";
import { withoutLinks } from "../../../remote/shell/no-symlinks";
import { begun, type TreeAt } from "../../shared/tree-at";
import { inMotion, tooFar } from "./failures";
import { attributesInStep, joined, tools, words } from "./tools";

/**
 * setuid, setgid and capabilities of files are not given back: a guest could have written what has them.
 *
 * It ends well when a walk finds all that `had` speaks of as it was, or when what is not found is gone: as several walks
 * say that agree, find nothing to do and meet nothing that moves, four where something did before: a walk may miss
 * without a word what is moved right then, and what was given back by name may have been another by then.
 * What is not known to be gone must not be forgotten, nor what may be where no path leads that a command can be given: all
 * else is given back then, and it is an error.
 */
export function restored(tree: TreeAt, had: Script): Script {
  const { path, identity } = tree;
  const give = sh`${begun(tree)}
${tools}
passing() { only_short; }
ln -sf -- ${had} "$ledger.had"
had=$(wc -l < "$ledger.had") agreed=0 enough=2 last=''
for turn in 1 2 3 4 5 6 7 8 9 10; do
rm -f -- "$ledger.moved" "$ledger.far"
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
for attribute in ${virtfsAttributes}; do
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
done
# A guest may have moved there what is still to be given back.
[ "$found" = "$had" ] || [ ! -e "$ledger.far" ] || { echo ${tooFar} >&2; head -n 3 -- "$ledger.far" >&2; exit 1; }`;
  return lines([sh`export records mark`, withoutLinks(path, true, give, identity)]);
}
