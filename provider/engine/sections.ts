import { comment, lines, type Script, sh } from "../remote/shell/sh";
import type { WriteRequest } from "./requests";
import type { Step } from "./layer";
import { lockHeldStatus } from "./lock";
import { attempt, own, undoing } from "./script";
import { gathered } from "./section";

/** The steps of several shares as one script, in which queued steps of all are carried out once. */

/** One share's part of a script; by the number its reports are told from others'. */
interface Part {
  readonly ask: WriteRequest;
  readonly index: number;
  /** Its first queued steps that follow each other: from here to before there. */
  readonly queued: readonly [from: number, to: number];
}

/**
 * Each share's steps fail and are undone for themselves. One whose `stands` fails is reported as `N-stale`.
 *
 * First come all steps of shares that queue nothing, and of the others those before what they queue; then the queue; then
 * the rest. What a share queues a second time is carried out where it stands.
 */
export function sections(
  asks: readonly WriteRequest[],
  stands: (ask: WriteRequest, index: number) => Script,
): Script {
  const parts = asks.map(partOf);
  return lines([
    ...parts.map((part) => opening(part, stands(part.ask, part.index))),
    ...parts.map((part) => carryOut(part, 0, part.queued[0])),
    queue(parts.filter(({ queued: [from, to] }) => from < to)),
    ...parts.map((part) => carryOut(part, part.queued[1])),
  ]);
}

function partOf(ask: WriteRequest, index: number): Part {
  const { steps } = ask;
  const from = steps.findIndex(({ queued }) => queued !== undefined);
  const end = steps.findIndex(({ queued }, at) => at > from && queued === undefined);
  const all = steps.length;
  return { ask, index, queued: from === -1 ? [all, all] : [from, end === -1 ? all : end] };
}

/** Whether its plan still holds is in `$stands_N`. */
function opening({ ask, index }: Part, asSeen: Script): Script {
  return sh`${own("stands", index)}=''
if ${asSeen}; then ${own("stands", index)}=1
else mark begin ${`${index}-stale`}; mark end ${`${index}-stale`} 0; fi
${own("failed", index)}='' ${own("done", index)}=0
${own("undo", index)}() { ${ask.machine.scope.enter}
${undoing(ask.steps, index)}
}
if [ -n "$${own("stands", index)}" ]; then
${ask.machine.scope.enter}
${ask.machine.scope.beforeWrite}
fi`;
}

/** One share's steps from one to before another, each for itself. */
function carryOut(part: Part, from: number, to?: number): Script {
  const steps = [...part.ask.steps.entries()].slice(from, to);
  if (steps.length === 0) return { text: ":" };
  return whileSound(
    part,
    sh`${part.ask.machine.scope.enter}
${lines(steps.map(([at, step]) => attempt(alone(step), at, part.index)))}
[ -z "$${own("failed", part.index)}" ] || ${own("undo", part.index)}`,
  );
}

function alone(step: Step): Step {
  if (step.queued === undefined) return step;
  return { ...step, run: lines([sh`queued=${step.queued}`, step.run]) };
}

function whileSound({ index }: Part, body: Script): Script {
  return sh`if [ -n "$${own("stands", index)}" ] && [ -z "$${own("failed", index)}" ]; then
${body}
fi`;
}

/**
 * What the shares that are sound so far have queued, in one run; each step of each has a report of it. Where it fails, each
 * share's is run alone, so that none fails for another's; not where it hung, or has waited for what another process holds.
 */
function queue(parts: readonly Part[]): Script {
  const members = parts.map((part) => ({ part, steps: [...part.ask.steps.entries()].slice(...part.queued) }));
  const first = members[0]?.steps[0]?.[1];
  if (!first) return { text: ":" };
  return lines([
    sh`queued='' queue_alone=''`,
    ...members.map(({ part, steps }) =>
      whileSound(
        part,
        lines([
          sh`queued="$queued"${steps.map(([, step]) => step.queued ?? "").join("")}`,
          ...steps.map(([at]) => sh`printf '\n%s %s\n' "$mark" ${`doing ${part.index}-step-${at}`} >&2`),
        ]),
      ),
    ),
    sh`if [ -n "$queued" ]; then
${comment(first.does)}
${gathered("said", lines([sh`exec 2>&1`, sh`set -e`, first.run]))}
queue_status=$status queue_late=$late
if [ $status -ne 0 ] && [ $status -ne ${lockHeldStatus} ] && [ -z "$late" ]; then queue_alone=${members.length > 1 ? "1" : ""}; fi
fi`,
    ...members.map(
      ({ part, steps }) => sh`if [ -n "$queue_alone" ]; then
${carryOut(part, ...part.queued)}
else
${whileSound(
  part,
  lines([
    ...steps.map(
      ([at, step]) => sh`${comment(step.does)}
mark begin ${`${part.index}-step-${at}`}
printf '%s\n' "$said" >&2
mark end ${`${part.index}-step-${at}`} "$queue_status${{ text: "${queue_late:+ $queue_late}" }}"`,
    ),
    sh`[ -z "$queue_late" ] || drop ${part.index}
if [ $queue_status -eq 0 ]; then ${own("done", part.index)}=${part.queued[1]}
else ${own("failed", part.index)}=${part.queued[0]} late=$queue_late; ${own("undo", part.index)}; fi`,
  ]),
)}
fi`,
    ),
  ]);
}
