import type { Fact, Tool } from "../../../engine/layer";
import { linesIn } from "../../../formats/lines-in";
import { decodeOctalEscapes } from "../../../formats/octal-escape";
import { sh } from "../../../remote/shell/sh";
import { openSnapshot } from "../../shared/inode-snapshot";
import { withoutMounts } from "../../shared/tree-mounts";
import { inTree, python } from "../../shared/tree-program";

/** What is in a share's directory: whose it is, and what would have to be known before it is taken over. */

/** Entries of one owner, group and kind. */
export interface EntryCount {
  readonly count: number;
  readonly kind: "directory" | "file" | "link" | "special";
  readonly uid: number;
  readonly gid: number;
  /** The owner's name where the host has one, else empty. */
  readonly user: string;
  /** Whether their owner can read and write them, and pass directories and run what others may run: `u+rwX`. */
  readonly open: boolean;
}

/** Entries of which each matters: how many, and the first five of them, by their path in the tree. */
export interface Named {
  readonly count: number;
  readonly names: readonly string[];
}

/** The directory itself is not counted, and other file systems and mounts are not entered. */
export interface TreeSeen {
  readonly entries: readonly EntryCount[];
  /** Plain files with setuid or setgid. */
  readonly privileged: Named;
  /** Plain files with a name outside the tree, too. */
  readonly linkedOut: Named;
  /** Where other file systems are mounted, and where subvolumes begin. */
  readonly otherFileSystems: Named;
  /** What cannot be looked at or into, and why: `'./a': Permission denied`. What is in it is not counted. */
  readonly unreadable: Named;
}

/** Whether there are symbolic links in it. */
export function hasLinks({ entries }: TreeSeen): boolean {
  return entries.some(({ kind }) => kind === "link");
}

/** unshare(1) keeps what is mounted in a tree out of it. */
const unshare: Tool = { program: "unshare", packages: ["util-linux", "util-linux"] };

/**
 * One walk, counted on the spot: what it prints does not grow with the tree. Not `whole`: no deeper than what stands in the
 * directory itself. It prints one line of JSON, in the form of {@link TreeSeen}.
 */
export function treeIn(path: string, { whole = true, taken = false } = {}): Fact<TreeSeen> {
  const nothing = { count: 0, names: [] };
  return {
    place: "host",
    does: whole ? `count what is in ${path}` : `see what stands in ${path}`,
    tools: [python, ...(taken ? [unshare] : [])],
    // Of most shares it is empty at first.
    script: sh`[ -d ${path} ] || exit 0
if ( cd -P -- ${path} 2>/dev/null ) && [ -z "$(ls -AU -- ${path} 2>&1 | head -n 1)" ]; then exit 0; fi
export mark
${withoutMounts(path, inTree("count", whole ? "deep" : ""))}`,
    parse: (output) => ({
      entries: [],
      privileged: nothing,
      linkedOut: nothing,
      otherFileSystems: nothing,
      unreadable: nothing,
      ...(output.trim() === "" ? {} : (JSON.parse(output) as TreeSeen)),
    }),
  };
}

/** What had setuid, setgid or capabilities when it was taken over. Sample: `2`, and then names, a line each. */
export function privilegesTaken(path: string): Fact<Named> {
  return {
    place: "host",
    does: `see which files in ${path} had setuid, setgid or capabilities`,
    script: sh`${openSnapshot({ of: "owners", path })}
if [ -e "$snapshot.privileged" ]; then sort -u -- "$snapshot.privileged" | awk '{ if (NR <= 5) names = names "\n" $0 } END { print NR names }'; fi`,
    parse(output) {
      const [count = "0", ...names] = linesIn(output);
      return {
        count: Number(count),
        names: names.map((name) => decodeOctalEscapes(name.replace(/^\.\//, ""))),
      };
    },
  };
}
