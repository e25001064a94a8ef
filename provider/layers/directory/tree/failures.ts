import type { StepFailure } from "../../../engine/layer";

/** Before the names of those that may not be taken over. */
export const heldPrivileges = "these have setuid, setgid or capabilities:";

/** What a tree that others change all the time makes of a way back. */
export const inMotion = "the tree does not hold still: not all in it could be found";

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
  {
    answer: "Too many open files",
    code: "treeTooDeep",
    what: "there are more levels of directories than this machine lets one process open",
    remedy: "move what is there up, or remove it, and run it again",
  },
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
