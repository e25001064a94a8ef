import { type Problem, ShareError } from "../errors";
import { lines, type Script, sh } from "../remote/shell/sh";
import type { Fact, Tool } from "./layer";
import {
  factsIn,
  keyOf,
  type Snapshot,
  type ReadRequest,
  type Machine,
  numbered,
  problemOn,
  type WriteRequest,
} from "./requests";
import { packagesOf } from "./programs";
import type { Report } from "./script";

/** Reads out of the reports of one script what each share asked for. */

/** What came of one ask of several; an error is that ask's own. */
export type Result<T> = T | ShareError;

/** How to see more than an error says. */
const seeScripts = "VIRTIO9P_LOG=scripts shows every script as it is run";

/** An error of one ask must not be that of all. */
export function orOwnError<T>(work: () => T): Result<T> {
  try {
    return work();
  } catch (error) {
    if (error instanceof ShareError) return error;
    throw error;
  }
}

function toolsOf(facts: readonly Fact<unknown>[]): readonly Tool[] {
  const tools = facts.flatMap((fact) => fact.tools ?? []);
  return [...new Map(tools.map((tool) => [tool.program, tool])).values()];
}

/** The programs without which nothing is looked up for a share. */
function neededBy({ machine, facts }: ReadRequest): readonly string[] {
  const needed = [...facts.values()].filter(({ mayFail }) => mayFail !== true);
  return [...machine.programs, ...toolsOf(needed).map((tool) => tool.program)];
}

/**
 * The part of a script, named `tools`, that prints the programs that are not there. Nothing else is done for a share
 * that needs one of them: a script without its programs does what nobody wrote. A fact that may fail fails alone.
 */
export function toolCheck(asks: readonly ReadRequest[]): Script {
  const sets = Map.groupBy(asks.entries(), ([, ask]) => neededBy(ask).join(" "));
  const checks = [...sets].map(([programs, own]) => {
    const askers = own.map(([index]) => index);
    const needed = programs.split(" ").filter((program) => program !== "");
    return sh`if lacks ${needed}; then drop ${numbered(askers, asks)}; fi`;
  });
  return sh`mark begin tools
lacks() {
  lack=1
  for program; do command -v "$program" >/dev/null || { lack=0; printf '%s\n' "$program"; }; done
  return $lack
}
${lines(checks)}
lacks ${toolsOf(asks.flatMap(({ facts }) => [...facts.values()])).map((tool) => tool.program)} || :
mark end tools 0`;
}

/** What is not installed of what one share needs, with the packages that bring it; undefined: nothing. */
function missingTools({ machine, facts }: ReadRequest, report: Report | undefined) {
  const known = new Map(toolsOf([...facts.values()]).map((tool) => [tool.program, tool.packages]));
  const printed = report?.stdout.toString("utf8").split("\n") ?? [];
  const missing = [...new Set(printed)].filter(
    (program) => known.has(program) || machine.programs.includes(program),
  );
  if (missing.length === 0) return undefined;
  const remedies = missing.map((program) => {
    const [debian, fedora] = known.get(program) ?? packagesOf(program);
    return `${program}: package ${debian}${debian === fedora ? "" : ` (Debian, Ubuntu) or ${fedora} (Fedora, EL)`}`;
  });
  const what = `${missing.join(", ")} ${missing.length === 1 ? "is" : "are"} not installed`;
  const remedy = `install ${remedies.join("; ")}`;
  return {
    programs: new Set(missing),
    error: new ShareError(problemOn(machine, { code: "toolMissing", what, remedy })),
  };
}

/**
 * What one share asked for, out of what all did. Throws where a fact failed, unless that one may fail, and
 * `toolMissing` where the machine itself lacks a program.
 */
export function readFacts(
  ask: ReadRequest,
  asks: readonly ReadRequest[],
  reports: ReadonlyMap<string, Report>,
  last: string,
): Snapshot {
  const { machine, facts } = ask;
  const values = new Map<string, unknown>();
  const raw = new Map<string, Buffer>();
  const failures = new Map<string, ShareError>();
  const keys = [...factsIn(asks).keys()];
  const section = (key: string): string => `fact-${keys.indexOf(key)}`;
  const missing = missingTools(ask, reports.get("tools"));
  if (missing && neededBy(ask).some((program) => missing.programs.has(program))) throw missing.error;
  const late = lateIn(ask, section, reports);
  if (late) throw new ShareError(late);
  for (const fact of facts.values()) {
    const own = section(keyOf(fact, machine));
    const report = reports.get(own);
    const value = orOwnError(() => {
      if (missing && fact.tools?.some(({ program }) => missing.programs.has(program))) throw missing.error;
      const hung = lateOf(fact, machine, own, reports);
      if (hung) throw new ShareError(hung);
      if (!report) throw lostReport(machine, fact.does, last);
      raw.set(fact.does, report.stdout);
      return { is: valueOf(fact, machine, report) };
    });
    if (!(value instanceof ShareError)) values.set(fact.does, value.is);
    else if (fact.mayFail === true && (report || value.code === "commandTimedOut"))
      failures.set(fact.does, value);
    else throw value;
  }
  return { values, raw, failures };
}

function valueOf(fact: Fact<unknown>, machine: Machine, report: Report): unknown {
  if (report.status !== 0) {
    const failure = {
      code: "lookFailed",
      what: `reading state failed (exit ${report.status})`,
      remedy: `mend what the answer names, and try again; ${seeScripts}`,
      ...fact.failure,
      tried: fact.does,
      returned: report.stderr.toString("utf8"),
    } as const;
    throw new ShareError(problemOn(machine, failure));
  }
  try {
    return fact.parse(report.stdout.toString("utf8"), report.stdout);
  } catch (error) {
    if (error instanceof ShareError) throw error;
    const what = `the answer was not understood: ${(error as Error).message}`;
    const remedy = `report this, with the version of what answered; ${seeScripts}`;
    const problem = problemOn(machine, { code: "lookFailed", what, tried: fact.does, remedy });
    throw new ShareError(problem, { cause: error });
  }
}

/**
 * The first of what a share must have that passed its limit, and so nothing else was done for it. `sections` names the
 * section of each, by its key.
 */
export function lateIn(
  { machine, facts }: ReadRequest,
  sections: (key: string) => string,
  reports: ReadonlyMap<string, Report>,
): Problem | undefined {
  return [...facts.values()]
    .filter(({ mayFail }) => mayFail !== true)
    .map((fact) => lateOf(fact, machine, sections(keyOf(fact, machine)), reports))
    .find((late) => late !== undefined);
}

/** Where the section of a fact, or of what it is read out of, passed its limit. */
function lateOf(
  fact: Fact<unknown>,
  machine: Machine,
  section: string,
  reports: ReadonlyMap<string, Report>,
): Problem | undefined {
  const { opening } = machine;
  const parts = [
    [opening?.does ?? "", `gather-${opening?.variable}`],
    [fact.does, `gather-${fact.gathers?.variable}`],
    [fact.does, section],
  ] as const;
  for (const [does, name] of parts) {
    const report = reports.get(name);
    if (report?.late) return timedOut(machine, does, report);
  }
  return undefined;
}

/** Of a section that passed its limit. */
function timedOut(machine: Machine, does: string, report: Report): Problem {
  const end =
    report.late?.how === "stuck"
      ? "cannot be ended: it may go on, and still change something, when what it waits for answers"
      : "was ended";
  return problemOn(machine, {
    code: "commandTimedOut",
    what: `"${does}" gave no sign of progress for ${report.late?.seconds ?? 0} s, and ${end}`,
    tried: does,
    returned: report.stderr.toString("utf8"),
    remedy:
      "see what it waits for (a server or a disk that does not answer, mostly that of the path's file system), mend that or unmount it, and try again; timeouts.commandMs is the limit",
  });
}

/** Whoever holds the lock did not let go of it in time: nothing was written. */
export function lockHeld(machine: Machine): ShareError {
  const what = "another process works on shares of this machine, and did not finish in time";
  const remedy = "let it finish, and try again";
  return new ShareError(problemOn(machine, { code: "lockHeld", what, remedy }));
}

/** A script that ended without saying how one of its parts did; `last` is what it said instead. */
export function lostReport(machine: Machine, does: string, last: string): ShareError {
  const what = "a script ended before its end";
  const remedy = `see what ended it there, and try again; ${seeScripts}`;
  const problem = { code: "transportFailed", what, tried: does, returned: last, remedy } as const;
  return new ShareError(problemOn(machine, problem));
}

/** How the steps of one share ended: the one that failed, and how many stay done. */
export function outcome(
  { machine, steps }: WriteRequest,
  prefix: string,
  reports: ReadonlyMap<string, Report>,
  last: string,
): { failed: Problem | undefined; kept: number; late: boolean } {
  const failing = [...steps.entries()].find(([at]) => reports.get(`${prefix}step-${at}`)?.status !== 0);
  if (!failing) return { failed: undefined, kept: steps.length, late: false };
  const [index, step] = failing;
  const report = reports.get(`${prefix}step-${index}`);
  const done = steps.slice(0, index);
  const undo = (at: number): number | undefined => reports.get(`${prefix}undo-${at}`)?.status;
  const undone = done.filter((_, at) => undo(at) === 0);
  const stuck = done.filter((_, at) => (undo(at) ?? 0) !== 0).map(({ does }) => does);
  const returned = report?.stderr.toString("utf8") ?? last;
  const hung = report?.late && timedOut(machine, step.does, report);
  const { code, what, remedy } = {
    code: step.code ?? "stepFailed",
    what: report ? `a change failed (exit ${report.status})` : "a change did not end",
    remedy: `mend what the answer names, and run pulumi up again; ${seeScripts}`,
    ...hung,
    ...step.failures?.find(({ answer }) => returned.includes(answer)),
  };
  const left = stuck.length > 0 ? `. these steps could not be undone: ${stuck.join("; ")}` : "";
  const failure = { code, what, tried: step.does, returned, remedy: `${remedy}${left}` };
  const failed = problemOn(machine, failure, step.layer);
  // What was ended within a step may be done in part.
  return { failed, kept: done.length - undone.length + (hung ? 1 : 0), late: hung !== undefined };
}
