import { base, changes, otherSource, type Shows, source } from "./support/changes";
import { Guest, records } from "./support/lab";
import { output } from "./support/run";
import { snapshot } from "./support/snapshot";
import { Stack } from "./support/stack";
import { isReachedBySsh, withWays } from "./support/via";

type Machine = Readonly<Record<string, string>>;

/** Every argument that changes in place: seen in the machine, changed back, and nothing of the former left. */
describe("a change in place", () => {
  const guest = new Guest("change", "small");
  const stack = new Stack();
  const machine = (): Promise<Machine> => snapshot(guest, [source, otherSource]);
  const declare = (args: object): void => {
    stack.declare({ share: { ...base, domain: guest.domain, ...args } });
  };
  let untouched: Machine;

  beforeAll(async () => {
    await Promise.all([stack.open(), guest.boot()]);
    await output("rm", ["-rf", source, otherSource]);
    await output("mkdir", ["-m", "755", source]);
    await output("sh", ["-c", 'mkdir -m 700 "$1" && chown 1:1 "$1"', "sh", otherSource]);
    untouched = await machine();
  });

  beforeEach(async () => {
    declare({});
    await stack.must("up");
  });

  afterAll(async () => {
    await guest.remove();
    stack.close();
    await output("rm", ["-rf", source, otherSource]);
  });

  /** An update and no replacement, after which there is nothing to do. */
  const changed = async (args: object): Promise<void> => {
    declare(args);
    const up = await stack.must("up");
    expect(up.stdout).toMatch(/^ +~ 1 updated$/m);
    expect(up.stdout).not.toMatch(/created|replaced|deleted/);
    await stack.must("up", ["--refresh", "--expect-no-changes"]);
    expect(await stack.share("share")).toMatchObject({ status: "active", statusReason: "asDeclared" });
  };

  /** The machine as it is, with what use shows of it; leaves no file behind. */
  const used = async (probe: string | undefined): Promise<Machine> => {
    if (probe !== undefined) await guest.sh(probe);
    const seen = await machine();
    if (probe !== undefined) await output("sh", ["-c", 'rm -rf "$1"/new*', "sh", source]);
    return seen;
  };

  const shows = (seen: Machine, wanted: Shows, former: Shows): void => {
    for (const [part, texts] of Object.entries(wanted))
      for (const text of texts) expect(seen[part]).toContain(text);
    for (const [part, texts] of Object.entries(former))
      for (const text of texts) expect(seen[part]).not.toContain(text);
  };

  it.each(changes)("$what: there and back", async ({ from, to, probe, before, after }) => {
    if (from) {
      declare(from);
      await stack.must("up");
    }
    const first = await used(probe);
    shows(first, before, after);
    await changed(to);
    shows(await used(probe), after, before);
    await changed(from ?? {});
    expect(await used(probe)).toEqual(first);
  });

  it("of what only the state holds leaves the machine alone", async () => {
    const before = await machine();
    const settings = {
      power: "force",
      otherWriters: "allow",
      timeouts: { commandMs: 100_000, shutdownMs: 100_000, bootMs: 200_000 },
      host: { escalate: "sudo" },
      selinux: { manage: "never" },
      directory: { create: false, recursive: false, keepOwners: false },
    };
    await changed(settings);
    expect(await stack.share("share")).toMatchObject({ ...settings, layers: { selinux: "unmanaged" } });
    expect(await machine()).toEqual(before);
    await changed({});
    expect(await machine()).toEqual(before);
  });

  it("is none where the same domain is named by its UUID", async () => {
    const domain = (await guest.virsh("domuuid")).trim().toUpperCase();
    // The way to the guest is known by the domain's name.
    stack.declare({ share: { ...withWays({ ...base, domain: guest.domain }), domain } });
    await stack.must("up", ["--expect-no-changes"]);
    await stack.must("preview", ["--refresh", "--expect-no-changes"]);
  });

  it("of guest.mount: at boot only, an unmounted share is right; now, it is mounted again", async () => {
    const before = await machine();
    await changed({ guest: { ...base.guest, mount: "boot" } });
    expect(await machine()).toEqual(before);
    await guest.sh("umount /mnt/point");
    await stack.must("up", ["--refresh", "--expect-no-changes"]);
    expect(await stack.share("share")).toMatchObject({ layers: { fstab: "ok", mount: "unmanaged" } });
    await changed({});
    expect(await machine()).toEqual(before);
  });

  it("of source, while the running QEMU keeps the former, gives that back only after a power cycle", async () => {
    declare({ source: otherSource, power: "never" });
    const up = await stack.must("up");
    expect(up.stdout).toMatch(/has the former share until its next power cycle/);
    const waiting = { status: "pendingPowerCycle", statusReason: "deviceDiffersLive" };
    expect(await stack.share("share")).toMatchObject(waiting);
    await stack.must("up", ["--expect-no-changes"]);
    await stack.must("up", ["--refresh", "--expect-no-changes"]);
    expect(await stack.share("share")).toMatchObject(waiting);
    const between = await machine();
    shows(between, { declared: [`'${otherSource}'`], live: [`'${source}'`] }, {});
    shows(between, { [source]: ["64055:64055"], [otherSource]: ["64055:64055"] }, {});
    expect(await records(source)).toHaveLength(2);
    await guest.virsh("destroy");
    await guest.settle();
    await stack.must("up", ["--refresh"]);
    expect(await stack.share("share")).toMatchObject({ status: "active", layers: { mount: "ok" } });
    const after = await machine();
    shows(
      after,
      { [source]: ["directory 0:0 755\n"], live: [`'${otherSource}'`] },
      { [source]: ["user.virtfs"] },
    );
    expect(after["records"]).not.toContain(`"${source}"`);
    await stack.must("up", ["--refresh", "--expect-no-changes"]);
  });

  it("of guest, taken away while the domain is off: told, seen when it runs, and then taken out", async () => {
    await guest.shutDown();
    stack.declare({ share: { ...base, domain: guest.domain, guest: undefined, power: "never" } });
    const up = await stack.pulumi("up");
    expect([up.code !== 0, up.stdout + up.stderr]).toEqual(
      isReachedBySsh(guest.domain)
        ? // The way to take it out goes from the program with it: refused, and seen in ssh-guest.test.ts.
          [true, expect.stringMatching(/\[guestUnreachable\]/)]
        : [
            false,
            expect.stringMatching(/is off, and its guest cannot be edited: what .* had there, \/mnt\/point/),
          ],
    );
    await guest.bootDefined();
    expect(await guest.sh("cat /etc/fstab")).toContain("/mnt/point");
    expect((await stack.pulumi("preview", ["--refresh", "--expect-no-changes"])).code).toBe(7);
    await stack.must("up", ["--refresh"]);
    expect(await guest.sh("cat /etc/fstab /proc/self/mountinfo")).not.toContain("/mnt/point");
    await stack.must("up", ["--refresh", "--expect-no-changes"]);
  });

  it("of tag, while the domain is off: a destroy takes out the line of the former one", async () => {
    await guest.shutDown();
    declare({ tag: "renamed", power: "never" });
    await stack.must("up");
    await guest.bootDefined();
    await stack.must("destroy");
    expect(await guest.sh("cat /etc/fstab /proc/self/mountinfo")).not.toContain("/mnt/point");
    // Its running QEMU keeps the device of the tag until then.
    await guest.virsh("destroy");
    await guest.settle();
  });

  it("of directory.onDelete is seen in destroy, which leaves the directory", async () => {
    await changed({ directory: { onDelete: "leave" } });
    const left = (await machine())[source];
    await stack.must("destroy");
    expect(await machine()).toEqual({ ...untouched, [source]: left });
    await output("sh", [
      "-c",
      'chown 0:0 "$1" && for name in uid gid mode; do setfattr -x user.virtfs.$name "$1"; done',
      "sh",
      source,
    ]);
  });

  it("leaves nothing that destroy would not give back", async () => {
    await stack.must("destroy");
    expect(await machine()).toEqual(untouched);
  });
});
