import { statSync } from "node:fs";
import type { Outcome } from "../../provider/share/reconcile";
import { box, status, undone } from "./bench";

/** Several shares of one directory, of one domain, and of one guest. */

describe("two shares of one directory", () => {
  test("the last one gives it back", async () => {
    const before = box.snapshot();
    const one = box.spec({ otherWriters: "allow" });
    const two = box.spec({ otherWriters: "allow", tag: "other" });
    const [first, second] = [await box.run({ spec: one }), await box.run({ spec: two })];
    expect(second.changed).toBe(true);
    await box.run(undone(first, one));
    expect(statSync(one.source).uid).toBe(64055);
    await box.run(undone(second, two));
    expect(box.snapshot()).toEqual(before);
  });

  test("at the same time", async () => {
    const specs = ["one", "two", "three"].map((tag) => box.spec({ otherWriters: "allow", tag }));
    const before = box.snapshot();
    const outcomes = await Promise.all(specs.map((spec) => box.run({ spec })));
    expect(outcomes.map(({ failure }) => failure)).toEqual([undefined, undefined, undefined]);
    await Promise.all(specs.map((spec, index) => box.run(undone(outcomes[index] as Outcome, spec))));
    expect(box.snapshot()).toEqual(before);
  });
});

test("several shares in flight share one power cycle", async () => {
  const specs = ["one", "two", "three"].map((tag) =>
    box.spec({ otherWriters: "allow", tag, power: "restart" }),
  );
  const outcomes = await Promise.all(specs.map((spec) => box.run({ spec })));
  expect(outcomes.map(status)).toEqual(["active", "active", "active"]);
  expect(box.log.filter((line) => line === "shutdown")).toHaveLength(1);
});

test("two shares of one guest, destroyed at the same time: what both had in it goes with the later one", async () => {
  const before = box.snapshot();
  const specs = ["a", "b"].map((name) =>
    box.spec({ tag: name, power: "restart", guest: { mountPoint: box.path("guest/mnt", name) } }, name),
  );
  const created = await Promise.all(specs.map((spec) => box.run({ spec })));
  expect(created.map(status)).toEqual(["active", "active"]);
  await Promise.all(
    specs.map((spec, index) =>
      box.run({ spec: undefined, olds: [spec], baseline: created[index]?.before ?? {} }),
    ),
  );
  expect(box.snapshot()).toEqual(before);
});
