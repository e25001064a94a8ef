import type { Refusal } from "../engine/concern";
import { DirectoryTrees } from "../formats/directory-tree";
import type { Mount } from "../formats/mountinfo";
import { isAtOrBelow } from "../formats/path";
import { nameOf, recordsOf } from "./ledger";
import { mostNested, nameOfRoot, type NestedRoot, type NestedRoots, type TakenWith } from "./nested-facts";
import { ledgerOf } from "./tree-at";

/** For what the file systems that begin in a tree are not taken over, or not given back. Pure. */

/** What is told of a share's nested file systems. */
export interface NestedSeen {
  readonly nested: NestedRoots;
  readonly takenWith: readonly TakenWith[];
  readonly takenOnHost: ReadonlySet<string>;
  /** The directories of all shares. */
  readonly recorded: readonly string[];
  readonly mounts: readonly Mount[];
}

/** What was taken over with `path`, and where it is now. */
export function takenIn({ nested, takenWith: all }: Pick<NestedSeen, "nested" | "takenWith">): readonly {
  readonly roots: readonly NestedRoot[];
  readonly taken: TakenWith;
}[] {
  const named = nested.roots.map((root) => [nameOf(ledgerOf("owners", root)), root] as const);
  return all.map((taken) => ({
    roots: named.flatMap(([name, root]) => (name === taken.name ? [root] : [])),
    taken,
  }));
}

/** What was taken over and cannot be given back as it is: with nothing given back by half. */
export function unreturnable(path: string, seen: Pick<NestedSeen, "nested" | "takenWith">): Refusal[] {
  return takenIn(seen).flatMap(({ roots, taken }): Refusal[] => {
    if (roots.length === 0) {
      return [
        {
          code: "sourceVanished",
          what: `${taken.path}, which was taken over with ${path}, is not in it now${seen.nested.more ? ", or not by a path that can be used" : ""}`,
          remedy: seen.nested.more
            ? "let it have a shorter path, of UTF-8, and run it again"
            : `mount it there again, and run it again; if it is gone for good, rm -f ${["owners", "links"].map((of) => `${recordsOf(of as "owners", taken.name)}*`).join(" ")} on the host, where it is written down what its entries had`,
        },
      ];
    }
    if (roots.length === 1) return [];
    return [
      {
        code: "treeOfFileSystems",
        what: `${roots.map((root) => root.path).join(" and ")} have one UUID, and one of them was taken over with ${path}`,
        remedy: "unmount the copy, and run it again",
      },
    ];
  });
}

/** A share that begins in what another one took over would find, and give back, what that one made of it. */
export function inTaken(
  path: string,
  seen: Pick<NestedSeen, "takenOnHost" | "recorded"> & { readonly above: readonly string[] },
): Refusal[] {
  if (!isTakenElsewhere(path, seen.above, seen)) return [];
  return [
    {
      code: "treeOfFileSystems",
      what: `the file system, or the subvolume, that ${path} is on was taken over with the directory of another share`,
      remedy:
        "destroy that one first, and create it again with directory.otherFileSystems: leave; or share its directory",
    },
  ];
}

/** Whether one of these was taken over with the directory of another share that there still is. */
function isTakenElsewhere(
  path: string,
  identities: readonly string[],
  { takenOnHost: names, recorded }: Pick<NestedSeen, "takenOnHost" | "recorded">,
): boolean {
  const shares = recorded.filter((one) => one !== path);
  return identities.some((identity) => shares.some((share) => names.has(nameOfRoot(share, identity))));
}

/** What of a tree cannot be taken over with it. */
export function unnestable(path: string, seen: NestedSeen, mapped: boolean): Refusal[] {
  const {
    nested: { roots, more },
    mounts,
    recorded,
  } = seen;
  const leave = "write directory.otherFileSystems: leave";
  if (more) {
    return [
      {
        code: "treeOfFileSystems",
        what: `more than ${mostNested} file systems or subvolumes begin in ${path}, or one whose name is not UTF-8`,
        remedy: leave,
      },
    ];
  }
  const refuse: Refusal[] = [];
  const say = (found: readonly string[], code: Refusal["code"], what: string, remedy: string): void => {
    const some = [...new Set(found)];
    const shown = `${some.slice(0, 5).join(", ")}${some.length > 5 ? ", ..." : ""}`;
    if (some.length > 0) refuse.push({ code, what: `${shown}: ${what}`, remedy: `${remedy}, or ${leave}` });
  };
  const those = (matches: (root: NestedRoot) => boolean): string[] =>
    roots.filter(matches).map((root) => root.path);
  const trees = new DirectoryTrees(mounts);
  const inside = mounts.map(({ mountPoint }) => mountPoint).filter((one) => one.startsWith(`${path}/`));
  const known = new Set(those(() => true));
  say(
    [
      ...inside.filter((one) => !known.has(one)),
      ...[...known, ...inside].filter((one) => trees.isSeenOutside(one, path)),
    ],
    "treeOfFileSystems",
    `what is there has another path, or a part of it has, outside of ${path}, or is a file`,
    "unmount it here or there",
  );
  say(
    those((root) => roots.some((other) => other !== root && other.identity === root.identity)),
    "treeOfFileSystems",
    "they have one UUID, and cannot be told apart",
    "unmount the copy",
  );
  say(
    those((root) => recorded.some((one) => isAtOrBelow(one, root.path))),
    "treeOfFileSystems",
    "a share has that directory, or one in it",
    "remove that share",
  );
  say(
    those((root) => isTakenElsewhere(path, [root.identity], seen)),
    "treeOfFileSystems",
    "it was taken over with the directory of another share",
    "destroy that share",
  );
  say(
    those(({ lacks }) => lacks.includes("birth")),
    "treeWithoutBirth",
    "its file system does not say when a file was made, or is an overlay or a tmpfs, whose files are others later",
    "unmount it",
  );
  say(
    those(({ lacks }) => mapped && lacks.includes("attributes")),
    "noUserAttributes",
    "its file system takes no user attributes, in which accessMode mapped keeps owners and modes",
    "unmount it",
  );
  say(
    those(({ lacks }) => lacks.includes("writing")),
    "fileSystemReadOnly",
    "it is mounted read-only, or is a read-only snapshot",
    "make it writable",
  );
  return refuse;
}
