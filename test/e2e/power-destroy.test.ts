import { rmSync } from "node:fs";
import { directory, Guest, records } from "./support/lab";
import { Stack } from "./support/stack";

/**
 * What a destroy does with the live device, by `power` and by the state that the domain has come to: either it
 * goes, or a warning says who keeps it. The contract: docs/how-it-works.md#the-power-job.
 */
describe("a destroy, within what power allows", () => {
  const guest = new Guest("pdestroy", "small");
  const stack = new Stack();
  const source = "/srv/v9p-pdestroy";
  const line = "share    /mnt/share ";

  interface Row {
    readonly power: "never" | "start" | "restart" | "force";
    readonly after: string;
    /** Brings the domain, with the share active, into the state that the destroy finds. */
    readonly bring?: () => Promise<unknown>;
    /** Without a guest part: a guest that has the share mounted cannot be asked while it is paused. */
    readonly hostOnly?: true;
    readonly shutdownMs?: number;
    readonly says: RegExp;
    /** Of the domain, afterwards; its running QEMU is the same as before the destroy, or another. */
    readonly state: string;
    readonly cycled?: true;
    /** Whether something still has the device, and so needs the directory that was made for it. */
    readonly keeps: boolean;
  }

  const kept = {
    keeps: true,
    state: "running",
    says: /the running QEMU of v9p-pdestroy keeps share until its next power cycle/,
  };
  const gone = { keeps: false, state: "running", cycled: true, says: /share deleted/ } as const;
  const rows: readonly Row[] = [
    { power: "never", after: "nothing", ...kept },
    { power: "start", after: "nothing", ...kept },
    { power: "restart", after: "nothing", ...gone },
    {
      power: "force",
      after: "the guest stopped obeying",
      bring: () => guest.ignoreShutdown(),
      shutdownMs: 3000,
      ...gone,
    },
    {
      power: "force",
      after: "a shutdown",
      bring: () => guest.shutDown(),
      state: "shut off",
      keeps: false,
      says: /is off, and its guest cannot be edited: there stay .*the line "share .*" of its fstab.*harmless/,
    },
    {
      power: "restart",
      after: "its memory was saved",
      // QEMU saves no guest that has a share mounted.
      bring: async () => {
        await guest.sh("umount /mnt/share");
        await guest.virsh("managedsave");
      },
      state: "shut off",
      keeps: true,
      says: /managed save image/,
    },
    {
      power: "restart",
      after: "it was paused",
      bring: () => guest.virsh("suspend"),
      hostOnly: true,
      ...kept,
      state: "paused",
      says: /keeps share until its next power cycle; it was not restarted, for it is paused/,
    },
    {
      power: "restart",
      after: "a device was plugged in",
      bring: () =>
        guest.attach("<channel type='unix'><target type='virtio' name='org.v9p.extra'/></channel>", "--live"),
      ...kept,
      says: /it was not restarted, for it would lose what only the running domain has: channel org\.v9p\.extra/,
    },
  ];

  const declare = (power: Row["power"], row: Pick<Row, "hostOnly" | "shutdownMs">): void => {
    stack.declare({
      share: {
        source,
        domain: guest.domain,
        power,
        ...(row.hostOnly ? {} : { guest: { mountPoint: "/mnt/share" } }),
        ...(row.shutdownMs === undefined ? {} : { timeouts: { shutdownMs: row.shutdownMs } }),
      },
    });
  };

  /** An active share of a fresh guest. */
  const make = async (row: Pick<Row, "hostOnly">): Promise<void> => {
    declare("restart", row);
    await stack.must("up");
    expect(await stack.share("share")).toMatchObject({ status: "active" });
  };

  beforeAll(async () => {
    await stack.open();
  });

  beforeEach(async () => {
    await guest.boot();
    rmSync(source, { recursive: true, force: true });
  });

  afterEach(async () => {
    if ((await stack.urn("share")) === "") return;
    await guest.define();
    await stack.must("destroy");
  });

  afterAll(async () => {
    await guest.remove();
    stack.close();
    rmSync(source, { recursive: true, force: true });
  });

  it.each(rows)("$power, after $after", async (row) => {
    const definition = await guest.definition();
    await make(row);
    declare(row.power, row);
    await stack.must("up");
    await row.bring?.();
    const run = await guest.virsh("domid");
    const destroy = await stack.must("destroy");
    expect(destroy.stdout).toMatch(row.says);
    expect(await guest.state()).toBe(row.state);
    expect((await guest.virsh("domid")) !== run).toBe(row.cycled ?? false);
    expect(await guest.definition()).toBe(definition);
    if (row.state === "running") {
      expect((await guest.virsh("dumpxml")).includes("<target dir='share'/>")).toBe(row.keeps);
      await guest.bootDefined();
      expect(await guest.sh("cat /etc/fstab /proc/self/mountinfo")).not.toMatch(/\bshare\b/);
    }
    expect(await directory(source)).toMatch(row.keeps ? /^directory 64055:64055 755\n/ : /^missing\n$/);
    expect(await records(source)).toEqual([]);
  });

  it("restart, while the guest that has it mounted is paused: refused, and nothing is changed", async () => {
    await make({});
    const whole = [await directory(source), await guest.definition()];
    await guest.virsh("suspend");
    const destroy = await stack.pulumi("destroy");
    expect(destroy.code).not.toBe(0);
    expect(destroy.stdout + destroy.stderr).toMatch(/v9p-pdestroy is paused.*\[guestUnreachable\]/);
    expect([await directory(source), await guest.definition()]).toEqual(whole);
    await guest.virsh("resume");
    expect(await guest.sh("cat /etc/fstab")).toContain(line);
    await stack.must("destroy");
    expect(await directory(source)).toBe("missing\n");
  });
});
