import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { records } from "./support/lab";
import { minimalDomain } from "./support/minimal-domain";
import { digestOf, populate } from "./support/populate";
import { Stack } from "./support/stack";

/**
 * A `sh` that stands before the real one on the PATH of the provider process. It notes what processor time each remote
 * command of an operation takes, and kills one, with all that it started, when it has taken some: by the clock it would be
 * anywhere, for other tests run beside it.
 */
class MeteredShell {
  readonly folder = mkdtempSync(join(tmpdir(), "virtio9p-metered-"));

  /** `at`: the command, counted from 1. */
  constructor(kill?: { readonly at: number; readonly afterMs: number }) {
    writeFileSync(
      join(this.folder, "sh"),
      `#!/bin/sh
if [ "$*" != -s ]; then exec /bin/sh "$@"; fi
echo >> ${this.folder}/begun
if [ "$(wc -l < ${this.folder}/begun)" != ${kill?.at ?? 0} ]; then
  /bin/sh -s; status=$?; times > ${this.folder}/times; tail -n 1 ${this.folder}/times >> ${this.folder}/used; exit $status
fi
exec 3<&0
setsid /bin/sh -s <&3 3<&- &
# Of proc(5): state, group, and in hundredths of a second its time and that of its children that have ended.
while cat /proc/[0-9]*/stat 2>/dev/null | awk -v group=$! '{ sub(/.*\\) /, "") }
  $3 == group { used += 10 * ($12 + $13 + $14 + $15); if ($1 != "Z") lives = 1 }
  END { exit !lives || used >= ${kill?.afterMs ?? 0} }'; do sleep 0.02; done
kill -KILL -$! 2>/dev/null
wait $!
status=$?
[ $status != 137 ] || kill -KILL $$
exit $status
`,
      { mode: 0o755 },
    );
  }

  /** Of each command that nobody killed, in milliseconds. */
  get usedMs(): readonly number[] {
    // A line of times(1p): 0m1.25s 0m0.5s
    const lines = readFileSync(join(this.folder, "used"), "utf8").trimEnd().split("\n");
    return lines.map((line) =>
      [...line.matchAll(/(\d+)m([\d.]+)s/g)].reduce(
        (sum, [, minutes, seconds]) => sum + 60_000 * Number(minutes) + 1000 * Number(seconds),
        0,
      ),
    );
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}

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
  /** The remote command that writes, which is the last, and the processor time that it took when nobody killed it. */
  const whole = { up: { at: 0, usedMs: 0 }, destroy: { at: 0, usedMs: 0 } };
  /** How many writes were killed, and how many of them had done a part. */
  const killed = { up: 0, destroy: 0 };
  const inBetween = { up: 0, destroy: 0 };

  const measured = async (operation: "up" | "destroy"): Promise<void> => {
    const shell = new MeteredShell();
    await stack.must(operation, [], { path: shell.folder });
    whole[operation] = { at: shell.usedMs.length, usedMs: shell.usedMs.at(-1) ?? 0 };
    shell.remove();
  };
  /** Part of its work after which it is killed, in percent. */
  const killing = async (operation: "up" | "destroy", percent: number): Promise<void> => {
    const { at, usedMs } = whole[operation];
    const shell = new MeteredShell({ at, afterMs: Math.round((usedMs * percent) / 100) });
    const { code, stdout, stderr } = await stack.pulumi(operation, [], { path: shell.folder });
    shell.remove();
    if (code === 0) return;
    expect(stdout + stderr).toMatch(/transportFailed|stepFailed/);
    killed[operation] += 1;
    if (![before, taken].includes(await digest())) inBetween[operation] += 1;
  };

  beforeAll(async () => {
    rmSync(base, { recursive: true, force: true });
    await Promise.all([stack.open(), domain.define(""), populate(source, 100_000)]);
    before = await digest();
    stack.declare({ share });
    await measured("up");
    taken = await digest();
    expect(taken).not.toBe(before);
    await measured("destroy");
    expect(await digest()).toBe(before);
  });
  afterAll(async () => {
    await domain.remove();
    stack.close();
    rmSync(base, { recursive: true, force: true });
  });

  const points = Array.from({ length: 20 }, (_, index) => ({ percent: 3 + index * 4 }));

  it.each(points)(
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
      `ownership-killed: ${JSON.stringify({ killed, inBetween })} of ${points.length} points each way\n`,
    );
    // The one at half of the way there counts too.
    expect(killed.up).toBeGreaterThan(points.length * 0.75);
    expect(killed.destroy).toBeGreaterThan(points.length * 0.75);
    expect(inBetween.up).toBeGreaterThanOrEqual(Math.floor(points.length / 4));
    expect(inBetween.destroy).toBeGreaterThanOrEqual(Math.floor(points.length / 4));
  });
});
