import { createHash } from "node:crypto";
import { printable, type Problem, ShareError } from "../errors";
import type { Transport } from "../transport/transport";
import type { Fact, Place, Step, Tool } from "./concern";
import { compose, inTurn, parseReports, type Report, untilFailure, unfinished } from "./script";
import { lines, type Script, sh } from "../formats/shell";

/** A machine of one share, ready for scripts. */
export interface Machine {
  readonly place: Place;
  readonly transport: Transport;
  /** Defines what facts and steps may use: on the host `vsh`, `$domain`, `$recorded`, `$records`. */
  readonly prelude: Script;
  /** Held while something is looked at again and written: what two stacks must not do at once. */
  readonly lock: Script;
  /** What the lock and the comparison before a write need there. */
  readonly programs: readonly string[];
  readonly idleMs: number;
}

/** With what a machine's `lock` exits when another process holds it too long (EX_TEMPFAIL, sysexits.h). */
export const lockHeldStatus = 75;

/** Facts by key. */
export type FactSet = ReadonlyMap<string, Fact<unknown>>;

/** What one look found. */
export interface Look {
  readonly values: ReadonlyMap<string, unknown>;
  readonly raw: ReadonlyMap<string, Buffer>;
}

/** How a write ended. */
export interface Written {
  /** Nothing was written: what the plan relied on is not so any more. */
  readonly stale: boolean;
  /** The step that failed; what was done before it is undone, but for what `problem` names. */
  readonly failed: Problem | undefined;
  /** Steps that were carried out and not undone. */
  readonly kept: number;
  readonly look: Look;
}

/** Looks up all facts in one script. Rejects with `toolMissing`, `lookFailed` or what the transport says. */
export async function look(machine: Machine, facts: FactSet): Promise<Look> {
  const composed = compose(machine.prelude, () =>
    lines([toolCheck(machine, facts), inTurn(snippetsOf(facts))]),
  );
  const output = await machine.transport.run(composed.text, { idleMs: machine.idleMs });
  const reports = parseReports(composed.mark, output.stdout, output.stderr);
  checkTools(machine, reports.get("tools"), facts);
  return readFacts(
    machine,
    facts,
    reports,
    unfinished(composed.mark, output.stdout) ?? printable(output.stderr.toString("utf8")),
  );
}

/**
 * Carries out steps in one script, under the machine's lock, and looks again.
 *
 * First the guards among `facts` are looked up anew: unless they say what `seen` says, nothing is written.
 */
export async function write(
  machine: Machine,
  facts: FactSet,
  seen: Look,
  steps: readonly Step[],
  onProgress?: (does: string) => void,
): Promise<Written> {
  const guards = [...facts.values()].filter((fact) => fact.guard === true);
  const composed = compose(machine.prelude, () =>
    lines([
      machine.lock,
      sh`found=$( { ${lines(
        guards.map(
          (fact) => sh`( ${fact.script}
) 2>/dev/null; printf '\n%s\n' ${fact.key}`,
        ),
      )}
} | sha256sum | cut -d' ' -f1 )
if [ "$found" != ${digest(guards, seen)} ]; then
  mark begin stale; mark end stale 0
  return 0
fi`,
      untilFailure(steps),
      sh`exec 9>&-`,
      inTurn(snippetsOf(facts)),
    ]),
  );
  const output = await machine.transport.run(composed.text, {
    idleMs: machine.idleMs,
    onProgress: (line) => {
      const index = line.startsWith(`${composed.mark} begin step-`) ? Number(line.split("-").at(-1)) : NaN;
      const step = steps[index];
      if (step) onProgress?.(step.does);
    },
  });
  const reports = parseReports(composed.mark, output.stdout, output.stderr);
  if (output.status === lockHeldStatus && reports.size === 0) throw lockHeld(machine);
  if (reports.has("stale")) return { stale: true, failed: undefined, kept: 0, look: seen };
  const last = unfinished(composed.mark, output.stdout) ?? printable(output.stderr.toString("utf8"));
  const { failed, kept } = outcome(machine, steps, reports, last);
  return { stale: false, failed, kept, look: readFacts(machine, facts, reports, last) };
}

/** Runs one script that is neither a look nor a list of steps, and looks up facts after it. */
export async function perform(
  machine: Machine,
  facts: FactSet,
  does: string,
  script: Script,
  onLine: (line: string) => void,
): Promise<{ readonly report: Report; readonly look: Look }> {
  const composed = compose(machine.prelude, () =>
    lines([inTurn(new Map([["job", { does, run: script }]])), inTurn(snippetsOf(facts))]),
  );
  const output = await machine.transport.run(composed.text, {
    idleMs: machine.idleMs,
    onProgress: (line) => {
      if (line !== "" && !line.startsWith(composed.mark)) onLine(line);
    },
  });
  const reports = parseReports(composed.mark, output.stdout, output.stderr);
  const report = reports.get("job");
  if (!report) throw lostReport(machine, does, printable(output.stderr.toString("utf8")));
  return { report, look: readFacts(machine, facts, reports, does) };
}

function snippetsOf(facts: FactSet) {
  return new Map(
    [...facts.values()].map((fact, index) => [`fact-${index}`, { does: fact.does, run: fact.script }]),
  );
}

function toolsOf(facts: FactSet): readonly Tool[] {
  const tools = [...facts.values()].flatMap((fact) => fact.tools ?? []);
  return [...new Map(tools.map((tool) => [tool.program, tool])).values()];
}

function toolCheck(machine: Machine, facts: FactSet): Script {
  const programs = [...machine.programs, ...toolsOf(facts).map((tool) => tool.program)];
  return sh`mark begin tools
for program in ${programs}; do command -v "$program" >/dev/null || printf '%s\n' "$program"; done
mark end tools 0`;
}

function checkTools(machine: Machine, report: Report | undefined, facts: FactSet): void {
  const missing =
    report?.stdout
      .toString("utf8")
      .split("\n")
      .filter((line) => line !== "") ?? [];
  if (missing.length === 0) return;
  const known = new Map(toolsOf(facts).map((tool) => [tool.program, tool.packages]));
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

function readFacts(
  machine: Machine,
  facts: FactSet,
  reports: ReadonlyMap<string, Report>,
  last: string,
): Look {
  const values = new Map<string, unknown>();
  const raw = new Map<string, Buffer>();
  [...facts.values()].forEach((fact, index) => {
    const report = reports.get(`fact-${index}`);
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

function lockHeld(machine: Machine): ShareError {
  return new ShareError({
    code: "lockHeld",
    layer: machine.place,
    machine: machine.transport.machine,
    what: "another process works on shares of this machine, and did not finish in time",
    remedy: "let it finish, and try again",
  });
}

function lostReport(machine: Machine, does: string, last: string): ShareError {
  return new ShareError({
    code: "transportFailed",
    layer: machine.place,
    machine: machine.transport.machine,
    what: "a script ended before its end",
    tried: does,
    returned: last,
  });
}

/** Must be what the script computes of the same facts. */
function digest(guards: readonly Fact<unknown>[], seen: Look): string {
  const hash = createHash("sha256");
  for (const fact of guards) {
    hash.update(seen.raw.get(fact.key) ?? "");
    hash.update(`\n${fact.key}\n`);
  }
  return hash.digest("hex");
}

function outcome(
  machine: Machine,
  steps: readonly Step[],
  reports: ReadonlyMap<string, Report>,
  last: string,
): { failed: Problem | undefined; kept: number } {
  const index = steps.findIndex((_, at) => (reports.get(`step-${at}`)?.status ?? -1) !== 0);
  if (index === -1) return { failed: undefined, kept: steps.length };
  const step = steps[index];
  const report = reports.get(`step-${index}`);
  const done = steps.slice(0, index);
  const undone = done.filter((_, at) => reports.get(`undo-${at}`)?.status === 0);
  const stuck = done.filter((_, at) => (reports.get(`undo-${at}`)?.status ?? 0) !== 0).map((one) => one.does);
  const failed: Problem = {
    code: step?.code ?? "stepFailed",
    layer: step?.layer ?? machine.place,
    machine: machine.transport.machine,
    what: report ? `a step failed with status ${report.status}` : "a step did not end",
    tried: step?.does ?? "",
    returned: report?.stderr.toString("utf8") ?? last,
    ...(stuck.length > 0 ? { remedy: `these steps could not be undone: ${stuck.join("; ")}` } : {}),
  };
  return { failed, kept: done.length - undone.length };
}
