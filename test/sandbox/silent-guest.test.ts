import { box } from "./bench";

/** A guest that stops answering at one of its scripts. */

describe("a guest that falls silent while two shares are destroyed: nothing is left in it, or that is said", () => {
  const once = [[6], [7]];
  const forGood = [1, 2, 3, 4, 5, 6, 7, 8].map((at) => [at, at + 1, at + 2]);
  test.each([...once, ...forGood].map((at) => [at]))("at its scripts %p", async (silentAt) => {
    const before = box.snapshot();
    const specs = ["a", "b"].map((name) =>
      box.spec({ tag: name, power: "restart", guest: { mountPoint: box.path("guest/mnt", name) } }, name),
    );
    const created = await Promise.all(specs.map((spec) => box.run({ spec })));
    const destroy = (): Promise<boolean[]> =>
      Promise.all(
        specs.map((spec, index) =>
          box.run({ spec: undefined, olds: [spec], baseline: created[index]?.before ?? {} }).then(
            ({ failure }) => failure === undefined,
            () => false,
          ),
        ),
      );
    box.silence(silentAt);
    const gone = await destroy();
    if (gone.every(Boolean)) expect(box.snapshot()).toEqual(before);
    box.silence([]);
    expect(await destroy()).toEqual([true, true]);
    expect(box.snapshot()).toEqual(before);
  });
});
