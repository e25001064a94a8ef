import { execFileSync } from "node:child_process";
import { mkdirSync, renameSync, statSync, unlinkSync } from "node:fs";
import { isDeepStrictEqual } from "node:util";
import { ShareError } from "../../../provider/errors";
import type { ShareSpec } from "../../../provider/spec";
import { driftOf, statusOf } from "../../../provider/reconcile/status";
import type { Outcome } from "../../../provider/reconcile/reconcile";
import { device } from "../sample";
import { Sandbox } from "./sandbox";

let box: Sandbox;
beforeEach(() => {
  box = new Sandbox();
  mkdirSync(box.path("srv/a"));
  mkdirSync(box.path("srv/b"));
});
afterEach(() => {
  box.remove();
});

const guest = (more: Record<string, unknown> = {}) => ({
  guest: { mountPoint: box.path("guest/mnt/a"), ...more },
});
const codes = (work: Promise<Outcome>): Promise<unknown> =>
  work.then(
    ({ failure }) => failure?.code ?? "no failure",
    (error: unknown) => (error instanceof ShareError ? error.problems.map(({ code }) => code) : error),
  );
const status = ({ observation, power, bindings }: Outcome): unknown =>
  statusOf(observation, power, driftOf(bindings, observation)).status;
/** The same share again, with what the state has of it. */
const again = (outcome: Outcome, spec: ShareSpec, next: ShareSpec | undefined = spec) => ({
  spec: next,
  olds: [spec, ...outcome.former],
  before: outcome.before,
});
const undone = (outcome: Outcome, spec: ShareSpec) => ({ ...again(outcome, spec), spec: undefined });

describe("create, nothing more to do, destroy", () => {
  test.each<[string, () => Record<string, unknown>]>([
    ["host only", () => ({})],
    ["with its guest", () => guest()],
    ["with power", () => ({ ...guest(), power: "restart" })],
    ["a directory that is not there", () => ({ source: box.path("srv/new"), ...guest() })],
    ["read-only", () => ({ readOnly: true, ...guest() })],
    ["passthrough", () => ({ accessMode: "passthrough" })],
    ["fstab only", () => guest({ mount: "boot" })],
  ])("%s", async (_, args) => {
    const before = box.snapshot();
    const spec = box.spec(args());
    const created = await box.run({ spec });
    expect([created.failure, created.changed]).toEqual([undefined, true]);
    expect(created.power.kind).toBe(spec.power === "never" ? "pending" : "none");
    const told = box.steps.length;
    const second = await box.run(again(created, spec));
    expect([second.failure, second.changed, box.steps.slice(told)]).toEqual([undefined, false, []]);
    const destroyed = await box.run(undone(second, spec));
    expect(destroyed.failure).toBeUndefined();
    expect(box.snapshot()).toEqual(before);
  });

  test("with power, it is live and mounted in one call", async () => {
    const created = await box.run({ spec: box.spec({ ...guest(), power: "restart" }) });
    expect(status(created)).toBe("active");
    expect(box.log).toEqual(["attach foobar", "shutdown", "start", expect.stringMatching(/^mount /)]);
  });

  test("without, it waits, and is mounted after a power cycle by somebody else", async () => {
    const spec = box.spec(guest());
    const created = await box.run({ spec });
    expect(status(created)).toBe("pendingPowerCycle");
    box.powerCycle();
    expect(status(await box.run(again(created, spec)))).toBe("active");
  });
});

describe("what cannot be given back when its turn comes", () => {
  const sh = (script: string): void => {
    execFileSync("sh", ["-ec", script], { cwd: box.path("srv/a") });
  };

  test("is not forgotten: a file system in it that was there when destroy began", async () => {
    sh(
      "mkdir sub; truncate -s 8M ../image; mkfs.ext4 -q ../image; mount -o loop ../image sub; chown 5:6 sub",
    );
    try {
      const spec = box.spec({ directory: { recursive: true, otherFileSystems: "take" } });
      const created = await box.run({ spec });
      expect([created.failure, statSync(box.path("srv/a/sub")).uid]).toEqual([undefined, 64055]);
      const { steps } = box;
      steps.push = (does) => {
        if (does.includes("foobar") && does.includes("domain")) sh("umount sub");
        return Array.prototype.push.call(steps, does);
      };
      const destroyed = await box.run(undone(created, spec));
      expect(destroyed.failure?.code).toBe("sourceVanished");
      sh("mount -o loop ../image sub");
      const again = await box.run({ ...undone(created, spec), olds: [spec, ...destroyed.former] });
      expect([again.failure, statSync(box.path("srv/a/sub")).uid]).toEqual([undefined, 5]);
    } finally {
      sh("umount sub 2>/dev/null || :");
    }
  });
});

describe("what was there before is adopted, and left as it was", () => {
  test("a directory, a device, a line and a mount that are right: nothing is changed, no record", async () => {
    const spec = box.spec({ accessMode: "passthrough", ...guest() });
    box.declare({ ...device, source: spec.source, accessMode: "passthrough" });
    box.powerCycle();
    const first = await box.run({ spec: box.spec({ accessMode: "passthrough", ...guest() }) });
    expect(status(first)).toBe("active");
    await box.run(undone(first, spec));
    expect(box.has("persistent/foobar")).toBe(true);
    expect(box.read("guest/etc/fstab")).toBe("# the guest's own\nUUID=1 / ext4 defaults 0 1\n");
  });

  test("a device that differs is given back as it was", async () => {
    const spec = box.spec();
    box.declare({ ...device, source: spec.source, readOnly: true });
    const before = box.snapshot();
    const created = await box.run({ spec });
    await box.run(undone(created, spec));
    expect(JSON.stringify(box.snapshot())).toBe(JSON.stringify(before));
  });

  test("destroy does not start a domain that is off", async () => {
    const spec = box.spec({ power: "start", accessMode: "passthrough" });
    box.declare({ ...device, source: spec.source, accessMode: "passthrough" });
    box.powerCycle();
    const created = await box.run({ spec });
    box.write("state", "shut off\n");
    await box.run(undone(created, spec));
    expect(box.log).toEqual([]);
  });
});

describe("what contradicts is refused before the first change", () => {
  const refused = async (spec: ShareSpec) => {
    const before = box.snapshot();
    const found = await codes(box.run({ spec }));
    return [found, isDeepStrictEqual(box.snapshot(), before) ? "nothing changed" : "changed"];
  };

  test("a tag that another source has, declared by somebody", async () => {
    box.declare({ ...device, source: "/elsewhere" });
    expect(await refused(box.spec())).toEqual([["tagTaken"], "nothing changed"]);
  });

  test("a tag that another share of ours has", async () => {
    await box.run({ spec: box.spec() });
    expect(await refused(box.spec({}, "b"))).toEqual([["tagTaken"], "nothing changed"]);
  });

  test("a mount point that another share of ours has", async () => {
    await box.run({ spec: box.spec(guest()) });
    expect(await refused(box.spec({ ...guest(), tag: "other" }, "b"))).toEqual([
      ["mountPointTaken"],
      "nothing changed",
    ]);
  });
});

describe("what contradicts another share's record is refused before the first change", () => {
  const second = () => box.run({ spec: box.spec({ otherWriters: "allow", tag: "other" }) });
  let before: unknown;
  beforeEach(async () => {
    await box.run({ spec: box.spec({ otherWriters: "allow" }) });
    renameSync(box.path("srv/a"), box.path("srv/elsewhere"));
  });
  afterEach(() => {
    expect(box.snapshot()).toEqual(before);
  });

  test("a directory that has gone is not made anew", async () => {
    before = box.snapshot();
    expect(await codes(second())).toEqual(["sourceVanished"]);
  });

  test("another directory under its path is not taken for it", async () => {
    mkdirSync(box.path("srv/a"));
    before = box.snapshot();
    expect(await codes(second())).toEqual(["sourceMoved"]);
  });
});

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

test("a step that fails: all is as before, and the plain error is thrown", async () => {
  const before = box.snapshot();
  box.write("refuse-attach", "");
  await expect(box.run({ spec: box.spec(guest()) })).rejects.toMatchObject({
    code: "stepFailed",
    problems: [{ layer: "device", machine: "this machine", returned: "error: no more slots\n" }],
  });
  expect(box.snapshot()).toEqual(before);
});

test("a step that fails after the first change: it comes with what was seen, and the next up repairs it", async () => {
  const before = box.snapshot();
  const spec = box.spec({ ...guest(), power: "restart" });
  box.write("refuse-mount", "");
  const failed = await box.run({ spec });
  expect(failed).toMatchObject({
    changed: true,
    failure: { code: "mountFailed", problems: [{ layer: "mount", returned: "mount: no such device\n" }] },
    before: { directory: { created: false, uid: 0 }, device: { device: null } },
  });
  unlinkSync(box.path("refuse-mount"));
  const repaired = await box.run(again(failed, spec));
  expect([repaired.failure, status(repaired)]).toEqual([undefined, "active"]);
  await box.run(undone(repaired, spec));
  expect(box.snapshot()).toEqual(before);
});

describe("updates", () => {
  test("another source: the former tree is given back when the running QEMU lets go of it", async () => {
    const before = box.snapshot();
    const [old, next] = [box.spec(), box.spec({}, "b")];
    const created = await box.run({ spec: old });
    box.powerCycle();
    const updated = await box.run(again(created, old, next));
    expect(updated.former.map(({ source }) => source)).toEqual([old.source]);
    expect(statSync(old.source).uid).toBe(64055);
    box.powerCycle();
    const settled = await box.run({ spec: next, olds: [next, ...updated.former], before: updated.before });
    expect(settled.former).toEqual([]);
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
    expect([third.former, third.power.kind]).toEqual([[], "none"]);
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

  test("unmounted by somebody: it is mounted again, and until then it is not active", async () => {
    const spec = box.spec(guest());
    await box.run({ spec });
    box.powerCycle();
    const mounted = await box.run({ spec, olds: [spec] });
    box.write("guest/mountinfo", "1 0 8:1 / / rw - ext4 /dev/vda1 rw\n");
    expect(status(await box.run(again(mounted, spec)))).toBe("active");
    expect(box.read("guest/mountinfo")).toContain(" 9p foobar ");
  });
});

describe("a create that is killed, then a create that knows nothing of it, then a destroy: all as before", () => {
  const host = [0, 1, 2, 3, 4, 5, 6, 7].map((step) => ["host", step] as const);
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

describe("power cycles that do not go as they should", () => {
  test("the domain does not start with the device: it runs without it, and that is said", async () => {
    box.write("refuse-start", "");
    const { failure, changed } = await box.run({ spec: box.spec({ power: "restart" }) });
    expect([failure?.code, changed, box.read("state").trim()]).toEqual([
      "startedWithoutDevice",
      true,
      "running",
    ]);
    expect(box.has("persistent/foobar")).toBe(false);
  });

  test("the guest does not shut down: it still runs, and that is said", async () => {
    box.write("refuse-shutdown", "");
    const spec = box.spec({ power: "restart", timeouts: { shutdownMs: 1000 } });
    const { failure } = await box.run({ spec });
    // The job watches on: let it see the end.
    box.write("state", "shut off\n");
    expect(failure?.code).toBe("shutdownTimedOut");
    for (let turn = 0; turn < 50 && !box.log.includes("start"); turn++) {
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    expect(box.log.slice(-1)).toEqual(["start"]);
  }, 20_000);

  test("force: its power is cut", async () => {
    box.write("refuse-shutdown", "");
    const outcome = await box.run({ spec: box.spec({ power: "force", timeouts: { shutdownMs: 1000 } }) });
    expect([outcome.failure, status(outcome)]).toEqual([undefined, "active"]);
    expect(box.log).toEqual(["attach foobar", "shutdown", "destroy", "start"]);
  }, 20_000);
});

test("a guest that is left alone from now on: mount, line and modules are given back", async () => {
  const before = box.snapshot();
  const [full, bare] = [box.spec({ ...guest(), power: "restart" }), box.spec({ power: "restart" })];
  const created = await box.run({ spec: full });
  const updated = await box.run(again(created, full, bare));
  expect([status(updated), box.read("guest/etc/fstab").includes(" 9p "), box.has("guest/mnt/a")]).toEqual([
    "active",
    false,
    false,
  ]);
  await box.run(undone(updated, bare));
  expect(box.snapshot()).toEqual(before);
});

test("the domain is off at destroy: the host is given back, the guest is left as it is", async () => {
  const spec = box.spec(guest());
  const created = await box.run({ spec });
  box.write("state", "shut off\n");
  const destroyed = await box.run(undone(created, spec));
  expect([destroyed.failure, destroyed.observation.guestState.kind]).toEqual([undefined, "off"]);
  expect([box.has("persistent/foobar"), statSync(spec.source).uid]).toEqual([false, 0]);
  expect(box.read("guest/etc/fstab")).toContain(" 9p ");
});

test("several shares in flight share one power cycle", async () => {
  const specs = ["one", "two", "three"].map((tag) =>
    box.spec({ otherWriters: "allow", tag, power: "restart" }),
  );
  const outcomes = await Promise.all(specs.map((spec) => box.run({ spec })));
  expect(outcomes.map(status)).toEqual(["active", "active", "active"]);
  expect(box.log.filter((line) => line === "shutdown")).toHaveLength(1);
});

test("a guest without fstab gets one that all may read", async () => {
  unlinkSync(box.path("guest/etc/fstab"));
  const spec = box.spec(guest({ mount: "boot" }));
  const created = await box.run({ spec });
  expect(statSync(box.path("guest/etc/fstab")).mode & 0o777).toBe(0o644);
  await box.run(undone(created, spec));
  expect(box.has("guest/etc/fstab")).toBe(false);
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
      box.run({ spec: undefined, olds: [spec], before: created[index]?.before ?? {} }),
    ),
  );
  expect(box.snapshot()).toEqual(before);
});

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
          box.run({ spec: undefined, olds: [spec], before: created[index]?.before ?? {} }).then(
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
