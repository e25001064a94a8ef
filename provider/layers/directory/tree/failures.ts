import type { StepFailure } from "../../../engine/layer";

/** Before the names of those that may not be taken over. */
export const heldPrivileges = "these have setuid, setgid or capabilities:";

/** What a tree that others change all the time makes of a way back. */
export const inMotion = "the tree does not hold still: not all in it could be found";

/** Before the beginnings of paths in which something to be given back may be. */
export const tooFar = "these paths are too long for a command:";

/** What goes wrong with a tree that has no fault of its own. */
export const failures: readonly StepFailure[] = [
  {
    answer: heldPrivileges,
    code: "treePrivileged",
    what: "there are files with setuid, setgid or capabilities, which a change of owner would take",
    remedy:
      "take them out, or write directory.privileged: strip: they lose that for good, for a guest could rewrite them",
  },
  ...["No space left on device", "Disk quota exceeded"].map((answer) => ({
    answer,
    code: "fileSystemFull" as const,
    what: "there is no room for what is to be kept of the entries",
    remedy: "make room on that file system, or raise the quota, and run it again",
  })),
  ...[tooFar, "File name too long"].map((answer) => ({
    answer,
    code: "treeTooDeep" as const,
    what: "there are paths that are too long for a command, and in them may be what is to be taken over or given back",
    remedy: "move what is there up, or remove it, and run it again",
  })),
  {
    answer: inMotion,
    code: "treeInMotion",
    what: "entries are renamed while they are given back, and what is not found would be forgotten",
    remedy: "stop who writes there (another guest, a program of the host), and run it again",
  },
  {
    answer: "Read-only file system",
    code: "fileSystemReadOnly",
    what: "the file system is read-only",
    remedy: "mount it read-write, and run it again",
  },
];
