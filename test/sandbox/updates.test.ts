import { statSync } from "node:fs";
import { again, box, codes, guest, status, undone } from "./bench";

/** A share whose arguments change: what was there for the former ones goes, and nothing else. */

describe("updates", () => {
  test("another source: the former tree is given back when the running QEMU lets go of it", async () => {
    const before = box.snapshot();
    const [old, next] = [box.spec(), box.spec({}, "b")];
    const created = await box.run({ spec: old });
    box.powerCycle();
    const updated = await box.run(again(created, old, next));
    expect(updated.pendingCleanup.map(({ source }) => source)).toEqual([old.source]);
    expect(statSync(old.source).uid).toBe(64055);
    box.powerCycle();
    const settled = await box.run({
      spec: next,
      olds: [next, ...updated.pendingCleanup],
      baseline: updated.before,
    });
    expect(settled.pendingCleanup).toEqual([]);
    expect(statSync(old.source).uid).toBe(0);
    await box.run(undone(settled, next));
    box.powerCycle();
    expect(box.snapshot()).toEqual(before);
  });

  test("another source and back, before any power cycle: nothing is left over", async () => {
    const before = box.snapshot();
    const [one, two] = [box.spec(), box.spec({}, "b")];
    const first = await box.run({ spec: one });
    box.powerCycle();
    const second = await box.run(again(first, one, two));
    const third = await box.run(again(second, two, one));
    expect([third.pendingCleanup, third.power.kind]).toEqual([[], "none"]);
    await box.run(undone(third, one));
    expect(box.snapshot()).toEqual(before);
  });

  test.each<[string, Record<string, unknown>, Record<string, unknown>, string[]]>([
    ["a flag that came is", {}, { noexec: true }, ["remount"]],
    ["a flag that went is", { noexec: true }, {}, ["remount"]],
    ["cache is", {}, { cache: "loose" }, ["umount", "mount"]],
    ["cache that went is", { cache: "loose" }, {}, ["umount", "mount"]],
    ["msize is", {}, { msizeBytes: 65_536 }, ["umount", "mount"]],
    ["what only the next boot sees is not", {}, { nofail: false }, []],
  ])("mount options: %s mounted anew", async (_, from, to, commands) => {
    const [old, next] = [box.spec(guest({ options: from })), box.spec(guest({ options: to }))];
    await box.run({ spec: old });
    box.powerCycle();
    const mounted = await box.run({ spec: old, olds: [old] });
    expect(status(mounted)).toBe("active");
    const mounts = box.log.length;
    const updated = await box.run(again(mounted, old, next));
    expect(status(updated)).toBe("active");
    expect(box.log.slice(mounts).map((line) => line.split(" ")[0])).toEqual(commands);
  });

  test("another mount point: the former line and mount are gone", async () => {
    const [old, next] = [box.spec(guest()), box.spec({ guest: { mountPoint: box.path("guest/mnt/b") } })];
    const created = await box.run({ spec: old });
    box.powerCycle();
    const mounted = await box.run(again(created, old));
    const updated = await box.run(again(mounted, old, next));
    expect(status(updated)).toBe("active");
    expect(box.read("guest/mountinfo")).not.toContain("/mnt/a ");
    expect(box.read("guest/etc/fstab")).not.toContain("/mnt/a ");
    expect(box.has("guest/mnt/a")).toBe(false);
  });

  test("another tag: the line is replaced, not refused", async () => {
    const [old, next] = [box.spec(guest()), box.spec({ ...guest(), tag: "next" })];
    const before = box.snapshot();
    const created = await box.run({ spec: old });
    const updated = await box.run(again(created, old, next));
    expect([updated.failure, box.has("persistent/foobar"), box.has("persistent/next")]).toEqual([
      undefined,
      false,
      true,
    ]);
    expect(box.read("guest/etc/fstab").match(/ 9p /g)).toHaveLength(1);
    await box.run(undone(updated, next));
    expect(box.snapshot()).toEqual(before);
  });

  test("another tag without power, then another argument, then power: its own former device is no second writer", async () => {
    const one = box.spec({ tag: "one" });
    const created = await box.run({ spec: one });
    box.powerCycle();
    const two = box.spec({ tag: "two" });
    const renamed = await box.run(again(created, one, two));
    expect([renamed.failure, renamed.power]).toMatchObject([undefined, { reason: "deviceNotLive" }]);
    const other = box.spec({ tag: "two", fileMode: "0640" });
    const changed = await box.run(again(renamed, two, other));
    const restarted = box.spec({ tag: "two", fileMode: "0640", power: "restart" });
    const last = await box.run(again(changed, other, restarted));
    expect([last.failure, last.power.kind, status(last)]).toEqual([undefined, "none", "active"]);
    expect([box.has("live/one"), box.has("live/two")]).toEqual([false, true]);
    await box.run(undone(last, restarted));
  });

  test("a new share of what a destroyed one still has live, under another tag", async () => {
    const one = box.spec({ tag: "one" });
    const created = await box.run({ spec: one });
    box.powerCycle();
    await box.run(undone(created, one));
    const two = box.spec({ tag: "two" });
    const next = await box.run({ spec: two });
    expect([next.failure, next.power]).toMatchObject([undefined, { reason: "deviceNotLive" }]);
    expect(await codes(box.run({ spec: box.spec({ tag: "three" }) }))).toEqual(["secondWriter"]);
  });

  test("unmounted by somebody: it is mounted again, and until then it is not active", async () => {
    const spec = box.spec(guest());
    await box.run({ spec });
    box.powerCycle();
    const mounted = await box.run({ spec, olds: [spec] });
    box.write("guest/mountinfo", "1 0 8:1 / / rw - ext4 /dev/vda1 rw\n");
    expect(status(await box.run(again(mounted, spec)))).toBe("active");
    expect(box.read("guest/mountinfo")).toContain(" 9p foobar ");
  });

  test("the guest has another directory: not active, not changed, said, and no obstacle to destroy", async () => {
    const before = box.snapshot();
    const spec = box.spec({ guest: { mountPoint: box.path("guest/mnt/a") } });
    const created = await box.run({ spec });
    box.powerCycle();
    const mounted = await box.run(again(created, spec));
    expect(status(mounted)).toBe("active");
    box.write("other-root", box.path("records"));
    const owned = box.spec({ guest: { mountPoint: box.path("guest/mnt/a"), mode: "0700" } });
    const other = await box.run(again(mounted, spec, owned));
    expect([other.failure, status(other)]).toEqual([undefined, "pendingRemount"]);
    expect(box.warnings).toContainEqual(
      expect.stringContaining("the guest has another directory under the tag"),
    );
    expect(box.steps.some((step) => step.startsWith("chmod"))).toBe(false);
    await box.run(undone(other, owned));
    box.powerCycle();
    expect(box.snapshot()).toEqual(before);
  });
});
