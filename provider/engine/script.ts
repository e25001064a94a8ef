import { randomBytes } from "node:crypto";
import { environment } from "../remote/shell/environment";
import { comment, lines, type Script, sh } from "../remote/shell/sh";
import type { Step } from "./layer";
import { signOfLife } from "./lock";
import { beginSections, type Late, section, sectionFunctions } from "./section";

/** What one section did. A section that never ran has no report. */
export interface Report {
  readonly status: number;
  /** Where it passed its limit: how it ended then, and the limit in seconds. */
  readonly late?: { readonly how: Late; readonly seconds: number } | undefined;
  readonly stdout: Buffer;
  readonly stderr: Buffer;
}

/** A script ready to be sent, and the mark by which its report is recognised. */
export interface Composed {
  readonly text: string;
  readonly mark: string;
  /** The last line that it prints, on both streams, however it ends. */
  readonly last: string;
}

/** How a script is put together. */
interface Composing {
  /** Milliseconds without a sign of progress after which one of its sections is ended. */
  readonly idleMs: number;
  /** Whether others are ended sooner once one was: what only looks can be asked again. */
  readonly hastens?: boolean;
  /** Run before anything else: it may use no program. */
  readonly first?: Script;
}

/**
 * Puts one script together: a prelude, then the body.
 *
 * All of it is one function, called with no standard input: the shell has read it whole before the
 * first command runs, and no command can eat the rest. Each report begins and ends with a mark that is
 * drawn anew for every script, on both streams; what a machine prints in between cannot guess it.
 */
export function compose(
  prelude: Script,
  body: Script,
  { idleMs, hastens = false, first = sh`:` }: Composing,
): Composed {
  const mark = `virtio9p-${randomBytes(12).toString("hex")}`;
  const script = sh`main() {
${environment}
unset CDPATH ENV IFS
umask 077
mark=${mark} lock='' signs='' work=''
mark() {
  printf '\n%s %s\n' "$mark" "$*"
  printf '\n%s %s\n' "$mark" "$*" >&2
  ${signOfLife}
}
${sectionFunctions}
${first}
${beginSections(idleMs, hastens)}
${prelude}
${body}
}
main </dev/null
`;
  return { text: script.text, mark, last: `${mark} over` };
}

/** Of the share of that number in a script: a variable of the shell, `failed`, `done`, that is its own. */
export function own(variable: string, share: number): Script {
  return { text: `${variable}_${share}` };
}

/**
 * Carries out one step, unless an earlier one failed: `failed` is then its number, and `done` says how many are done.
 *
 * `|| exit` cannot be left to `set -e`: a shell ignores that inside a tested subshell (POSIX.1-2017,
 * set), so each step is run in the open and its status taken.
 */
export function attempt(step: Step, at: number, share: number): Script {
  return sh`if [ -z "$${own("failed", share)}" ]; then
${comment(step.does)}
${section(`${share}-step-${at}`, lines([sh`set -e`, step.run]), { text: String(share) })}
if [ $status -eq 0 ]; then ${own("done", share)}=${at + 1}; else ${own("failed", share)}=${at}; fi
fi`;
}

/**
 * Takes back what was done, backwards; where that hangs, what was done before stays, too. `$ended` tells an undo that the
 * step that failed was ended at its limit, and may be done in part.
 */
export function undoing(steps: readonly Step[], share: number): Script {
  const undos = steps.map(({ does, undo }, at) => {
    if (!undo) return [];
    return sh`if [ $${own("done", share)} -gt ${at} ] && [ -z "$late" ]; then
${comment(`undo: ${does}`)}
${section(`${share}-undo-${at}`, lines([sh`set -e`, undo]))}
fi`;
  });
  return lines([sh`ended=$late late=''`, ...undos.reverse().flat()]);
}

/** What a part prints to standard error between its marks while it goes on: `MARK at 20000`, of what it does. */
function withoutSigns(mark: string, bytes: Buffer): Buffer {
  return Buffer.from(
    bytes.toString("latin1").replaceAll(new RegExp(`\\n?${mark} at \\d+\\n`, "g"), ""),
    "latin1",
  );
}

/** Reads the reports out of what a script printed. Throws nothing: what is not there did not run. */
export function parseReports(mark: string, stdout: Buffer, stderr: Buffer): ReadonlyMap<string, Report> {
  const errors = new Map(sections(mark, stderr).map(({ name, bytes }) => [name, withoutSigns(mark, bytes)]));
  return new Map(
    sections(mark, stdout).map(({ name, status, late, bytes }) => [
      name,
      { status, late, stdout: bytes, stderr: errors.get(name) ?? Buffer.alloc(0) },
    ]),
  );
}

/** The name of the section that had begun and not ended when the script stopped, if there is one. */
export function unfinished(mark: string, stdout: Buffer): string | undefined {
  const text = stdout.toString("latin1");
  const begun = [...text.matchAll(new RegExp(`\\n${mark} begin (\\S+)\\n`, "g"))].map((match) => match[1]);
  return begun.find((name) => name !== undefined && !text.includes(`\n${mark} end ${name} `));
}

function sections(
  mark: string,
  stream: Buffer,
): { name: string; status: number; late: Report["late"]; bytes: Buffer }[] {
  // One byte is one character, so that an index into the text is an index into the bytes.
  const text = stream.toString("latin1");
  const pattern = new RegExp(
    `\\n${mark} begin (\\S+)\\n([^]*?)\\n${mark} end \\1 (\\d+)(?: (ended|stuck) (\\d+))?\\n`,
    "g",
  );
  return [...text.matchAll(pattern)].map((match) => ({
    name: match[1] ?? "",
    status: Number(match[3]),
    late: match[4] === undefined ? undefined : { how: match[4] as Late, seconds: Number(match[5]) },
    bytes: Buffer.from(match[2] ?? "", "latin1"),
  }));
}
