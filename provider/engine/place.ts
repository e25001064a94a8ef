import { createHash } from "node:crypto";
import { printable, type Problem, ShareError } from "../errors";
import { lines, type Script, sh } from "../formats/shell";
import type { Transport } from "../transport/transport";
import type { Fact, Place, Step, Tool } from "./concern";
import { compose, inTurn, parseReports, type Report, untilFailure, unfinished } from "./script";

/** A machine of one share, ready for scripts. */
export interface Machine {
  readonly place: Place;
  /** Shares whose machines have equal keys are on one machine, and share its scripts. */
  readonly key: string;
  readonly transport: Transport;
  /** Defines what facts and steps may use: on the host `vsh`, `$records`. */
  readonly prelude: Script;
  /** Of the share's domain: sets `$domain`, `$recorded`. Shares with equal keys have one domain. */
  readonly scope: { readonly key: string; readonly enter: Script; readonly beforeWrite: Script };
  /** Held while something is looked at again and written: what two stacks must not do at once. */
  readonly lock: Script;
  /** What the lock and the comparison before a write need there. */
  readonly programs: readonly string[];
  readonly idleMs: number;
  /** How many shares one script may serve. */
  readonly most: number;
}

/** With what a machine's `lock` exits when another process holds it too long (EX_TEMPFAIL, sysexits.h). */
export const lockHeldStatus = 75;

/** Facts by key. */
export type FactSet = ReadonlyMap<string, Fact<unknown>>;

/** What one look found. */
export interface Look {
  readonly values: ReadonlyMap<string, unknown>;
  readonly raw: ReadonlyMap<string, Buffer>;
  /** How often this process had written to the machine before. */
  readonly writes?: number;
}

/** What one share wants to know of a machine. */
export interface LookAsk {
  readonly machine: Machine;
  readonly facts: FactSet;
}

/** What one share wants to be written on a machine, and the look that its plan rests on. */
export interface WriteAsk extends LookAsk {
  readonly seen: Look;
  readonly steps: readonly Step[];
  readonly onStep?: ((does: string) => void) | undefined;
}

/** How a write ended. */
export interface Written {
  /**
   * Nothing was written: what the plan relied on is `changed` by somebody else, or it is `deferred` behind
   * what this process itself writes for another share.
   */
  readonly stale: false | "changed" | "deferred";
  /** The step that failed; what was done before it is undone, but for what `problem` names. */
  readonly failed: Problem | undefined;
  /** Steps that were carried out and not undone. */
  readonly kept: number;
  readonly look: Look;
}

/** What came of one ask of several; an error is that ask's own. */
export type Answer<T> = T | ShareError;

/**
 * Looks up all that is asked in one script, each fact once. The asks are of one machine.
 *
 * Rejects with what the transport says; an answer may be `toolMissing` or `lookFailed`.
 */
export async function look(asks: readonly [LookAsk, ...LookAsk[]]): Promise<Answer<Look>[]> {
  const [{ machine }] = asks;
  const composed = compose(machine.prelude, () => lines([toolCheck(asks), lookUp(asks)]));
  const output = await machine.transport.run(composed.text, { idleMs: idleOf(asks) });
  const reports = parseReports(composed.mark, output.stdout, output.stderr);
  const last = unfinished(composed.mark, output.stdout) ?? printable(output.stderr.toString("utf8"));
  return asks.map((ask) =>
    orOwnError(() => {
      checkTools(ask, reports.get("tools"));
      return readFacts(ask, asks, reports, last);
    }),
  );
}

/**
 * Carries out the steps of several shares in one script, under the machine's lock, and looks again.
 *
 * First the guards among the facts are looked up anew: where they do not say what a share's look says,
 * nothing is written for it. Each share's steps fail and are undone for themselves. A plan that rests on
 * what an earlier one in the same script changes is left for the next: it is deferred.
 */
export async function write(asks: readonly [WriteAsk, ...WriteAsk[]]): Promise<Answer<Written>[]> {
  const [{ machine }] = asks;
  const sections = asks.map((ask, index) => ({
    ask,
    prefix: `${index}-`,
    deferred: isDeferred(asks, index),
  }));
  const guards = [...factsIn(asks)].filter(([, { fact }]) => fact.guard === true);
  const composed = compose(machine.prelude, () =>
    lines([
      machine.lock,
      gather(guards.map(([, { fact }]) => fact)),
      ...guards.map(
        ([, scoped], index) => sh`guard_${index}=$( ( ${scriptOf(scoped)}
) 2>/dev/null | sha256sum | cut -d' ' -f1 )`,
      ),
      ...sections.map(({ ask, prefix, deferred }) =>
        deferred
          ? sh`:`
          : sh`if ${standsAsSeen(
              ask,
              guards.map(([key]) => key),
            )}; then
${ask.machine.scope.enter}
${ask.machine.scope.beforeWrite}
${untilFailure(ask.steps, prefix)}
else
mark begin ${`${prefix}stale`}; mark end ${`${prefix}stale`} 0
fi`,
      ),
      sh`exec 9>&-`,
      lookUp(asks),
    ]),
  );
  const output = await machine.transport.run(composed.text, {
    idleMs: idleOf(asks),
    onProgress: (line) => {
      const [, index, at] = /^- begin (\d+)-step-(\d+)$/.exec(line.replace(composed.mark, "-")) ?? [];
      const ask = index === undefined ? undefined : asks[Number(index)];
      const step = ask?.steps[Number(at)];
      if (ask && step) ask.onStep?.(step.does);
    },
  });
  const reports = parseReports(composed.mark, output.stdout, output.stderr);
  if (output.status === lockHeldStatus && reports.size === 0) throw lockHeld(machine);
  const last = unfinished(composed.mark, output.stdout) ?? printable(output.stderr.toString("utf8"));
  return sections.map(({ ask, prefix, deferred }) =>
    orOwnError(() => {
      const stale = deferred ? "deferred" : reports.has(`${prefix}stale`) && "changed";
      if (stale) return { stale, failed: undefined, kept: 0, look: ask.seen };
      const { failed, kept } = outcome(ask, prefix, reports, last);
      return { stale: false, failed, kept, look: readFacts(ask, asks, reports, last) };
    }),
  );
}

/** Runs one script that is neither a look nor a list of steps, and looks up facts after it. */
export async function perform(
  { machine, facts }: LookAsk,
  does: string,
  script: Script,
  onLine: (line: string) => void,
): Promise<{ readonly report: Report; readonly look: Look }> {
  const asks = [{ machine, facts }] as const;
  const composed = compose(machine.prelude, () =>
    lines([machine.scope.enter, inTurn(new Map([["job", { does, run: script }]])), lookUp(asks)]),
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
  return { report, look: readFacts(asks[0], asks, reports, does) };
}

// What several ask for together.

/** A fact, and the machine of a share that asks for it. */
interface Scoped {
  readonly fact: Fact<unknown>;
  readonly machine: Machine;
}

/** Every fact that is asked for, once, by a key that tells those of different domains apart. */
function factsIn(asks: readonly LookAsk[]): ReadonlyMap<string, Scoped> {
  return new Map(
    asks.flatMap(({ machine, facts }) =>
      [...facts.values()].map((fact) => [keyOf(fact, machine), { fact, machine }] as const),
    ),
  );
}

function keyOf(fact: Fact<unknown>, machine: Machine): string {
  return fact.perDomain === true ? `${machine.scope.key} ${fact.key}` : fact.key;
}

function scriptOf({ fact, machine }: Scoped): Script {
  return fact.perDomain === true ? lines([machine.scope.enter, fact.script]) : fact.script;
}

/** Every fact that is asked for, under a name that says its place among them. */
function lookUp(asks: readonly LookAsk[]): Script {
  const all = [...factsIn(asks).values()];
  const snippets = all.map(
    (scoped, index) => [`fact-${index}`, { does: scoped.fact.does, run: scriptOf(scoped) }] as const,
  );
  return lines([gather(all.map(({ fact }) => fact)), inTurn(new Map(snippets))]);
}

/** Sets the variables that facts are read out of. */
function gather(facts: readonly Fact<unknown>[]): Script {
  const all = facts.flatMap(({ gathers }) => gathers ?? []);
  const once = [...new Map(all.map((one) => [one.variable, one])).values()];
  return lines(
    once.map(
      ({ variable, script }) => sh`${{ text: variable }}=$( ${script}
)`,
    ),
  );
}

function idleOf(asks: readonly LookAsk[]): number {
  return Math.max(...asks.map(({ machine }) => machine.idleMs));
}

/** Whether a plan rests on what an earlier one of the same script changes, or takes away what that one adds to. */
function isDeferred(asks: readonly WriteAsk[], index: number): boolean {
  const own = asks[index];
  if (!own) return false;
  const guards = new Set(
    [...own.facts.values()].filter(({ guard }) => guard === true).map((fact) => keyOf(fact, own.machine)),
  );
  const changed = new Set(keysOf(own, "changes"));
  return asks
    .slice(0, index)
    .some(
      (earlier) =>
        keysOf(earlier, "changes").some((key) => guards.has(key)) ||
        keysOf(earlier, "addsTo").some((key) => changed.has(key)),
    );
}

/** The facts that the steps of a plan change or add to, by keys that tell those of different domains apart. */
function keysOf({ machine, facts, steps }: WriteAsk, what: "changes" | "addsTo"): string[] {
  return steps
    .flatMap((step) => step[what] ?? [])
    .map((key) => {
      const fact = facts.get(key);
      return fact ? keyOf(fact, machine) : key;
    });
}

/** A test: the guards of one share's plan say what its look said. */
function standsAsSeen({ machine, facts, seen }: WriteAsk, guards: readonly string[]): Script {
  const tests = [...facts.values()]
    .filter(({ guard }) => guard === true)
    .map(
      (fact) => `[ "$guard_${guards.indexOf(keyOf(fact, machine))}" = ${digest(seen.raw.get(fact.key))} ]`,
    );
  return { text: ["true", ...tests].join(" && ") };
}

/** Must be what the script computes of the same fact. */
function digest(raw: Buffer | undefined): string {
  return createHash("sha256")
    .update(raw ?? "")
    .digest("hex");
}

/** An error of one ask must not be that of all. */
function orOwnError<T>(work: () => T): Answer<T> {
  try {
    return work();
  } catch (error) {
    if (error instanceof ShareError) return error;
    throw error;
  }
}

// Reading what came back.

function toolsOf(asks: readonly LookAsk[]): readonly Tool[] {
  const tools = asks.flatMap(({ facts }) => [...facts.values()].flatMap((fact) => fact.tools ?? []));
  return [...new Map(tools.map((tool) => [tool.program, tool])).values()];
}

function toolCheck(asks: readonly [LookAsk, ...LookAsk[]]): Script {
  const programs = [...asks[0].machine.programs, ...toolsOf(asks).map((tool) => tool.program)];
  return sh`mark begin tools
for program in ${programs}; do command -v "$program" >/dev/null || printf '%s\n' "$program"; done
mark end tools 0`;
}
function checkTools({ machine, facts }: LookAsk, report: Report | undefined): void {
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
function readFacts(
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

function outcome(
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
