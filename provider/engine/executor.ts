import { printable, type Problem, ShareError } from "../errors";
import { countOf } from "../formats/count";
import { comment, lines, type Script, sh } from "../remote/shell/sh";
import {
  type FactSet,
  factsIn,
  preconditionsOf,
  gather,
  idleOf,
  type Snapshot,
  type ReadRequest,
  lookUp,
  readPreconditions,
  type Machine,
  problemOn,
  serving,
  standsAsSeen,
  type WriteRequest,
} from "./requests";
import {
  type Result,
  lateIn,
  lockHeld,
  lostReport,
  orOwnError,
  outcome,
  readFacts,
  toolCheck,
} from "./results";
import type { Fact } from "./layer";
import { letGo, lockHeldStatus } from "./lock";
import { compose, parseReports, type Report, unfinished } from "./script";
import { gathered, section, silenceOf } from "./section";
import { sections } from "./sections";

/** How a write ended. */
export interface Written {
  /** Nothing was written: what the plan relied on has changed since it was seen. */
  readonly stale: boolean;
  /** The step that failed; what was done before it is undone, but for what `problem` names. */
  readonly failed: Problem | undefined;
  /** Steps that were carried out and not undone. */
  readonly kept: number;
  readonly look: Snapshot;
}

/**
 * Looks up all that is asked in one script, each fact once. The asks are of one machine.
 *
 * Rejects with what the transport says; an answer may be `toolMissing` or `lookFailed`.
 */
export async function look(asks: readonly [ReadRequest, ...ReadRequest[]]): Promise<Result<Snapshot>[]> {
  const { reports, ending } = await run(asks, [lookUp(asks)], { hastens: true, first: toolCheck(asks) });
  return asks.map((ask) => orOwnError(() => readFacts(ask, asks, reports, ending)));
}

/**
 * Carries out the steps of several shares in one script, under the machine's lock, and looks again.
 *
 * First the guards among the facts are looked up anew: where they do not say what a share's look says,
 * nothing is written for it.
 */
export async function write(asks: readonly [WriteRequest, ...WriteRequest[]]): Promise<Result<Written>[]> {
  const [{ machine }] = asks;
  const after = asks.map((ask) => ({ ...ask, facts: notFixed(ask) }));
  const guards = factsIn(asks.map((ask) => ({ ...ask, facts: preconditionsOf(ask) })));
  const scoped = [...guards.values()];
  const keys = [...guards.keys()];
  const guardSection = (key: string): string => `guard-${keys.indexOf(key)}`;
  const body = [
    machine.lock,
    gather(scoped, asks),
    readPreconditions(scoped, asks),
    sections(asks, (ask, index) => standsAsSeen(ask, index, keys)),
    ...(machine.closing ? [comment(machine.closing.does), section("closing", machine.closing.run)] : []),
    letGo,
    lookUp(after),
  ];
  const { status, reports, ending } = await run(asks, body, { heard: teller(asks) });
  if (status === lockHeldStatus && reports.size === 0) throw lockHeld(machine);
  const unclosed = closingFailure(machine, reports.get("closing"));
  return asks.map((ask, index) =>
    orOwnError(() => {
      const prefix = `${index}-`;
      const nothing = { stale: false, failed: undefined, kept: 0, look: ask.seen };
      const unseen = lateIn({ ...ask, facts: preconditionsOf(ask) }, guardSection, reports);
      if (unseen) return { ...nothing, failed: unseen };
      if (reports.has(`${prefix}stale`)) return { ...nothing, stale: true };
      const { failed, kept, late } = outcome(ask, prefix, reports, ending);
      // Nothing more was asked of what hangs.
      if (late) return { ...nothing, failed, kept };
      const look = orOwnError(() => readFacts({ ...ask, facts: notFixed(ask) }, after, reports, ending));
      if (look instanceof ShareError) {
        // What failed first is the cause, and says what stays.
        if (failed) return { ...nothing, failed, kept };
        throw look;
      }
      return { stale: false, failed: failed ?? unclosed, kept, look: withFixed(look, ask) };
    }),
  );
}

/** What is done once for all shares, and was not. */
function closingFailure(machine: Machine, report: Report | undefined): Problem | undefined {
  if (!report || report.status === 0) return undefined;
  return problemOn(machine, {
    code: "stepFailed",
    what: `what was changed is there, and what has to follow failed (exit ${report.status})`,
    tried: machine.closing?.does ?? "",
    returned: report.stderr.toString("utf8"),
    remedy: "mend what the answer names, and run pulumi up again",
  });
}

/** Tells each share of its steps as they begin and go on, and that it waits for another process. */
function teller(asks: readonly WriteRequest[]): (line: string, mark: string) => void {
  const told = new Set<string>();
  let last: readonly [WriteRequest, string] | undefined;
  return (line, mark) => {
    const [first, verb, name = ""] = line.split(" ");
    if (first !== mark) return;
    if (verb === "wait" && !last && !told.has(verb)) {
      told.add(verb);
      for (const ask of asks) ask.onStep?.("wait for another process that is at work here");
    }
    if (verb === "at" && last) last[0].onStep?.(`${last[1]}: ${countOf(Number(name), "entry", "entries")}`);
    if (verb !== "begin" && verb !== "doing") return;
    const [, index, at] = /^(\d+)-step-(\d+)$/.exec(name) ?? [];
    const ask = asks[Number(index)];
    const step = ask?.steps[Number(at)];
    if (!ask || !step || told.has(name)) return;
    told.add(name);
    last = [ask, step.does];
    ask.onStep?.(step.does);
  };
}

/** Whether it was looked up before a write, and is as it was then. */
function isKept({ does, fixed }: Fact<unknown>, { values, failures }: Snapshot): boolean {
  return fixed === true && (values.has(does) || failures?.has(does) === true);
}

/** What is looked up again behind a write. */
function notFixed({ facts, seen }: WriteRequest): FactSet {
  return new Map([...facts].filter(([, fact]) => !isKept(fact, seen)));
}

function withFixed(look: Snapshot, { facts, seen }: WriteRequest): Snapshot {
  const kept = <T>(all: ReadonlyMap<string, T> = new Map()) =>
    [...all].filter(([key]) => facts.get(key)?.fixed === true);
  return {
    values: new Map([...look.values, ...kept(seen.values)]),
    raw: look.raw,
    failures: new Map([...(look.failures ?? []), ...kept(seen.failures)]),
  };
}

/** Runs one script that is neither a look nor a list of steps, and looks up facts after it. */
export async function perform(
  ask: ReadRequest,
  does: string,
  script: Script,
  onLine: (line: string) => void,
): Promise<{ readonly report: Report; readonly look: Snapshot }> {
  // It says itself how long each of its parts may take.
  const job = sh`${comment(does)}
mark begin job
( ${script}
)
mark end job $?`;
  const { reports, said } = await run([ask], [ask.machine.scope.enter, job, lookUp([ask])], {
    heard: (line, mark) => {
      if (line !== "" && !line.startsWith(mark)) onLine(line);
    },
  });
  const report = reports.get("job");
  if (!report) throw lostReport(ask.machine, does, said);
  return { report, look: readFacts(ask, [ask], reports, does) };
}

/** Runs one script for all that ask. `heard` gets each line of its standard error, and the script's mark. */
async function run(
  asks: readonly [ReadRequest, ...ReadRequest[]],
  body: readonly Script[],
  options: {
    readonly hastens?: boolean;
    readonly first?: Script;
    readonly heard?: (line: string, mark: string) => void;
  },
) {
  const [{ machine }] = asks;
  const { hastens = false, first = sh`:`, heard } = options;
  const idleMs = idleOf(asks);
  const composed = compose(machine.prelude, lines([opening(machine), ...body]), {
    idleMs,
    hastens,
    first: lines([serving(asks), first]),
  });
  const { status, stdout, stderr } = await machine.transport.run(composed.text, {
    // Its sections end before.
    idleMs: silenceOf(idleMs),
    last: composed.last,
    onProgress: (line) => heard?.(line, composed.mark),
  });
  const said = printable(stderr.toString("utf8"));
  const reports = parseReports(composed.mark, stdout, stderr);
  return { status, reports, said, ending: unfinished(composed.mark, stdout) ?? said };
}

/** What is asked of a machine first of all. */
function opening({ opening: first }: Machine): Script {
  if (!first) return { text: ":" };
  return sh`${comment(first.does)}
${gathered(first.variable, first.script, { text: "$all" })}
${first.behind}`;
}
