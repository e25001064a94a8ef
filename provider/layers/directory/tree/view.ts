import { sh } from "../../../remote/shell/sh";
import { attributesInStep, capability, joined, u32, words } from "./tools";

/** What the entries of a tree have, and what a guest is to see of them. */

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
