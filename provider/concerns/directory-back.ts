import type { Concern, Step } from "../engine/concern";
import { mountHolding } from "../formats/mountinfo";
import { formatOctalMode, parseOctalMode } from "../formats/octal-mode";
import { orUnwritable, recordedPaths, unmanagedChanges } from "./directory-checks";
import {
  type DirectoryBefore,
  type directoryRestoreNeeds,
  type DirectorySeen,
  type DirectorySeenBack,
  type DirectoryWant,
  type Stood,
} from "./directory-facts";
import { directoryAt, hasInodeOf, isSame } from "./directory-identity";
import { createdMode } from "./directory-owner";
import { chmodStep, chownSteps, giveUpOwn, restoreAttributes } from "./directory-steps";
import { placeOf, recordsOf } from "./ledger";
import { takenIn, unreturnable } from "./nested-checks";
import { forgetNested } from "./nested-steps";
import { treeAt, type TreeAt } from "./tree-at";
import { forgetLinks, giveLinksBack } from "./tree-links";
import { forgetTree, giveTreeBack, handOver } from "./tree-steps";

/** A share's directory and its tree as they were before, when the share is destroyed. */
export const restoreDirectory: Concern<
  DirectoryWant,
  DirectorySeen,
  DirectoryBefore,
  typeof directoryRestoreNeeds
>["restore"] = (old, before, seen, context) => {
  const entry = seen.entry;
  const inner = takenIn(seen);
  const roots = inner.flatMap((one) => one.roots);
  const forgetInner =
    inner.length > 0
      ? [
          forgetNested(
            old.path,
            inner.map(({ taken }) => taken.name),
          ),
        ]
      : [];
  const forget = [
    ...forgetInner,
    ...(seen.treeRemembered ? [forgetTree(old.path)] : []),
    ...(seen.linksMapped ? [forgetLinks(old.path)] : []),
  ];
  if (!old.giveBack) return { steps: forget, forgets: true };
  const isThere = entry?.kind === "directory" && (before.created || isSame(old.path, entry, seen, before));
  const outer = seen.takenAround.find((above) => recordedPaths(seen).includes(above));
  const had = before.created ? undefined : { ...before, mode: parseOctalMode(before.mode) ?? createdMode };
  if (!isThere) {
    const what =
      seen.unreadable !== undefined
        ? `cannot be looked at (${seen.unreadable}): its owner was left as it is`
        : entry
          ? "is not the directory that was shared: its owner was left as it is"
          : "is not there";
    // Not by its path: where its disk is away, that is the larger share's too, and what is on the disk is not.
    const moved = seen.moved.find((one) => recordedPaths(seen).includes(one.outer));
    const isHanded = had !== undefined && moved !== undefined;
    const ledgers = [
      ...(seen.treeRemembered && !isHanded ? [placeOf({ of: "owners", path: old.path })] : []),
      ...(seen.linksMapped ? [placeOf({ of: "links", path: old.path })] : []),
      ...inner.map(({ taken }) => recordsOf("owners", taken.name)),
    ];
    const said = [
      ...(isHanded ? [`what it and its entries had comes back with ${moved.outer}`] : []),
      ...(ledgers.length > 0 ? [`what was in its tree is kept on the host, in ${ledgers.join(", ")}`] : []),
    ];
    return {
      steps: isHanded ? [handOver(old.path, { ...had, identity: moved.identity }, moved.outer)] : [],
      warnings:
        what === "is not there" && said.length === 0 ? [] : [[`${old.path} ${what}`, ...said].join("; ")],
    };
  }
  const at = treeAt(old.path, entry);
  const refuse = unreturnable(old.path, seen);
  if (refuse.length > 0) return { steps: [], refuse };
  if (had && outer !== undefined) {
    return {
      steps: [
        ...roots.map(giveTreeBack),
        ...linksBack(seen, at),
        ...forgetInner,
        handOver(old.path, { ...had, identity: at.identity }, outer),
      ],
    };
  }
  const { steps, warnings } = treeBack(at, seen, forget);
  if (before.created) {
    const gone = giveUpOwn(old, seen, context);
    return { ...gone, steps: [...steps, ...gone.steps], warnings: [...warnings, ...(gone.warnings ?? [])] };
  }
  const { path } = at;
  const own = directoryAt(path, entry, seen);
  const mode = parseOctalMode(before.mode) ?? createdMode;
  const chowned = entry.uid !== before.uid || entry.gid !== before.gid;
  // Where it is not known who that is, the change is tried.
  const user = seen.user?.user ?? "0";
  const isChanged = chowned || entry.mode !== mode;
  if (old.session && user !== "0" && entry.uid !== Number(user) && isChanged) {
    return {
      steps,
      warnings: [
        ...warnings,
        `${path} is ${entry.uid}:${entry.gid} ${formatOctalMode(entry.mode)} and stays so: the user ${user}, who alone acts with qemu:///session, may not give it back to ${before.uid}:${before.gid} ${before.mode}`,
      ],
    };
  }
  return orUnwritable(old, seen, {
    steps: [
      ...steps,
      ...chownSteps(own, before, entry, `give ${path} back to ${before.uid}:${before.gid}`),
      ...(entry.mode !== mode ? [chmodStep(own, mode, entry.mode)] : []),
      ...restoreAttributes(own, before.attributes, seen.attributes),
    ],
    warnings: [
      ...warnings,
      ...(isChanged && !hasInodeOf(entry, before)
        ? [
            `${path} has another inode or time of birth than at first contact, as its file system (${mountHolding(seen.mounts, path)?.type ?? ""}) gives it: it is taken for the same directory by its path`,
          ]
        : []),
      ...unmanagedChanges(old, before, seen, entry, context?.stood["directory"] as Stood | undefined),
    ],
  });
};

/** What was taken over in the tree: back, and then forgotten. */
function treeBack(
  at: TreeAt,
  seen: DirectorySeenBack,
  forget: readonly Step[],
): { steps: Step[]; warnings: string[] } {
  const links = linksBack(seen, at);
  const inner = takenIn(seen).flatMap(({ roots, taken: { hadPrivileges } }) =>
    roots.map((root) => ({ ...root, hadPrivileges })),
  );
  const trees = [...inner, ...(seen.treeRemembered ? [{ ...at, hadPrivileges: seen.hadPrivileges }] : [])];
  if (trees.length === 0) return { steps: links, warnings: [] };
  return {
    // What fails with the links is not to keep the owners from coming back.
    steps: [...trees.map(giveTreeBack), ...links, ...forget],
    warnings: [
      ...trees.flatMap(({ path, hadPrivileges: { count, names } = { count: 0, names: [] } }) =>
        count === 0
          ? []
          : [
              `in ${path} these had setuid, setgid or capabilities, and do not get them back, for a guest could have rewritten them: ${names.join(", ")}${count > names.length ? `, and ${count - names.length} more` : ""}`,
            ],
      ),
    ],
  };
}

export function linksBack(
  seen: Pick<DirectorySeen, "linksMapped" | "nested" | "takenWith">,
  at: TreeAt,
): Step[] {
  const inner = takenIn(seen).flatMap(({ roots, taken }) => (taken.linksMapped ? roots : []));
  return [...inner, ...(seen.linksMapped ? [at] : [])].map(giveLinksBack);
}
