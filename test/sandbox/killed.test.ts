import type { Outcome } from "../../provider/share/reconcile";
import { box, guest, status, undone } from "./bench";

/** Scripts that are killed before each of their steps: the next run finishes it. */

describe("a create that is killed, then a create that knows nothing of it, then a destroy: all as before", () => {
  const host = [0, 1, 2, 3, 4].map((step) => ["host", step] as const);
  const inGuest = [0, 1, 2, 3].map((step) => ["guest", step] as const);
  test.each([...host, ...inGuest])("on the %s, before step %d", async (place, step) => {
    const before = box.snapshot();
    const source = box.path("srv/new");
    const spec = box.spec({ ...guest({ owner: 1000, mode: "0750" }), source, power: "restart" });
    box.killBefore = { place, step };
    await box.run({ spec }).catch((error: unknown) => error);
    expect(box.killBefore).toBeUndefined();
    const again = await box.run({ spec });
    expect([again.failure, status(again)]).toEqual([undefined, "active"]);
    const destroyed = await box.run(undone(again, spec));
    expect(destroyed.failure).toBeUndefined();
    expect(box.snapshot()).toEqual(before);
  });
});

describe("a destroy that is killed, then a destroy again: all as before", () => {
  const places = ["host", "guest"] as const;
  const steps = places.flatMap((place) => [0, 1, 2].map((step) => [place, step] as const));
  test.each(steps)("on the %s, before step %d", async (place, step) => {
    const before = box.snapshot();
    const spec = box.spec({ source: box.path("srv/new"), ...guest(), power: "restart" });
    const created = await box.run({ spec });
    box.killBefore = { place, step };
    await box.run(undone(created, spec)).catch((error: unknown) => error);
    box.killBefore = undefined;
    expect((await box.run(undone(created, spec))).failure).toBeUndefined();
    expect(box.snapshot()).toEqual(before);
  });
});

describe("two shares of one guest whose destroys are killed at the same time, and destroyed again: all as before", () => {
  // Of the write that takes the devices out the last step lets go of what both have; the last write forgets it.
  test.each([
    ["guest", 0, 0],
    ["guest", 0, 1],
    ["host", 0, 0],
    ["host", 0, 1],
    ["guest", 1, 0],
    ["host", 1, 0],
  ] as const)("on the %s, in its write %d, before step %d", async (place, write, step) => {
    const before = box.snapshot();
    const specs = ["a", "b"].map((tag) =>
      box.spec({ tag, guest: { mountPoint: box.path("guest/mnt", tag) }, power: "restart" }, tag),
    );
    const created = await Promise.all(specs.map((spec) => box.run({ spec })));
    expect(created.map(status)).toEqual(["active", "active"]);
    const destroy = (): Promise<unknown>[] =>
      specs.map((spec, index) => box.run({ ...undone(created[index] as Outcome, spec) }));
    box.killBefore = { place, step, write };
    await Promise.allSettled(destroy());
    expect(box.killBefore).toBeUndefined();
    await Promise.all(destroy());
    expect(box.snapshot()).toEqual(before);
  });
});
