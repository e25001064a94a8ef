import type { Step } from "../../provider/engine/concern";
import { attempt, beginning, progressOf, undoing } from "../../provider/engine/script";
import { lines, type Script, sh } from "../../provider/formats/shell";

/** Steps as the engine carries them out for one share: the first failure stops the rest, and what was done is undone. */
export function untilFailure(steps: readonly Step[], prefix = ""): Script {
  const progress = progressOf(prefix);
  return sh`${beginning(progress)}
${lines(steps.map((step, index) => attempt(step, index, progress)))}
if [ -n "$failed" ]; then
${undoing(steps, progress)}
fi`;
}
