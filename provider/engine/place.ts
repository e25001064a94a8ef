import { printable, type Problem } from "../errors";
import { countOf } from "../formats/count";
import { comment, lines, type Script, sh } from "../formats/shell";
import type { Limits } from "../transport/transport";
import {
  type FactSet,
  factsIn,
  guardsOf,
  gather,
  idleOf,
  type Look,
  type LookAsk,
  lookUp,
  lookUpGuards,
  type Machine,
  serving,
  standsAsSeen,
  type WriteAsk,
} from "./asks";
import {
  type Answer,
  lateIn,
  lockHeld,
  lostReport,
  orOwnError,
  outcome,
  readFacts,
  toolCheck,
} from "./answers";
import { letGo, lockHeldStatus } from "./machine-lock";
import { compose, type Composed, parseReports, type Report, unfinished } from "./script";
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
  readonly look: Look;
}

/**
 * Looks up all that is asked in one script, each fact once. The asks are of one machine.
 *
 * Rejects with what the transport says; an answer may be `toolMissing` or `lookFailed`.
 */
export async function look(asks: readonly [LookAsk, ...LookAsk[]]): Promise<Answer<Look>[]> {
  const [{ machine }] = asks;
  const composed = compose(machine.prelude, () => lines([opening(machine), lookUp(asks)]), {
    idleMs: idleOf(asks),
    hastens: true,
    first: lines([serving(asks), toolCheck(asks)]),
  });
  const output = await machine.transport.run(composed.text, limitsOf(composed, asks));
  const reports = parseReports(composed.mark, output.stdout, output.stderr);
  const last = unfinished(composed.mark, output.stdout) ?? printable(output.stderr.toString("utf8"));
  return asks.map((ask) => orOwnError(() => readFacts(ask, asks, reports, last)));
}

/**
 * Carries out the steps of several shares in one script, under the machine's lock, and looks again.
 *
 * First the guards among the facts are looked up anew: where they do not say what a share's look says,
 * nothing is written for it.
 */
export async function write(asks: readonly [WriteAsk, ...WriteAsk[]]): Promise<Answer<Written>[]> {
  const [{ machine }] = asks;
  const parts = asks.map((ask, index) => ({ ask, index }));
  const after = asks.map((ask) => ({ ...ask, facts: notFixed(ask) }));
  const guards = factsIn(asks.map((ask) => ({ ...ask, facts: guardsOf(ask) })));
  const scoped = [...guards.values()];
  const guardSection = (key: string): string => `guard-${[...guards.keys()].indexOf(key)}`;
  const composed = compose(
    machine.prelude,
    () =>
      lines([
        opening(machine),
        machine.lock,
        gather(scoped, asks),
        lookUpGuards(scoped, asks),
        sections(parts, ({ ask, index }) => standsAsSeen(ask, index, [...guards.keys()])),
        closing(machine),
        letGo,
        lookUp(after),
      ]),
    { idleMs: idleOf(asks), first: serving(asks) },
  );
  const told = new Set<string>();
  let last: readonly [WriteAsk, string] | undefined;
  const output = await machine.transport.run(composed.text, {
    ...limitsOf(composed, asks),
    onProgress: (line) => {
      const [mark, verb, name = ""] = line.split(" ");
      if (mark !== composed.mark) return;
      if (verb === "wait" && !last) {
        if (!told.has(verb))
          for (const ask of asks) ask.onStep?.("wait for another process that is at work here");
        told.add(verb);
      }
      if (verb === "at" && last) last[0].onStep?.(`${last[1]}: ${countOf(Number(name), "entry", "entries")}`);
      const [, index, at] =
        (verb === "begin" || verb === "doing" ? /^(\d+)-step-(\d+)$/.exec(name) : null) ?? [];
      const ask = index === undefined || told.has(name) ? undefined : asks[Number(index)];
      told.add(name);
      const step = ask?.steps[Number(at)];
      if (!ask || !step) return;
      last = [ask, step.does];
      ask.onStep?.(step.does);
    },
  });
  const reports = parseReports(composed.mark, output.stdout, output.stderr);
  if (output.status === lockHeldStatus && reports.size === 0) throw lockHeld(machine);
  const ending = unfinished(composed.mark, output.stdout) ?? printable(output.stderr.toString("utf8"));
  return parts.map(({ ask, index }) =>
    orOwnError(() => {
      const prefix = `${index}-`;
      const unseen = lateIn({ ...ask, facts: guardsOf(ask) }, guardSection, reports);
      if (unseen) return { stale: false, failed: unseen, kept: 0, look: ask.seen };
      if (reports.has(`${prefix}stale`)) return { stale: true, failed: undefined, kept: 0, look: ask.seen };
      const { failed, kept, late } = outcome(ask, prefix, reports, ending);
      // Nothing more was asked of what hangs.
      if (late) return { stale: false, failed, kept, look: ask.seen };
      const look = readFacts({ ...ask, facts: notFixed(ask) }, after, reports, ending);
      return { stale: false, failed, kept, look: withFixed(look, ask) };
    }),
  );
}

/** What is looked up again behind a write. */
function notFixed({ facts, seen }: WriteAsk): FactSet {
  return new Map([...facts].filter(([key, { fixed }]) => fixed !== true || !isKnown(seen, key)));
}

/** What was looked up before a write, and is as it was then. */
function withFixed(look: Look, { facts, seen }: WriteAsk): Look {
  const keys = [...facts]
    .filter(([key, { fixed }]) => fixed === true && isKnown(seen, key))
    .map(([key]) => key);
  const of = <T>(all: ReadonlyMap<string, T> = new Map()) =>
    keys.flatMap((key) => (all.has(key) ? [[key, all.get(key) as T] as const] : []));
  return {
    values: new Map([...look.values, ...of(seen.values)]),
    raw: look.raw,
    failures: new Map([...(look.failures ?? []), ...of(seen.failures)]),
  };
}

function isKnown(seen: Look, key: string): boolean {
  return seen.values.has(key) || seen.failures?.has(key) === true;
}

/** Runs one script that is neither a look nor a list of steps, and looks up facts after it. */
export async function perform(
  { machine, facts }: LookAsk,
  does: string,
  script: Script,
  onLine: (line: string) => void,
): Promise<{ readonly report: Report; readonly look: Look }> {
  const asks = [{ machine, facts }] as const;
  const composed = compose(
    machine.prelude,
    () =>
      lines([
        opening(machine),
        machine.scope.enter,
        // It says itself how long each of its parts may take.
        sh`${comment(does)}
mark begin job
( ${script}
)
mark end job $?`,
        lookUp(asks),
      ]),
    { idleMs: machine.idleMs, first: serving(asks) },
  );
  const output = await machine.transport.run(composed.text, {
    ...limitsOf(composed, asks),
    onProgress: (line) => {
      if (line !== "" && !line.startsWith(composed.mark)) onLine(line);
    },
  });
  const reports = parseReports(composed.mark, output.stdout, output.stderr);
  const report = reports.get("job");
  if (!report) throw lostReport(machine, does, printable(output.stderr.toString("utf8")));
  return { report, look: readFacts(asks[0], asks, reports, does) };
}

/** What is asked of a machine first of all. */
function opening({ opening: first }: Machine): Script {
  if (!first) return { text: ":" };
  return sh`${comment(first.does)}
${gathered(first.variable, first.script, { text: "$all" })}
${first.behind}`;
}

function closing({ closing: last }: Machine): Script {
  return last ? section("closing", last) : { text: ":" };
}

/** Of a whole script: its sections end before. */
function limitsOf({ last }: Composed, asks: readonly LookAsk[]): Limits {
  return { idleMs: silenceOf(idleOf(asks)), last };
}
