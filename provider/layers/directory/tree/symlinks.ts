import type { Step } from "../../../engine/layer";
import { lines, type Script, sh } from "../../../remote/shell/sh";
import { forgetSnapshot, makeSnapshot, openSnapshot } from "../../shared/inode-snapshot";
import { snapshotOf, type TreeAt } from "../../shared/tree-at";
import { inTree } from "../../shared/tree-program";
import type { Owner } from "../owner";
import { failures } from "./failures";
import { onTree } from "./takeover";

/**
 * Symbolic links that were made on the host, which a guest of a mapped share can neither read nor follow: made what the
 * guest's own links are, plain files that hold the target and have the type of a link in `user.virtfs.mode`, and back.
 * shared/tree/symlinks.py does it.
 */

/** Puts plain files in the place of links, as QEMU makes them for a guest's own. */
export function mapLinks(tree: TreeAt, { uid, gid }: Owner): Step {
  const links = snapshotOf("links", tree);
  const id = (value: number | undefined): string => String(value ?? -1);
  return {
    does: `make the links in ${tree.path} that were made on the host readable for the guest`,
    run: lines([makeSnapshot(links), onTree(tree, inTree("map_links", sh`"$snapshot"`, id(uid), id(gid)))]),
    undo: lines([openSnapshot(links), onTree(tree, inTree("undo_links", sh`"$snapshot"`))]),
    failures,
  };
}

/** Of those that are still there; where the guest removed one, or put another thing in its place, that stays. */
export function giveLinksBack(tree: TreeAt): Step {
  const links = snapshotOf("links", tree);
  const isMapped: Script = sh`[ -e "$snapshot" ] || [ -e "$snapshot.suffix" ] || exit 0`;
  return {
    does: `make the links in ${tree.path} again that were there`,
    run: lines([
      openSnapshot(links),
      isMapped,
      onTree(tree, inTree("restore_links", sh`"$snapshot"`)),
      forgetSnapshot(links),
    ]),
    failures,
  };
}

export function forgetLinks(path: string): Step {
  return {
    does: `forget what the links in ${path} were`,
    run: forgetSnapshot(snapshotOf("links", { path })),
  };
}
