import { comment, lines, type Script, sh } from "../formats/shell";
import type { WriteAsk } from "./asks";
import type { Step } from "./concern";
import { attempt, beginning, type Progress, progressOf, undoing } from "./script";
import { gathered } from "./section";

/** The steps of several shares as one script, with what they do together done once. */

/** What one share wants to be written, and its number, by which its reports are told from others'. */
export interface Share {
  readonly ask: WriteAsk;
  readonly index: number;
}

/** One share's part of a script. */
interface Section extends Share {
  readonly progress: Progress;
  /** Its steps that are carried out with those of other shares, in their order. */
  readonly groups: readonly Group[];
  /** The next step that is not in the script yet. */
  from: number;
}

/** Steps of one share that are carried out with those of others: `count` of one kind, one behind the other. */
interface Group {
  readonly at: number;
  readonly count: number;
  readonly kind: string;
  readonly asked: string;
}

/**
 * Each share's steps fail and are undone for themselves. One whose `stands` fails is reported as `N-stale`.
 *
 * Where steps are carried out together, each share's script is cut there: first come the steps before, of all
 * shares, then what is common, then the rest. Kinds come in the order in which they are met; what stands otherwise in
 * a share's own steps is carried out where it stands.
 */
export function sections(shares: readonly Share[], stands: (share: Share) => Script): Script {
  const steps = shares.flatMap(({ ask }) => ask.steps);
  const inOrder = [...new Set(steps.flatMap(({ together }) => together?.kind ?? []))];
  const parts = shares.map(({ ask, index }): Section => ({
    ask,
    index,
    progress: progressOf(`${index}-`, `_${index}`),
    groups: groupsOf(ask.steps, inOrder),
    from: 0,
  }));
  const alone = inOrder.length === 0 ? [] : parts.filter(({ groups }) => groups.length === 0);
  return lines([
    ...parts.map((part) => opening(part, stands(part))),
    ...alone.map((part) => segment(part, part.ask.steps.length)),
    ...inOrder.flatMap((kind) => [
      ...parts.flatMap((part) => {
        const group = part.groups.find((one) => one.kind === kind);
        return group ? [segment(part, group.at)] : [];
      }),
      common(parts, kind),
    ]),
    ...parts.map((part) => segment(part, part.ask.steps.length)),
  ]);
}

/** What stands apart from its like, and what is out of order, is carried out where it stands. */
function groupsOf(steps: readonly Step[], inOrder: readonly string[]): readonly Group[] {
  return steps.reduce<readonly Group[]>((groups, { together }, at) => {
    const last = groups.at(-1);
    if (!together) return groups;
    if (last?.kind === together.kind && last.at + last.count === at) {
      return [...groups.slice(0, -1), { ...last, count: last.count + 1, asked: last.asked + together.asked }];
    }
    const comes = !last || inOrder.indexOf(together.kind) > inOrder.indexOf(last.kind);
    return comes ? [...groups, { ...together, at, count: 1 }] : groups;
  }, []);
}

const variable = (name: string, { index }: Section): Script => ({ text: `${name}_${index}` });

function opening(part: Section, stands: Script): Script {
  const { ask, progress, index } = part;
  return sh`${variable("stands", part)}=''
if ${stands}; then ${variable("stands", part)}=1
else mark begin ${`${index}-stale`}; mark end ${`${index}-stale`} 0; fi
${beginning(progress)}
${variable("undo", part)}() { :
${undoing(ask.steps, progress)}
}
if [ -n "$${variable("stands", part)}" ]; then
${ask.machine.scope.enter}
${ask.machine.scope.beforeWrite}
fi`;
}

/** One share's steps up to `to`. */
function segment(part: Section, to: number): Script {
  const steps = part.ask.steps.slice(part.from, to).map((step, index) => ({ step, at: part.from + index }));
  part.from = Math.max(part.from, to);
  if (steps.length === 0) return { text: ":" };
  return whileSound(
    part,
    sh`${part.ask.machine.scope.enter}
${lines(steps.map(({ step, at }) => attempt(withAsked(step), at, part.progress)))}
${undoOnFailure(part)}`,
  );
}

function whileSound(part: Section, body: Script): Script {
  return sh`if [ -n "$${variable("stands", part)}" ] && [ -z "$${part.progress.failed}" ]; then
${body}
fi`;
}

function undoOnFailure(part: Section): Script {
  return sh`[ -z "$${part.progress.failed}" ] || ${variable("undo", part)}`;
}

function withAsked(step: Step): Step {
  if (!step.together) return step;
  return {
    ...step,
    run: sh`asked=${step.together.asked}
${step.run}`,
  };
}

/** What the shares that are sound so far do together, once; each has a report of it. */
function common(parts: readonly Section[], kind: string): Script {
  const members = parts.flatMap((part) => {
    const group = part.groups.find((one) => one.kind === kind);
    if (!group) return [];
    part.from = group.at + group.count;
    const steps = part.ask.steps
      .slice(group.at, part.from)
      .map((step, index) => ({ step, at: group.at + index }));
    return [{ part, group, steps }];
  });
  const first = members[0]?.steps[0]?.step;
  if (!first) return { text: ":" };
  return lines([
    sh`asked=''`,
    ...members.map(({ part, group, steps }) =>
      whileSound(
        part,
        lines([
          sh`asked="$asked"${group.asked}`,
          ...steps.map(
            ({ at }) => sh`printf '\n%s %s\n' "$mark" ${`doing ${part.progress.prefix}step-${at}`} >&2`,
          ),
        ]),
      ),
    ),
    sh`if [ -n "$asked" ]; then
${comment(first.does)}
${gathered(
  "said",
  sh`exec 2>&1
set -e
${first.run}`,
)}
common=$status commonly=$late
fi`,
    ...members.map(({ part, group, steps }) =>
      whileSound(
        part,
        lines([
          ...steps.map(
            ({ step, at }) => sh`${comment(step.does)}
mark begin ${`${part.progress.prefix}step-${at}`}
printf '%s\n' "$said" >&2
mark end ${`${part.progress.prefix}step-${at}`} "$common${{ text: "${commonly:+ $commonly}" }}"`,
          ),
          sh`[ -z "$commonly" ] || drop ${part.index}
if [ $common -eq 0 ]; then ${part.progress.done}=${group.at + group.count}; else ${part.progress.failed}=${group.at}; fi
${undoOnFailure(part)}`,
        ]),
      ),
    ),
  ]);
}
