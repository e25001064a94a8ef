/**
 * Every way in which a share can be refused or can fail, as one closed set.
 *
 * Programs may branch on a code; the text around it may change between releases.
 */
export const errorCodes = [
  /** An argument that no machine could accept. Found by `check`, before any I/O. */
  "invalidArgument",
  /** A program that a script needs is not installed there. */
  "toolMissing",
  /** The machine gave no sign of progress for `timeouts.commandMs`, or printed far too much. */
  "commandTimedOut",
  "outputTooLarge",
  /** A script could not be started, or ended without its report. */
  "transportFailed",
  /** One share alone needs a longer script than the way to the machine takes. Nothing was sent. */
  "scriptTooLong",
  "sudoNeedsPassword",
  /** Over SSH: the host cannot be reached; its key is not known, or another than it should be; nobody is let in. */
  "hostUnreachable",
  "hostKeyUnknown",
  "hostKeyMismatch",
  "authenticationFailed",
  /** The connection broke in the middle of a script, which may have been carried out in part. */
  "connectionLost",
  /** A look or a step that ended with an error that has no code of its own. */
  "lookFailed",
  "stepFailed",
  /** What the plan relied on kept changing while we worked. */
  "machineKeepsChanging",
  /** Another process held a machine's lock for too long. */
  "lockHeld",
  "libvirtUnreachable",
  "unknownDomain",
  /** The domain that has the share has another name now, and another domain has its. */
  "domainRenamed",
  "transientDomain",
  "qemuWithoutVirtio9p",
  /** The emulator does not take what this libvirt writes for a read-only share. */
  "readOnlyRefused",
  /** With such a path libvirt's AppArmor profile of the domain cannot be loaded, and it would not start. */
  "appArmorForbids",
  "sourceMissing",
  "sourceVanished",
  "sourceMoved",
  "sourceNotDirectory",
  "sourceIsLink",
  /** Not even root can look at it, or at a part of it: a mount that lets its owner in alone. */
  "sourceUnreadable",
  /** It has to be changed, and the connecting user of a session may not. */
  "sourceNotOwned",
  "parentNotSearchable",
  "noUserAttributes",
  "treeOfOthers",
  "treePrivileged",
  "treeLinkedOut",
  "treeOfFileSystems",
  "treeTooDeep",
  "treeWithoutBirth",
  /** Names in it change so fast that what was taken over is not found again. */
  "treeInMotion",
  /** Something has to be written where the file system is read-only, full, or over a quota. */
  "fileSystemReadOnly",
  "fileSystemFull",
  /** A file in the guest that has to be written is immutable, a mount of its own, or not ours to write. */
  "fileProtected",
  "unknownUser",
  "seLinuxNotAvailable",
  "seLinuxTypeUnknown",
  /** Two shares of one directory want two labels. */
  "seLinuxTypeTaken",
  /** The policy itself says what exactly this path is. */
  "labelOverruled",
  /** The file system has no labels of its own, or one for all of it, and QEMU may not use that. */
  "notRelabelable",
  /** Files that the guest makes could not be used by it after its next start. */
  "newFilesUnusable",
  "tagTaken",
  /** Another export can write to the same tree. */
  "secondWriter",
  /** Another resource of the same program is the same share. */
  "shareClaimed",
  /** The guest's policy has no such boolean. */
  "unknownBoolean",
  "mountPointTaken",
  "mountPointNotEmpty",
  "mountPointIsLink",
  "mountBusy",
  "mountFailed",
  "guestKernelLacks9p",
  "guestAgentMissing",
  "guestAgentRefusesExec",
  "guestUnreachable",
  /** Its file systems are frozen for a backup: its agent runs nothing until they are thawed. */
  "guestFrozen",
  /** What answers at the guest's address is another machine than the domain. */
  "guestIsAnother",
  /** What answers at the guest's address does not show which machine it is. */
  "guestUnidentified",
  "shutdownTimedOut",
  "domainStartFailed",
  "startedWithoutDevice",
  "recordUnreadable",
  /** Pulumi's state does not say which share it is. */
  "stateUnreadable",
  /** A later release wrote the state, or a record on the host. */
  "laterRelease",
  /** Of the command: a running domain has what is to be changed; only root may change it. */
  "domainRuns",
  "rootNeeded",
] as const;

/** One of {@link errorCodes}. */
export type ErrorCode = (typeof errorCodes)[number];

/**
 * One thing that is wrong, as data: what a person needs to act on it without being at the machine.
 *
 * Sample: `{ code: "guestKernelLacks9p", layer: "modules", machine: "guest web1",
 * what: "kernel 6.1.0-40-cloud-amd64 has no 9p", remedy: "install linux-image-amd64 and boot it" }`
 */
export interface Problem {
  readonly code: ErrorCode;
  /** The layer of the outputs' `layers`, or `host`, `guest`, `power` for what is no layer of its own. */
  readonly layer: string;
  /** Where, in the operator's words: `this machine`, `guest web1`. */
  readonly machine: string;
  readonly what: string;
  /** What was tried, in the words of the step: `mount /mnt/foobar`. */
  readonly tried?: string;
  /** What the machine answered, control characters escaped. */
  readonly returned?: string;
  /** What to do about it. */
  readonly remedy?: string;
}

/** A problem with one more thing to do about it. */
export function withRemedy(problem: Problem, more: string): Problem {
  return { ...problem, remedy: problem.remedy === undefined ? more : `${problem.remedy}; ${more}` };
}

/**
 * The one error of this package: one or more {@link Problem}s, each told once.
 *
 * `code` is the first problem's. The message has no stack in it: it is for the person who runs
 * `pulumi up`, and the provider process of Pulumi prints message and stack both.
 */
export class ShareError extends Error {
  override readonly name = "ShareError";
  readonly code: ErrorCode;
  readonly problems: readonly Problem[];

  constructor(problems: Problem | readonly [Problem, ...Problem[]], options?: { readonly cause?: unknown }) {
    const all = "code" in problems ? ([problems] as const) : problems;
    super(all.map(formatProblem).join("\n"), options);
    this.problems = all;
    this.code = all[0].code;
  }
}

/** A problem as text: `modules on guest web1: kernel ... has no 9p [guestKernelLacks9p]`, then a line for each detail. */
export function formatProblem({ code, layer, machine, what, ...rest }: Problem): string {
  const details = { tried: rest.tried, answer: rest.returned, "to do": rest.remedy };
  return [
    `${layer} on ${machine}: ${printable(what)} [${code}]`,
    ...Object.entries(details).flatMap(([label, text = ""]) =>
      text === "" ? [] : [`    ${label}: ${printable(text)}`],
    ),
  ].join("\n");
}

/**
 * Text from a machine, made safe for a terminal: control characters escaped, at most 1,000 characters.
 *
 * A guest chooses file names on the host, and so what lands in an error.
 */
export function printable(text: string): string {
  const escaped = printableLines(text.trim()).replace(/\n/g, "\n      ");
  return escaped.length > 1000 ? `${escaped.slice(0, 1000)} ... (${escaped.length} characters)` : escaped;
}

/** The same for text of many lines that is shown whole: line ends and tabs stay, no length is too long. */
export function printableLines(text: string): string {
  return text.replace(
    /(?![\n\t])[\p{Cc}\p{Cf}]/gu,
    (character) => `\\x${(character.codePointAt(0) ?? 0).toString(16).padStart(2, "0")}`,
  );
}
