import { type Problem, ShareError } from "../errors";
import { lines, type Script, sh } from "../formats/shell";
import type { Fact, Tool } from "./concern";
import { factsIn, keyOf, type Look, type LookAsk, type Machine, numbered, type WriteAsk } from "./asks";
import { packagesOf } from "./programs";
import type { Report } from "./script";

/** Reads out of the reports of one script what each share asked for. */

/** What came of one ask of several; an error is that ask's own. */
export type Answer<T> = T | ShareError;

/** How to see more than an error says. */
const seeScripts = "VIRTIO9P_LOG=scripts shows every script as it is run";

/** An error of one ask must not be that of all. */
export function orOwnError<T>(work: () => T): Answer<T> {
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
function neededBy({ machine, facts }: LookAsk): readonly string[] {
  const needed = [...facts.values()].filter(({ mayFail }) => mayFail !== true);
  return [...machine.programs, ...toolsOf(needed).map((tool) => tool.program)];
}

/**
 * The part of a script, named `tools`, that prints the programs that are not there. Nothing else is done for a share
 * that needs one of them: a script without its programs does what nobody wrote. A fact that may fail fails alone.
 */
export function toolCheck(asks: readonly LookAsk[]): Script {
  const sets = new Map<string, { readonly programs: readonly string[]; readonly askers: number[] }>();
  asks.forEach((ask, index) => {
    const programs = neededBy(ask);
    const key = programs.join(" ");
    const known = sets.get(key);
    if (known) known.askers.push(index);
    else sets.set(key, { programs, askers: [index] });
  });
  return sh`mark begin tools
lacks() {
  lack=1
  for program; do command -v "$program" >/dev/null || { lack=0; printf '%s\n' "$program"; }; done
  return $lack
}
${lines(
  [...sets.values()].map(
    ({ programs, askers }) => sh`if lacks ${programs}; then drop ${numbered(askers, asks)}; fi`,
  ),
)}
lacks ${toolsOf(asks.flatMap(({ facts }) => [...facts.values()])).map((tool) => tool.program)} || :
mark end tools 0`;
}

/** What is not installed of what one share needs, with the packages that bring it; undefined: nothing. */
function missingTools({ machine, facts }: LookAsk, report: Report | undefined): MissingTools | undefined {
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
  const error = new ShareError({
    code: "toolMissing",
    layer: machine.place,
    machine: machine.transport.machine,
    what: `${missing.join(", ")} ${missing.length === 1 ? "is" : "are"} not installed`,
    remedy: `install ${remedies.join("; ")}`,
  });
  return { programs: new Set(missing), error };
}

interface MissingTools {
  readonly programs: ReadonlySet<string>;
  readonly error: ShareError;
}

/**
 * What one share asked for, out of what all did. Throws where a fact failed, unless that one may fail, and
 * `toolMissing` where the machine itself lacks a program.
 */
export function readFacts(
  ask: LookAsk,
  asks: readonly LookAsk[],
  reports: ReadonlyMap<string, Report>,
  last: string,
): Look {
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
    const lacks = fact.tools?.some(({ program }) => missing?.programs.has(program)) === true;
    const value = orOwnError(() => {
      if (missing && lacks) throw missing.error;
      const hung = lateOf(fact, machine, own, reports);
      if (hung) throw new ShareError(hung);
      if (!report) throw lostReport(machine, fact.does, last);
      raw.set(fact.key, report.stdout);
      return { is: valueOf(fact, machine, report) };
    });
    if (!(value instanceof ShareError)) values.set(fact.key, value.is);
    else if (fact.mayFail === true && (report || value.code === "commandTimedOut"))
      failures.set(fact.key, value);
    else throw value;
  }
  return { values, raw, failures };
}

function valueOf(fact: Fact<unknown>, machine: Machine, report: Report): unknown {
  const problem = { code: "lookFailed", layer: machine.place, machine: machine.transport.machine } as const;
  if (report.status !== 0) {
    throw new ShareError({
      ...problem,
      what: `reading state failed (exit ${report.status})`,
      remedy: `mend what the answer names, and try again; ${seeScripts}`,
      ...fact.failure,
      tried: fact.does,
      returned: report.stderr.toString("utf8"),
    });
  }
  try {
    return fact.parse(report.stdout.toString("utf8"), report.stdout);
  } catch (error) {
    if (error instanceof ShareError) throw error;
    const what = `the answer was not understood: ${(error as Error).message}`;
    const remedy = `report this, with the version of what answered; ${seeScripts}`;
    throw new ShareError({ ...problem, what, tried: fact.does, remedy }, { cause: error });
  }
}

/**
 * The first of what a share must have that passed its limit, and so nothing else was done for it. `sections` names the
 * section of each, by its key.
 */
export function lateIn(
  { machine, facts }: LookAsk,
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
  const all = [
    [opening?.does, `gather-${opening?.variable}`],
    [fact.does, `gather-${fact.gathers?.variable}`],
    [fact.does, section],
  ] as const;
  const [does, name] = all.find(([, one]) => reports.get(one)?.late) ?? [];
  const late = reports.get(name ?? "");
  return late && timedOut(machine, does ?? "", late);
}

/** Of a section that passed its limit. */
function timedOut(machine: Machine, does: string, report: Report): Problem {
  const end =
    report.late?.how === "stuck"
      ? "cannot be ended: it may go on, and still change something, when what it waits for answers"
      : "was ended";
  return {
    code: "commandTimedOut",
    layer: machine.place,
    machine: machine.transport.machine,
    what: `"${does}" gave no sign of progress for ${report.late?.seconds ?? 0} s, and ${end}`,
    tried: does,
    returned: report.stderr.toString("utf8"),
    remedy:
      "see what it waits for (a server or a disk that does not answer, mostly that of the path's file system), mend that or unmount it, and try again; timeouts.commandMs is the limit",
  };
}

/** Whoever holds the lock did not let go of it in time: nothing was written. */
export function lockHeld(machine: Machine): ShareError {
  return new ShareError({
    code: "lockHeld",
    layer: machine.place,
    machine: machine.transport.machine,
    what: "another process works on shares of this machine, and did not finish in time",
    remedy: "let it finish, and try again",
  });
}

/** A script that ended without saying how one of its parts did; `last` is what it said instead. */
export function lostReport(machine: Machine, does: string, last: string): ShareError {
  return new ShareError({
    code: "transportFailed",
    layer: machine.place,
    machine: machine.transport.machine,
    what: "a script ended before its end",
    tried: does,
    returned: last,
    remedy: `see what ended it there, and try again; ${seeScripts}`,
  });
}

/** How the steps of one share ended: the one that failed, and how many stay done. */
export function outcome(
  { machine, steps }: WriteAsk,
  prefix: string,
  reports: ReadonlyMap<string, Report>,
  last: string,
): { failed: Problem | undefined; kept: number; late: boolean } {
  const index = steps.findIndex((_, at) => (reports.get(`${prefix}step-${at}`)?.status ?? -1) !== 0);
  if (index === -1) return { failed: undefined, kept: steps.length, late: false };
  const step = steps[index];
  const report = reports.get(`${prefix}step-${index}`);
  const done = steps.slice(0, index);
  const undone = done.filter((_, at) => reports.get(`${prefix}undo-${at}`)?.status === 0);
  const stuck = done
    .filter((_, at) => (reports.get(`${prefix}undo-${at}`)?.status ?? 0) !== 0)
    .map((one) => one.does);
  const returned = report?.stderr.toString("utf8") ?? last;
  const hung = report?.late && step ? timedOut(machine, step.does, report) : undefined;
  const known = step?.failures?.find(({ answer }) => returned.includes(answer));
  const remedies = [
    known?.remedy ?? hung?.remedy ?? `mend what the answer names, and run pulumi up again; ${seeScripts}`,
    ...(stuck.length > 0 ? [`these steps could not be undone: ${stuck.join("; ")}`] : []),
  ];
  const failed: Problem = {
    code: known?.code ?? hung?.code ?? step?.code ?? "stepFailed",
    layer: step?.layer ?? machine.place,
    machine: machine.transport.machine,
    what:
      known?.what ??
      hung?.what ??
      (report ? `a change failed (exit ${report.status})` : "a change did not end"),
    tried: step?.does ?? "",
    returned,
    remedy: remedies.join(". "),
  };
  // What was ended within a step may be done in part.
  return { failed, kept: done.length - undone.length + (hung ? 1 : 0), late: hung !== undefined };
}
