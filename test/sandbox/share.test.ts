import { execFileSync } from "node:child_process";
import { mkdirSync, renameSync, statSync, symlinkSync, unlinkSync } from "node:fs";
import { isDeepStrictEqual } from "node:util";
import type { ShareSpec } from "../../provider/spec/spec";
import { device } from "../unit/sample";
import { again, box, codes, guest, status, undone } from "./bench";

/** The life of one share, and what is refused, adopted and undone in it. */

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

  test("is not forgotten: a file system that 0.1.0 took over, and that was there when destroy began", async () => {
    sh(
      "mkdir sub; truncate -s 8M ../image; mkfs.ext4 -q ../image; mount -o loop ../image sub; chown 5:6 sub",
    );
    try {
      const spec = box.spec({ directory: { recursive: true, otherFileSystems: "leave" } });
      const created = await box.run({ spec });
      expect(created.failure).toBeUndefined();
      sh(`owners=${box.path("records/owners")}
mkdir -p $owners
identity=$(stat -f -c %i sub):$(stat -c %i:%.9W sub)
name=$(printf '%s %s' "$PWD" "$identity" | sha256sum | cut -c 1-32)
printf '%s 5 6 41ed -\n' "$(stat -c %i:%.9W sub)" > $owners/$name
printf '%s %s\n' $name "$PWD/sub" > $owners/nested.$(printf %s "$PWD" | sha256sum | cut -c 1-32)
chown 64055 sub`);
      const { steps } = box;
      steps.push = (does) => {
        if (does.includes("foobar") && does.includes("domain")) sh("umount sub");
        return Array.prototype.push.call(steps, does);
      };
      const destroyed = await box.run(undone(created, spec));
      expect(destroyed.failure?.code).toBe("sourceVanished");
      sh("mount -o loop ../image sub");
      const again = await box.run({ ...undone(created, spec), olds: [spec, ...destroyed.pendingCleanup] });
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

  test("a device with a driver, an alias and an address comes back to the letter, and live ones are no difference", async () => {
    const xml = `<filesystem type='mount' accessmode='passthrough'>
  <driver type='path' wrpolicy='immediate' iommu='on' ats='on'/>
  <source dir='${box.path("srv/a")}//'/>
  <target dir='foobar'/>
  <alias name='ua-mine'/>
  <address type='pci' domain='0x0000' bus='0x02' slot='0x07' function='0x0'/>
</filesystem>
`;
    box.write("persistent/foobar", xml);
    box.powerCycle();
    const spec = box.spec({ accessMode: "passthrough" });
    const adopted = await box.run({ spec });
    expect([adopted.power.kind, box.log, box.read("persistent/foobar")]).toEqual(["none", [], xml]);
    const next = box.spec();
    const changed = await box.run(again(adopted, spec, next));
    expect(box.read("persistent/foobar")).toContain("wrpolicy='immediate' iommu='on'");
    expect(box.read("persistent/foobar")).toContain("accessmode='mapped'");
    await box.run(undone(changed, next));
    expect(box.read("persistent/foobar").trim()).toBe(xml.trim());
  });

  test("a device that spells the directory through a link", async () => {
    symlinkSync("a", box.path("srv/link"));
    const theirs = { ...device, source: box.path("srv/link") };
    box.declare(theirs);
    box.powerCycle();
    const before = box.read("persistent/foobar");
    const spec = box.spec();
    const adopted = await box.run({ spec });
    expect([adopted.failure, adopted.power.kind, box.log]).toEqual([undefined, "none", []]);
    const readOnly = box.spec({ readOnly: true });
    const changed = await box.run(again(adopted, spec, readOnly));
    await box.run(undone(changed, readOnly));
    expect(box.read("persistent/foobar")).toBe(before);
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
    failure: {
      code: "mountFailed",
      problems: [{ layer: "mount", returned: expect.stringContaining("mount: no such device\n") as string }],
    },
    before: { directory: { created: false, uid: 0 }, device: { device: null } },
  });
  unlinkSync(box.path("refuse-mount"));
  const repaired = await box.run(again(failed, spec));
  expect([repaired.failure, status(repaired)]).toEqual([undefined, "active"]);
  await box.run(undone(repaired, spec));
  expect(box.snapshot()).toEqual(before);
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

test("a guest without fstab gets one that all may read", async () => {
  unlinkSync(box.path("guest/etc/fstab"));
  const spec = box.spec(guest({ mount: "boot" }));
  const created = await box.run({ spec });
  expect(statSync(box.path("guest/etc/fstab")).mode & 0o777).toBe(0o644);
  await box.run(undone(created, spec));
  expect(box.has("guest/etc/fstab")).toBe(false);
});
