import { rmSync } from "node:fs";
import { CountedShell } from "./support/counted-shell";
import { records } from "./support/lab";
import { minimalDomain } from "./support/minimal-domain";
import { digestOf, populate } from "./support/populate";
import { sample } from "./support/sample";
import { Stack } from "./support/stack";

/** A takeover of 100,000 entries, and the way back, killed on the way: the next operation finishes it. */
describe("a tree that is killed over", () => {
  const stack = new Stack();
  const domain = minimalDomain("v9p-ownkilled");
  const base = "/srv/v9p-ownkilled";
  const source = `${base}/tree`;
  const share = { source, domain: "v9p-ownkilled", directory: { recursive: true } };
  const digest = (): Promise<string> => digestOf(source);
  let before: string;
  let taken: string;
  /** Milliseconds that the write of each took when nobody killed it. */
  const whole = { up: 0, destroy: 0 };
  /** How many writes were killed, and how many of them had done a part. */
  const killed = { up: 0, destroy: 0 };
  const inBetween = { up: 0, destroy: 0 };

  /** Of an operation its second remote command is the write. */
  const timed = async (operation: "up" | "destroy"): Promise<void> => {
    const shell = new CountedShell();
    await stack.must(operation, [], { path: shell.folder });
    whole[operation] = (shell.ended[1] ?? 0) - (shell.begun[1] ?? 0);
    shell.remove();
  };
  /** Part of its time after which it is killed, in percent. */
  const killing = async (operation: "up" | "destroy", percent: number): Promise<void> => {
    const afterMs = Math.round((whole[operation] * percent) / 100);
    const shell = new CountedShell({ at: 2, when: "during", afterMs });
    const { code, stdout, stderr } = await stack.pulumi(operation, [], { path: shell.folder });
    shell.remove();
    if (code === 0) return;
    // timeout(1) ends with it, for it is killed too.
    expect(stdout + stderr).toMatch(/transportFailed|stepFailed/);
    killed[operation] += 1;
    if (![before, taken].includes(await digest())) inBetween[operation] += 1;
  };

  beforeAll(async () => {
    rmSync(base, { recursive: true, force: true });
    await Promise.all([stack.open(), domain.define(""), populate(source, 100_000)]);
    before = await digest();
    stack.declare({ share });
    await timed("up");
    taken = await digest();
    expect(taken).not.toBe(before);
    await timed("destroy");
    expect(await digest()).toBe(before);
  });
  afterAll(async () => {
    await domain.remove();
    stack.close();
    rmSync(base, { recursive: true, force: true });
  });

  const points = Array.from({ length: 20 }, (_, index) => ({ percent: 3 + index * 4 }));
  const chosen = sample("ownership-killed", points, 1);

  it.each(chosen)(
    "at $percent % of both: the next up and the next destroy finish it",
    async ({ percent }) => {
      stack.declare({ share });
      await killing("up", percent);
      await stack.must("up");
      expect(await digest()).toBe(taken);
      await stack.must("up", ["--expect-no-changes"]);
      await killing("destroy", percent);
      await stack.must("destroy");
      expect(await digest()).toBe(before);
      expect(await records(source)).toEqual([]);
    },
  );

  it("at half of the way there, destroy alone gives all back", async () => {
    stack.declare({ share });
    await killing("up", 50);
    await stack.must("destroy");
    expect(await digest()).toBe(before);
  });

  it("they were killed indeed", () => {
    process.stderr.write(
      `ownership-killed: ${JSON.stringify({ killed, inBetween })} of ${chosen.length} points each way\n`,
    );
    // The one at half of the way there counts too.
    expect(killed.up).toBeGreaterThan(chosen.length * 0.75);
    expect(killed.destroy).toBeGreaterThan(chosen.length * 0.75);
    expect(inBetween.up).toBeGreaterThanOrEqual(Math.floor(chosen.length / 4));
    expect(inBetween.destroy).toBeGreaterThanOrEqual(Math.floor(chosen.length / 4));
  });
});
