import { exclusively } from "../../../provider/engine/locks";

const tick = () => new Promise<void>((resolve) => setImmediate(resolve));

async function logged(jobs: readonly (readonly [key: string, name: string])[]): Promise<string[]> {
  const log: string[] = [];
  await Promise.all(
    jobs.map(([key, name]) =>
      exclusively(key, async () => {
        log.push(`${name} begins`);
        await tick();
        log.push(`${name} ends`);
      }),
    ),
  );
  return log;
}

test("one key: one after another, in the order of asking", async () => {
  expect(
    await logged([
      ["k", "a"],
      ["k", "b"],
    ]),
  ).toEqual(["a begins", "a ends", "b begins", "b ends"]);
});

test("two keys do not wait for each other", async () => {
  expect(
    await logged([
      ["k", "a"],
      ["l", "b"],
    ]),
  ).toEqual(["a begins", "b begins", "a ends", "b ends"]);
});

test("a failure is the caller's alone, and lets the next in", async () => {
  const failing = exclusively("k", () => Promise.reject(new Error("no")));
  const next = exclusively("k", () => Promise.resolve("yes"));
  await expect(failing).rejects.toThrow(new Error("no"));
  await expect(next).resolves.toBe("yes");
});
