import type { Step } from "../../../engine/layer";
import { lines, type Script, sh } from "../../../remote/shell/sh";
import { withoutLinks } from "../../../remote/shell/no-symlinks";
import { forgetSnapshot, type InodeSnapshot, makeSnapshot, openSnapshot } from "../../shared/inode-snapshot";
import { snapshotOf, type TreeAt } from "../../shared/tree-at";
import { inTree } from "../../shared/tree-program";
import { ownerText } from "../owner";
import { failures } from "./failures";

/**
 * Takes all that is in a directory over for QEMU, and gives it back; shared/tree/takeover.py does it.
 *
 * Directories and plain files alone: nothing else takes user attributes (xattr(7) of man-pages 6.03), and QEMU needs no
 * permission on a FIFO, a device or a link for the guest to see and to remove it. They keep their owner, and the guest
 * sees it.
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

const owners = (tree: Pick<TreeAt, "path"> & Partial<TreeAt>): InodeSnapshot => snapshotOf("owners", tree);

/** A script on a tree, in which nothing is seen of what is mounted there. */
export function onTree({ path, identity }: TreeAt, run: Script): Script {
  return lines([sh`export mark`, withoutLinks(path, false, run, identity)]);
}

/** What the helper is told of a taker. Sample: `uid=64055 gid=64055 keep open`. */
function wordsOf({ uid, gid, keepOwners, opens, strips }: Taker): string[] {
  return [
    ...(uid === undefined ? [] : [`uid=${uid}`]),
    ...(gid === undefined ? [] : [`gid=${gid}`]),
    ...(keepOwners ? ["keep"] : []),
    ...(opens ? ["open"] : []),
    ...(strips ? ["strip"] : []),
  ];
}

/** For who asks for it by `keepOwners: false`: nothing is kept. Where it stopped the next run goes on. */
export function takeOverForGood(tree: TreeAt, taker: Taker): Step {
  return {
    does: `chown all in ${tree.path} to ${ownerText(taker.uid, taker.gid)}, and keep nothing of its owners`,
    run: onTree(tree, inTree("take_for_good", ...wordsOf(taker))),
    failures,
  };
}

/** What a snapshot says already stands: a killed run, or another share of the tree, wrote it down. */
export function takeOver(tree: TreeAt, taker: Taker): Step {
  const as = taker.keepOwners ? ", as the guest goes on seeing it" : "";
  return {
    does: `take over all in ${tree.path} for ${ownerText(taker.uid, taker.gid)}${as}`,
    run: lines([
      makeSnapshot(owners(tree)),
      onTree(tree, inTree("take", sh`"$snapshot"`, ...wordsOf(taker))),
    ]),
    undo: lines([openSnapshot(owners(tree)), onTree(tree, inTree("undo", sh`"$snapshot"`))]),
    failures,
  };
}

/** What was taken over gets everything back that it had, but privileges; what was made later stays as it is. */
export function giveTreeBack(tree: TreeAt): Step {
  // Of one that another file system begins at, its own directory is one of the entries.
  const withRoot = tree.outer === undefined ? [] : ["root"];
  return {
    does: `give all in ${tree.path} back to whom it was taken from`,
    run: lines([
      openSnapshot(owners(tree)),
      sh`[ -e "$snapshot" ] || exit 0`,
      onTree(tree, inTree("restore", sh`"$snapshot"`, ...withRoot)),
    ]),
    failures,
  };
}

export function forgetTree(path: string): Step {
  return {
    does: `forget what the entries of ${path} had`,
    run: forgetSnapshot(owners({ path })),
  };
}
