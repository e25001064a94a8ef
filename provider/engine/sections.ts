import { comment, lines, type Script, sh } from "../formats/shell";
import type { WriteAsk } from "./asks";
import type { Step } from "./concern";
import { attempt, beginning, type Progress, progressOf, undoing } from "./script";
import { gathered } from "./section";

/** The steps of several shares as one script, in which queued steps of all are carried out once. */

/** One share's part of a script; by the number its reports are told from others'. */
interface Part {
  readonly ask: WriteAsk;
  readonly index: number;
  readonly progress: Progress;
  readonly steps: readonly { readonly step: Step; readonly at: number }[];
  /** Its first queued steps that follow each other: from here to before there. */
  readonly queued: readonly [from: number, to: number];
  /** Whether its plan still holds, as a variable of the shell. */
  readonly stands: Script;
  readonly undo: Script;
}

/**
 * Each share's steps fail and are undone for themselves. One whose `stands` fails is reported as `N-stale`.
 *
 * First come all steps of shares that queue nothing, and of the others those before what they queue; then the queue; then
 * the rest. What a share queues a second time is carried out where it stands.
 */
export function sections(
  asks: readonly WriteAsk[],
  stands: (ask: WriteAsk, index: number) => Script,
): Script {
  const parts = asks.map(partOf);
  return lines([
    ...parts.map((part) => opening(part, stands(part.ask, part.index))),
    ...parts.map((part) => carryOut(part, 0, part.queued[0])),
    queue(parts.filter(({ queued: [from, to] }) => from < to)),
    ...parts.map((part) => carryOut(part, part.queued[1])),
  ]);
}

function partOf(ask: WriteAsk, index: number): Part {
  const steps = ask.steps.map((step, at) => ({ step, at }));
  const from = steps.findIndex(({ step }) => step.queued !== undefined);
  const end = steps.findIndex(({ step, at }) => at > from && step.queued === undefined);
  const all = steps.length;
  return {
    ask,
    index,
    steps,
    progress: progressOf(`${index}-`, `_${index}`),
    queued: from === -1 ? [all, all] : [from, end === -1 ? all : end],
    stands: { text: `stands_${index}` },
    undo: { text: `undo_${index}` },
  };
}

function opening({ ask, index, progress, stands, undo }: Part, asSeen: Script): Script {
  return sh`${stands}=''
if ${asSeen}; then ${stands}=1
else mark begin ${`${index}-stale`}; mark end ${`${index}-stale`} 0; fi
${beginning(progress)}
${undo}() { :
${undoing(ask.steps, progress)}
}
if [ -n "$${stands}" ]; then
${ask.machine.scope.enter}
${ask.machine.scope.beforeWrite}
fi`;
}

/** One share's steps from one to before another, each for itself. */
function carryOut(part: Part, from: number, to = part.steps.length): Script {
  const steps = part.steps.slice(from, to);
  if (steps.length === 0) return { text: ":" };
  return whileSound(
    part,
    sh`${part.ask.machine.scope.enter}
${lines(steps.map(({ step, at }) => attempt(alone(step), at, part.progress)))}
${undoOnFailure(part)}`,
  );
}

function alone(step: Step): Step {
  if (step.queued === undefined) return step;
  return { ...step, run: lines([sh`queued=${step.queued}`, step.run]) };
}

function whileSound({ stands, progress }: Part, body: Script): Script {
  return sh`if [ -n "$${stands}" ] && [ -z "$${progress.failed}" ]; then
${body}
fi`;
}

function undoOnFailure({ progress, undo }: Part): Script {
  return sh`[ -z "$${progress.failed}" ] || ${undo}`;
}

/** What the shares that are sound so far have queued, in one run; each step of each has a report of it. */
function queue(parts: readonly Part[]): Script {
  const members = parts.map((part) => ({ part, own: part.steps.slice(...part.queued) }));
  const first = members[0]?.own[0]?.step;
  if (!first) return { text: ":" };
  return lines([
    sh`queued=''`,
    ...members.map(({ part, own }) =>
      whileSound(
        part,
        lines([
          sh`queued="$queued"${own.map(({ step }) => step.queued ?? "").join("")}`,
          ...own.map(({ at }) => sh`printf '\n%s %s\n' "$mark" ${`doing ${part.index}-step-${at}`} >&2`),
        ]),
      ),
    ),
    sh`if [ -n "$queued" ]; then
${comment(first.does)}
${gathered("said", lines([sh`exec 2>&1`, sh`set -e`, first.run]))}
queue_status=$status queue_late=$late
fi`,
    ...members.map(({ part, own }) =>
      whileSound(
        part,
        lines([
          ...own.map(
            ({ step, at }) => sh`${comment(step.does)}
mark begin ${`${part.index}-step-${at}`}
printf '%s\n' "$said" >&2
mark end ${`${part.index}-step-${at}`} "$queue_status${{ text: "${queue_late:+ $queue_late}" }}"`,
          ),
          sh`[ -z "$queue_late" ] || drop ${part.index}
if [ $queue_status -eq 0 ]; then ${part.progress.done}=${part.queued[1]}; else ${part.progress.failed}=${part.queued[0]}; fi
${undoOnFailure(part)}`,
        ]),
      ),
    ),
  ]);
}
