import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Snapshot } from "../../../provider/engine/requests";
import { look } from "../../../provider/engine/executor";
import type { ShareError } from "../../../provider/errors";
import { type Script, sh } from "../../../provider/remote/shell/sh";
import { folder, machineOf, fact, factsOf, running, here, leftovers, timedOut } from "./section-bench";

/** Sections that hang in a look, in a real shell: each fails alone, and the script goes on. */

/** What hangs, as a body. */
const hanging: readonly (readonly [string, Script])[] = [
  ["a program that waits", sh`sleep 4711`],
  ["one of several in a pipe, and its child", sh`printf x | { cat; sh -c 'sleep 4711; :'; } | cat`],
  ["one that ignores SIGTERM", sh`trap '' TERM; sh -c 'trap "" TERM; while :; do sleep 4711; done'`],
  ["one that is stopped, and holds what it prints to", sh`sh -c 'kill -STOP $$; sleep 4711'`],
];

describe.each(["dash", "bash", "busybox"])("under %s", (shell) => {
  const machine = () => machineOf(here(shell));

  test.each(hanging)(
    "in a look: %s",
    async (_, body) => {
      const common = fact("common", sh`echo common`);
      const answers = await look([
        {
          machine: machine(),
          facts: factsOf(
            common,
            fact("before", sh`echo b`),
            fact("dead", body),
            fact("behind", sh`echo no >> "$folder/behind"`),
          ),
        },
        { machine: machine(), facts: factsOf(common, fact("sound", sh`echo sound`)) },
      ]);
      expect((answers[0] as ShareError).problems).toMatchObject([timedOut("look at dead")]);
      expect([...(answers[1] as Snapshot).values]).toEqual([
        ["look at common", "common\n"],
        ["look at sound", "sound\n"],
      ]);
      expect(existsSync(join(folder, "behind"))).toBe(false);
      expect([running("4711"), leftovers()]).toEqual([[], []]);
    },
    30_000,
  );
});

test("what several facts are read out of, and a libvirt that hangs, are one error of who asks for it", async () => {
  const gathers = { variable: "lines", script: sh`sleep 4716` };
  const machine = machineOf(here("sh"));
  const answers = await look([
    { machine, facts: factsOf(fact("a", sh`printf %s "$lines"`, { gathers })) },
    { machine, facts: factsOf(fact("b", sh`echo b`)) },
  ]);
  expect(answers[0]).toMatchObject({ problems: [timedOut("look at a")] });
  expect((answers[1] as Snapshot).values.get("look at b")).toBe("b\n");
  const opening = {
    does: "ask libvirt",
    variable: "listing",
    script: sh`sleep 4717`,
    behind: sh`listed=$status`,
  };
  const [hung, other] = await look([
    { machine: { ...machine, opening }, facts: factsOf(fact("a", sh`echo a`)) },
    { machine: { ...machine, opening }, facts: factsOf(fact("b", sh`echo b`)) },
  ]);
  expect([hung, other]).toMatchObject([
    { problems: [timedOut("ask libvirt")] },
    { problems: [timedOut("ask libvirt")] },
  ]);
  expect([running("4716"), running("4717"), leftovers()]).toEqual([[], [], []]);
}, 60_000);
