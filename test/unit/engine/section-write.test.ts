import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Step } from "../../../provider/engine/layer";
import type { Snapshot } from "../../../provider/engine/requests";
import { look, write, type Written } from "../../../provider/engine/executor";
import { holdRecords } from "../../../provider/engine/baseline";
import { sh } from "../../../provider/remote/shell/sh";
import { folder, machineOf, fact, factsOf, step, running, here, leftovers, timedOut } from "./section-bench";

/** Sections that hang in a write: what was done before them, and what others do. */

describe("in a write", () => {
  const machine = (idleMs?: number) => machineOf(here("sh"), idleMs);
  const set = (name: string): Step =>
    step(`set ${name}`, sh`echo ${name} >> "$folder/done"`, sh`echo ${`not ${name}`} >> "$folder/done"`);
  const contents = (): string[] => readFileSync(join(folder, "done"), "utf8").split("\n").slice(0, -1);
  const plan = async (facts: ReturnType<typeof factsOf>, steps: readonly Step[], idleMs?: number) => {
    const [seen] = await look([{ machine: machine(idleMs), facts }]);
    return { machine: machine(idleMs), facts, seen: seen as Snapshot, steps };
  };

  test.each([0, 1, 17, 300])(
    "with %d others, which are finished and reported so",
    async (count) => {
      // On a busy machine the guards of 300 shares take longer than the limit of one that hangs.
      const idleMs = count > 100 ? 15_000 : 1000;
      const shares = await Promise.all(
        Array.from({ length: count }, (_, index) =>
          plan(factsOf(fact(`f${index}`, sh`echo ${index}`)), [set(`s${index}`)], idleMs),
        ),
      );
      const bad = await plan(
        factsOf(fact("own", sh`echo own`)),
        [set("a"), step("touch the dead", sh`sleep 4712`, sh`echo never >> "$folder/done"`), set("c")],
        idleMs,
      );
      const [first, ...others] = await write([bad, ...shares]);
      expect(first).toMatchObject({ stale: false, kept: 1, failed: timedOut("touch the dead") });
      expect(others.map((one) => [(one as Written).failed, (one as Written).kept])).toEqual(
        shares.map(() => [undefined, 1]),
      );
      expect(others.map((one) => [...(one as Written).look.values.values()])).toEqual(
        shares.map((_, index) => [`${index}\n`]),
      );
      expect(contents()).toEqual(["a", "not a", ...shares.map((_, index) => `s${index}`)]);
      expect([running("4712"), leftovers()]).toEqual([[], []]);
    },
    120_000,
  );

  test.each([
    ["is ended", sh`sleep 4719`, true],
    ["fails", sh`false`, false],
  ])("what was found before a step that %s: whether it is kept", async (_, run, kept) => {
    const at = { layer: "directory", name: "directory", identity: "/srv/a", scope: "host" } as const;
    const seen = await plan(factsOf(fact("own", sh`echo own`)), []);
    const steps = [
      holdRecords([{ at, before: { owner: 0 }, joining: ["u/a"], leaving: [] }]),
      step("take over", run),
    ];
    await write([{ ...seen, steps }]);
    const records = join(folder, "records/host");
    expect(existsSync(records) && readdirSync(records).length > 0).toBe(kept);
  });

  test.each(["dash", "bash", "busybox"])("what a step that is ended cleans up, under %s", async (shell) => {
    const at = machineOf(here(shell));
    const facts = factsOf(fact("own", sh`echo own`));
    const [seen] = await look([{ machine: at, facts }]);
    const hangs = step(
      "edit",
      sh`trap 'rm -f -- "$folder/fresh"' EXIT
: > "$folder/fresh"
sleep 4720`,
    );
    await write([{ machine: at, facts, seen: seen as Snapshot, steps: [hangs] }]);
    expect(existsSync(join(folder, "fresh"))).toBe(false);
  });

  test("an undo that hangs: what was done before it stays, and is named", async () => {
    const bad = await plan(factsOf(fact("own", sh`echo own`)), [
      set("a"),
      step("b", sh`:`, sh`sleep 4713`),
      step("break", sh`false`),
    ]);
    const good = await plan(factsOf(fact("other", sh`echo other`)), [set("good")]);
    const [first, second] = await write([bad, good]);
    expect(first).toMatchObject({
      kept: 2,
      failed: { tried: "break", remedy: expect.stringContaining("could not be undone: ") as string },
    });
    expect(second).toMatchObject({ failed: undefined, kept: 1 });
    expect(contents()).toEqual(["a", "good"]);
  }, 60_000);

  test("what several queue fails for those alone that asked for it", async () => {
    const queued = (asked: string): Step => ({
      ...step(`ask for ${asked}`, sh`sleep 4714`),
      queued: `${asked}\n`,
    });
    const [a, b, c] = await write([
      await plan(factsOf(fact("a", sh`echo a`)), [set("a"), queued("a")]),
      await plan(factsOf(fact("b", sh`echo b`)), [set("b"), queued("b")]),
      await plan(factsOf(fact("c", sh`echo c`)), [set("c")]),
    ]);
    expect([a, b]).toMatchObject([{ failed: timedOut("ask for a") }, { failed: timedOut("ask for b") }]);
    expect(c).toMatchObject({ failed: undefined, kept: 1 });
    expect(contents()).toEqual(expect.arrayContaining(["not a", "not b", "c"]));
  }, 60_000);

  test("a guard that hangs: nothing is written for its share", async () => {
    const guard = fact("guard", sh`[ ! -e "$folder/dead" ] || sleep 4715`, { precondition: true });
    const bad = await plan(factsOf(guard), [set("bad")]);
    const good = await plan(factsOf(fact("g", sh`echo g`, { precondition: true })), [set("good")]);
    execFileSync("touch", [join(folder, "dead")]);
    const [first, second] = await write([bad, good]);
    expect(first).toMatchObject({ stale: false, kept: 0, failed: timedOut("look at guard") });
    expect(second).toMatchObject({ failed: undefined, kept: 1 });
    expect(contents()).toEqual(["good"]);
  }, 60_000);

  test("what gives signs of progress goes on for longer than its limit", async () => {
    const slow = step("work", sh`for turn in 1 2 3 4 5 6 7 8 9 10; do sleep 0.5; mark at "$turn"; done`);
    const [first] = await write([await plan(factsOf(fact("a", sh`echo a`)), [slow], 4000)]);
    expect(first).toMatchObject({ failed: undefined, kept: 1 });
  }, 60_000);
});
