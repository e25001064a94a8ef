import { type Script, sh } from "../formats/shell";
import { type Ledger } from "./ledger";

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

/** The directory of another share, in this one's. */
export interface ShareInside {
  readonly path: string;
  /** What it was at first contact, inode and birth, which may be in whole seconds; undefined: that share made it. */
  readonly identity: string | undefined;
}

/** A nested one's goes by what it is, wherever it is. */
export function ledgerOf(of: Ledger["of"], tree: Pick<TreeAt, "path"> & Partial<TreeAt>): Ledger {
  return { of, path: tree.outer === undefined ? tree.path : `${tree.outer} ${tree.identity ?? ""}` };
}

/** In `$depth`: where find(1) begins, for what it is one of the entries. */
export function begun({ outer }: TreeAt): Script {
  return outer !== undefined ? sh`depth='-mindepth 0'` : sh`depth='-mindepth 1'`;
}

/** Of a directory that is there. */
export function treeAt(
  path: string,
  { inode, born }: { readonly inode: string; readonly born: string },
): TreeAt {
  return { path, identity: `${inode}:${born}` };
}
