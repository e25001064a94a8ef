import type { Step } from "../../../engine/layer";
import { inSight } from "../../../engine/lock";
import { type Script, sh } from "../../../remote/shell/sh";
import { withoutLinks } from "../../../remote/shell/no-symlinks";
import {
  earlierLines,
  forgetLedger,
  keepLedger,
  type Ledger,
  makeLedger,
  openLedger,
} from "../../shared/inode-snapshot";
import { ownerText } from "../owner";
import { begun, ledgerOf, type TreeAt } from "../../shared/tree-at";
import { restored } from "./back";
import { failures, heldPrivileges } from "./failures";
import { mountsIn, without } from "../../shared/tree-mounts";
import { cleaning, closed, takenBackOnFailure, tools } from "./tools";
import { show, whatTheyHave } from "./view";

/**
 * Takes all that is in a directory over for QEMU, and gives it back.
 *
 * A line of the ledger is what one entry had before anything was changed of it: owner, group, the whole st_mode in
 * hexadecimal, and the attributes and access lists that a takeover or a guest changes; `-` for none. Sample:
 *
 * ```
 * 6029396:1763877000.123456789 1000 100 81a4 system.posix_acl_access=0x0200...,user.virtfs.uid=0xe8030000
 * ```
 *
 * Directories and plain files alone: nothing else takes user attributes (xattr(7) of man-pages 6.03), and QEMU needs no
 * permission on a FIFO, a device or a link for the guest to see and to remove it. They keep their owner, and the guest
 * sees it.
 *
 * What is done by name is done where no link is followed, and to a directory as `NAME/.`, for a guest and the owners of
 * what is in the tree may put another thing in its place at any moment.
 */

/** Whom a tree is taken over for, undefined: left as it is. */
export interface Taker {
  readonly uid: number | undefined;
  readonly gid: number | undefined;
  /** Whether the guest is to see what its entries had. */
  readonly keepOwners: boolean;
  /** Whether their owner must be able to use them all, `u+rwX`: in mapped mode, where the guest's modes are kept apart. */
  readonly opens: boolean;
  /** Whether setuid, setgid and capabilities may go with that. */
  readonly strips: boolean;
}

const owners = (tree: Pick<TreeAt, "path"> & Partial<TreeAt>): Ledger => ledgerOf("owners", tree);

/**
 * The seed's way, for who asks for it by `keepOwners: false`: owners and modes go, and nothing is kept of them. Where
 * it stopped the next run goes on. `runs`: there are files that can be run, and so may have capabilities.
 */
export function takeOverForGood(
  { path, identity }: TreeAt,
  { uid, gid, opens, strips }: Taker,
  runs: boolean,
): Step {
  const to = ownerText(uid, gid);
  return {
    does: `chown all in ${path} to ${to}, and keep nothing of its owners`,
    run: sh`export mark
${withoutLinks(
  path,
  true,
  // What moves while it goes by is met the next time.
  sh`exec 7>&2
${inSight()}
${runs && !strips ? privilegedFound : sh`:`}
in_sight chown -hR ${to} . 2>/dev/null || in_sight chown -hR ${to} . 2>/dev/null || in_sight chown -hR ${to} .
${opens ? sh`in_sight chmod -R u+rwX .` : sh`:`}`,
  identity,
)}`,
    failures,
  };
}

const privilegedFound = sh`held=$(find . -xdev -type f -perm /6000 -print
find . -xdev -type f -perm /111 -print0 | xargs -0 -r getfattr -h -n security.capability -- 2>/dev/null | sed -n 's/^# file: //p')
[ -z "$held" ] || { echo ${heldPrivileges} >&2; printf '%s\n' "$held" | head -n 5 >&2; exit 1; }`;

/**
 * What a ledger says already stands: a killed run, or another share of the tree, wrote it down.
 *
 * What fails on the way is taken back; killed on the way, it is finished by the next up: the ledger is on the disk
 * before anything changes, and says what is still to be shown to the guest until all is.
 */
export function takeOver(tree: TreeAt, taker: Taker): Step {
  const { path, identity } = tree;
  const { uid, gid, keepOwners, opens, strips } = taker;
  const to = ownerText(uid, gid);
  const earlier = earlierLines(owners(tree));
  const no = sh`-false`;
  const others = sh`'(' ${uid === undefined ? no : sh`! -uid ${String(uid)}`} -o ${gid === undefined ? no : sh`! -gid ${String(gid)}`} -o ${opens ? closed : no} ')'`;
  const take = sh`${begun(tree)}
${tools}
${without(sh`cat -- "$ledger.mounts"`, ".")}
shown=''
if [ -e "$ledger.view" ] || [ ! -e "$ledger" ]; then shown=1; fi
for turn in 1 2 3; do
rm -f -- "$ledger.moved"
find_entries "$@" ${others}
${whatTheyHave}
${
  strips
    ? sh`[ -e "$ledger.privileged" ] || : > "$ledger.privileged"
sort -u -- "$ledger.privileged" "$ledger.lost" > "$ledger.both"
mv -f -- "$ledger.both" "$ledger.privileged"`
    : sh`[ ! -s "$ledger.lost" ] || { echo ${heldPrivileges} >&2; head -n 5 "$ledger.lost" >&2; exit 1; }`
}
{ ${earlier}
} | sort -s -u -t ' ' -k 1,1 > "$ledger.known"
join -t ' ' -v 1 -- "$ledger.new" "$ledger.known" >> "$ledger.run"
rm -f -- "$ledger.view"
${keepLedger(owners(tree), earlier)}
${keepOwners ? show : sh`:`}
feeding telling_names < "$ledger.taken" | at_once chown -h ${to}
[ -e "$ledger.fed" ]
${opens ? sh`on_names "$ledger.closed" chmod u+rwX` : sh`:`}
# What moved has not been reached by its name: once more, for what is left.
[ -e "$ledger.moved" ] || break
done`;
  return {
    does: `take over all in ${path} for ${to}${keepOwners ? ", as the guest goes on seeing it" : ""}`,
    run: sh`${makeLedger(owners(tree))}
rm -f -- "$ledger.run" "$ledger.before"
[ ! -e "$ledger" ] || ln -- "$ledger" "$ledger.before"
${mountsIn(path)} > "$ledger.mounts"
${takenBackOnFailure(undone(tree))}
${withoutLinks(path, true, take, identity)}`,
    undo: sh`${openLedger(owners(tree))}
${undone(tree)}
${cleaning}`,
    failures,
  };
}

/** What was taken over gets everything back that it had, but privileges; what was made later stays as it is. */
export function giveTreeBack(tree: TreeAt): Step {
  const { path } = tree;
  return {
    does: `give all in ${path} back to whom it was taken from`,
    run: sh`${openLedger(owners(tree))}
[ -e "$ledger" ] || exit 0
trap ${{ text: `'${cleaning.text}'` }} EXIT
${restored(tree, sh`"$ledger"`)}`,
    failures,
  };
}

export function forgetTree(path: string): Step {
  return {
    does: `forget what the entries of ${path} had`,
    run: forgetLedger(owners({ path })),
  };
}

/** Takes back what the last run took over, and nothing that an earlier one did; the ledger is then what it was before. */
function undone(tree: TreeAt): Script {
  return sh`if [ -s "$ledger.run" ]; then
sort -s -u -t ' ' -k 1,1 "$ledger.run" > "$ledger.back"
mv -f -- "$ledger.back" "$ledger.run"
( set -e
${restored(tree, sh`"$ledger.run"`)}
) || return 1 2>/dev/null || exit 1
fi
if [ -e "$ledger.before" ]; then mv -f -- "$ledger.before" "$ledger"; else rm -f -- "$ledger" "$ledger.view" "$ledger.privileged"; fi
rm -f -- "$ledger.run" "$ledger.back"`;
}
