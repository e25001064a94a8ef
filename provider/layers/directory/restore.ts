import type { Layer, Step } from "../../engine/layer";
import { mountHolding } from "../../formats/mountinfo";
import { formatOctalMode, parseOctalMode } from "../../formats/octal-mode";
import { changesOwners, orUnwritable, takenAround, unmanagedChanges } from "./checks";
import {
  type DirectoryBefore,
  type directoryRestoreNeeds,
  type DirectorySeen,
  type DirectorySeenBack,
  type DirectoryWant,
  type Stood,
} from "./probes";
import { directoryAt, hasInodeOf, isSame } from "./identity";
import { createdMode } from "./owner";
import { chmodStep, chownSteps, giveUpOwn, restoreAttributes } from "./steps";
import { nameOf, recordsOf } from "../shared/inode-snapshot";
import { forgetTakenWith, type TakenWith, unreturnable } from "./taken-with";
import { treeAt, type TreeAt } from "../shared/tree-at";
import { forgetLinks, giveLinksBack } from "./tree/symlinks";
import { forgetTree, giveTreeBack } from "./tree/takeover";

/** A share's directory and its tree as they were before, when the share is destroyed. */
export const restoreDirectory: Layer<
  DirectoryWant,
  DirectorySeen,
  DirectoryBefore,
  typeof directoryRestoreNeeds
>["restore"] = (old, before, seen, context) => {
  const entry = seen.entry;
  const taken = seen.takenWith;
  const forget = [
    ...forgetTakenWith(old.path, taken),
    ...(seen.treeRemembered ? [forgetTree(old.path)] : []),
    ...(seen.linksMapped ? [forgetLinks(old.path)] : []),
  ];
  if (!old.giveBack) return { steps: forget };
  const isThere = entry?.kind === "directory" && (before.created || isSame(old.path, entry, seen, before));
  if (!isThere) return { steps: [], warnings: isAway(old, seen) };
  const refuse = unreturnable(old.path, taken);
  if (refuse.length > 0) return { steps: [], refuse };
  const at = treeAt(old.path, entry);
  const { steps, warnings } = treeBack(at, seen, forget);
  if (before.created) {
    const gone = giveUpOwn(old, seen, context);
    return { ...gone, steps: [...steps, ...gone.steps], warnings: [...warnings, ...(gone.warnings ?? [])] };
  }
  // Whose it is by now the larger share has changed, which gives it back.
  if (takenAround(seen) !== undefined && !changesOwners(old)) return { steps, warnings };
  const { path } = at;
  const own = directoryAt(path, entry, seen);
  const mode = parseOctalMode(before.mode) ?? createdMode;
  const isChanged = entry.uid !== before.uid || entry.gid !== before.gid || entry.mode !== mode;
  // Where it is not known who that is, the change is tried.
  const user = seen.user?.user ?? "0";
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
      ...unmanagedChanges(old, before, seen, entry, context?.lastSeen["directory"] as Stood | undefined),
    ],
  });
};

/** Of a directory that is not there, or is another one: nothing is given back, and nothing forgotten. */
function isAway(old: DirectoryWant, seen: DirectorySeenBack): string[] {
  const what =
    seen.unreadable !== undefined
      ? `cannot be looked at (${seen.unreadable}): its owner was left as it is`
      : seen.entry
        ? "is not the directory that was shared: its owner was left as it is"
        : "is not there";
  const snapshots = [
    ...(seen.treeRemembered ? [recordsOf("owners", nameOf(old.path))] : []),
    ...(seen.linksMapped ? [recordsOf("links", nameOf(old.path))] : []),
    ...seen.takenWith.map(({ name }) => recordsOf("owners", name)),
  ];
  if (what === "is not there" && snapshots.length === 0) return [];
  const kept =
    snapshots.length > 0 ? `; what was in its tree is kept on the host, in ${snapshots.join(", ")}` : "";
  return [`${old.path} ${what}${kept}`];
}

/** What was taken over in the tree: back, and then forgotten. */
function treeBack(
  at: TreeAt,
  seen: DirectorySeenBack,
  forget: readonly Step[],
): { steps: Step[]; warnings: string[] } {
  const { takenWith, treeRemembered } = seen;
  const rootsOf = (some: readonly TakenWith[]): TreeAt[] => some.flatMap(({ root }) => root ?? []);
  const links = [
    ...rootsOf(takenWith.filter(({ linksMapped }) => linksMapped)).map(giveLinksBack),
    ...linksBack(seen, at),
  ];
  const trees = [...rootsOf(takenWith), ...(treeRemembered ? [at] : [])];
  if (trees.length === 0) return { steps: links, warnings: [] };
  const { count, names } = (treeRemembered ? seen.hadPrivileges : undefined) ?? { count: 0, names: [] };
  const unnamed = takenWith.reduce((sum, { hadPrivileges }) => sum + hadPrivileges, count - names.length);
  const rest = names.length > 0 ? `and ${unnamed} more` : `${unnamed} files`;
  const privileged = unnamed > 0 ? [...names, rest] : names;
  return {
    // What fails with the links is not to keep the owners from coming back.
    steps: [...trees.map(giveTreeBack), ...links, ...forget],
    warnings:
      privileged.length === 0
        ? []
        : [
            `in ${at.path} these had setuid, setgid or capabilities, and do not get them back, for a guest could have rewritten them: ${privileged.join(", ")}`,
          ],
  };
}

export function linksBack({ linksMapped }: Pick<DirectorySeen, "linksMapped">, at: TreeAt): Step[] {
  return linksMapped ? [giveLinksBack(at)] : [];
}
