import type { Step } from "../../provider/engine/layer";
import { attempt, own, undoing } from "../../provider/engine/script";
import { lines, type Script, sh } from "../../provider/remote/shell/sh";

/** Steps as the engine carries them out for one share: the first failure stops the rest, and what was done is undone. */
export function untilFailure(steps: readonly Step[]): Script {
  return sh`${own("failed", 0)}='' ${own("done", 0)}=0
${lines(steps.map((step, at) => attempt(step, at, 0)))}
if [ -n "$${own("failed", 0)}" ]; then
${undoing(steps, 0)}
fi`;
}
