import { type Script, sh } from "../../remote/shell/sh";
import { type InodeSnapshot } from "./inode-snapshot";

/** The directory that a tree begins at. */
export interface TreeAt {
  readonly path: string;
  /** Inode and birth, `6029396:1763877000.123456789`; of a nested one as remote/shell/no-symlinks.ts has it. */
  readonly identity: string;
  /**
   * Of one that another file system begins at, and 0.1.0 took over (taken-with.ts), the directory of the share. It comes
   * back as its entries do; of the share's own directory only what is in it.
   */
  readonly outer?: string;
}

/** A nested one's goes by what it is, wherever it is. */
export function snapshotOf(
  of: InodeSnapshot["of"],
  tree: Pick<TreeAt, "path"> & Partial<TreeAt>,
): InodeSnapshot {
  return { of, path: tree.outer === undefined ? tree.path : `${tree.outer} ${tree.identity ?? ""}` };
}

/** In `$depth`: where find(1) begins, for what it is one of the entries. */
export function begun({ outer }: TreeAt): Script {
  return sh`depth=${`-mindepth ${outer === undefined ? 1 : 0}`}`;
}

/** Of a directory that is there. */
export function treeAt(
  path: string,
  { inode, born }: { readonly inode: string; readonly born: string },
): TreeAt {
  return { path, identity: `${inode}:${born}` };
}
