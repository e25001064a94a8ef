import { mountAt, parseMountinfo } from "../../provider/formats/mountinfo";
import type { Outcome } from "../../provider/share/reconcile";
import { device } from "../unit/sample";
import { box, codes, status, undone } from "./bench";

/** Two shares of one guest, one mounted inside the mount point of the other. */
describe("mounts in mounts", () => {
  const outer = () =>
    box.spec({ tag: "outer", power: "restart", guest: { mountPoint: box.path("guest/mnt/out") } }, "a");
  const inner = () =>
    box.spec({ tag: "inner", power: "restart", guest: { mountPoint: box.path("guest/mnt/out/in") } }, "b");
  const seenAt = (name: string): string | undefined =>
    mountAt(parseMountinfo(box.read("guest/mountinfo")), box.path(name))?.source;
  const expectBoth = (): void => {
    expect([seenAt("guest/mnt/out"), seenAt("guest/mnt/out/in")]).toEqual(["outer", "inner"]);
    const lines = box.read("guest/etc/fstab").split("\n");
    const at = (tag: string): number => lines.findIndex((line) => line.startsWith(`${tag} `));
    expect(at("outer")).toBeLessThan(at("inner"));
  };

  test.each([
    ["the outer one first", false],
    ["the inner one first", true],
  ])("made at the same time, %s, and destroyed at the same time", async (_, reversed) => {
    const before = box.snapshot();
    const specs = reversed ? [inner(), outer()] : [outer(), inner()];
    const made = await Promise.all(specs.map((spec) => box.run({ spec })));
    expect(made.map(status)).toEqual(["active", "active"]);
    expectBoth();
    const gone = await Promise.all(specs.map((spec, at) => box.run(undone(made[at] as Outcome, spec))));
    expect(gone.map(({ failure }) => failure)).toEqual([undefined, undefined]);
    expect(box.snapshot()).toEqual(before);
  });

  test.each([
    ["the outer one first", false],
    ["the inner one first", true],
  ])("made one after the other, %s; the outer one alone is not destroyed", async (_, reversed) => {
    // The devices are there already: a power cycle between the two would unmount the first.
    for (const { tag, source } of [outer(), inner()])
      for (const where of ["persistent", "live"] as const) box.declare({ ...device, tag, source }, where);
    const before = box.snapshot();
    const specs = reversed ? [inner(), outer()] : [outer(), inner()];
    const first = await box.run({ spec: specs[0] });
    const second = await box.run({ spec: specs[1] });
    expect([status(first), status(second)]).toEqual(["active", "active"]);
    expectBoth();
    const [outerMade, innerMade] = reversed ? [second, first] : [first, second];
    const standing = box.snapshot();
    expect(await codes(box.run(undone(outerMade, outer())))).toEqual(["mountBusy"]);
    expect(box.snapshot()).toEqual(standing);
    await box.run(undone(innerMade, inner()));
    await box.run(undone(outerMade, outer()));
    expect(box.snapshot()).toEqual(before);
  });
});
