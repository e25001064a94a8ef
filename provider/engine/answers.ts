import { type Problem, ShareError } from "../errors";
import { type Script, sh } from "../formats/shell";
import type { Tool } from "./concern";
import { factsIn, keyOf, type Look, type LookAsk, type Machine, type WriteAsk } from "./asks";
import type { Report } from "./script";

/** Reads out of the reports of one script what each share asked for. */

/** What came of one ask of several; an error is that ask's own. */
export type Answer<T> = T | ShareError;

/** An error of one ask must not be that of all. */
export function orOwnError<T>(work: () => T): Answer<T> {
  try {
    return work();
  } catch (error) {
    if (error instanceof ShareError) return error;
    throw error;
  }
}

function toolsOf(asks: readonly LookAsk[]): readonly Tool[] {
  const tools = asks.flatMap(({ facts }) => [...facts.values()].flatMap((fact) => fact.tools ?? []));
  return [...new Map(tools.map((tool) => [tool.program, tool])).values()];
}

/** The part of a script, named `tools`, that prints the programs that are not there. */
export function toolCheck(asks: readonly [LookAsk, ...LookAsk[]]): Script {
  const programs = [...asks[0].machine.programs, ...toolsOf(asks).map((tool) => tool.program)];
  return sh`mark begin tools
for program in ${programs}; do command -v "$program" >/dev/null || printf '%s\n' "$program"; done
mark end tools 0`;
}

/** Throws `toolMissing` for what one share needs of them, with the packages that bring it. */
export function checkTools({ machine, facts }: LookAsk, report: Report | undefined): void {
  const known = new Map(toolsOf([{ machine, facts }]).map((tool) => [tool.program, tool.packages]));
  const missing = (report?.stdout.toString("utf8").split("\n") ?? []).filter(
    (program) => known.has(program) || machine.programs.includes(program),
  );
  if (missing.length === 0) return;
  const remedies = missing.map((program) => {
    const [debian, fedora] =
      known.get(program) ?? (program === "flock" ? ["util-linux", "util-linux"] : ["coreutils", "coreutils"]);
    return `${program}: package ${debian}${debian === fedora ? "" : ` (Debian, Ubuntu) or ${fedora} (Fedora, EL)`}`;
  });
  throw new ShareError({
    code: "toolMissing",
    layer: machine.place,
    machine: machine.transport.machine,
    what: `${missing.join(", ")} ${missing.length === 1 ? "is" : "are"} not installed`,
    remedy: `install ${remedies.join("; ")}`,
  });
}

/** What one share asked for, out of what all did. */
export function readFacts(
  { machine, facts }: LookAsk,
  asks: readonly LookAsk[],
  reports: ReadonlyMap<string, Report>,
  last: string,
): Look {
  const values = new Map<string, unknown>();
  const raw = new Map<string, Buffer>();
  const keys = [...factsIn(asks).keys()];
  [...facts.values()].forEach((fact) => {
    const report = reports.get(`fact-${keys.indexOf(keyOf(fact, machine))}`);
    if (!report) throw lostReport(machine, fact.does, last);
    if (report.status !== 0) {
      throw new ShareError({
        code: "lookFailed",
        layer: machine.place,
        machine: machine.transport.machine,
        what: `a look failed with status ${report.status}`,
        ...fact.failure,
        tried: fact.does,
        returned: report.stderr.toString("utf8"),
      });
    }
    raw.set(fact.key, report.stdout);
    try {
      values.set(fact.key, fact.parse(report.stdout.toString("utf8"), report.stdout));
    } catch (error) {
      if (error instanceof ShareError) throw error;
      throw new ShareError(
        {
          code: "lookFailed",
          layer: machine.place,
          machine: machine.transport.machine,
          what: `the answer was not understood: ${(error as Error).message}`,
          tried: fact.does,
        },
        { cause: error },
      );
    }
  });
  return { values, raw };
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
  });
}

/** How the steps of one share ended: the one that failed, and how many stay done. */
export function outcome(
  { machine, steps }: WriteAsk,
  prefix: string,
  reports: ReadonlyMap<string, Report>,
  last: string,
): { failed: Problem | undefined; kept: number } {
  const index = steps.findIndex((_, at) => (reports.get(`${prefix}step-${at}`)?.status ?? -1) !== 0);
  if (index === -1) return { failed: undefined, kept: steps.length };
  const step = steps[index];
  const report = reports.get(`${prefix}step-${index}`);
  const done = steps.slice(0, index);
  const undone = done.filter((_, at) => reports.get(`${prefix}undo-${at}`)?.status === 0);
  const stuck = done
    .filter((_, at) => (reports.get(`${prefix}undo-${at}`)?.status ?? 0) !== 0)
    .map((one) => one.does);
  const returned = report?.stderr.toString("utf8") ?? last;
  const known = step?.failures?.find(({ answer }) => returned.includes(answer));
  const remedies = [
    ...(known?.remedy === undefined ? [] : [known.remedy]),
    ...(stuck.length > 0 ? [`these steps could not be undone: ${stuck.join("; ")}`] : []),
  ];
  const failed: Problem = {
    code: known?.code ?? step?.code ?? "stepFailed",
    layer: step?.layer ?? machine.place,
    machine: machine.transport.machine,
    what: known?.what ?? (report ? `a step failed with status ${report.status}` : "a step did not end"),
    tried: step?.does ?? "",
    returned,
    ...(remedies.length > 0 ? { remedy: remedies.join(". ") } : {}),
  };
  return { failed, kept: done.length - undone.length };
}
