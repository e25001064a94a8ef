import { mkdirSync, rmSync } from "node:fs";
import { directory, Guest, records } from "./support/lab";
import { Stack } from "./support/stack";

/**
 * What `power` does with a domain in each of its states, on a real domain: the first up, the second one, and
 * the destroy. The contract: docs/arguments.md#share, docs/outputs.md#reasons.
 */
describe("the table of power", () => {
  const guest = new Guest("ptable", "small");
  const stack = new Stack();
  const source = "/srv/v9p-ptable";
  const powers = ["never", "start", "restart", "force"] as const;
  type Power = (typeof powers)[number];

  const machine = async (): Promise<object> => ({
    directory: await directory(source),
    definition: await guest.definition(),
    records: await records(source),
  });

  /** libvirt's running number: each start gives another; `-` while the domain is off. */
  const runNumber = async (): Promise<string> => (await guest.virsh("domid")).trim();
  const declared = `<filesystem type='mount' accessmode='mapped'>
  <source dir='${source}'/><target dir='share'/>
</filesystem>`;

  /** How a domain comes into each state. */
  const states = {
    "runs with the device": async () => {
      await guest.define();
      await guest.attach(declared, "--config");
      await guest.bootDefined();
    },
    "runs without it": () => guest.boot(),
    "is off": () => guest.define(),
    "is paused": () => guest.define("--paused"),
    "is paused, and its guest is to mount it": async () => {
      await guest.boot();
      await guest.virsh("suspend");
    },
    "is off with a managed save image": async () => {
      await guest.boot();
      await guest.virsh("managedsave");
    },
    "runs with a device of the live XML alone": async () => {
      await guest.boot();
      await guest.attach(
        "<channel type='unix'><target type='virtio' name='org.v9p.extra'/></channel>",
        "--live",
      );
    },
  };
  type State = keyof typeof states;

  interface Outcome {
    readonly status: string;
    readonly statusReason: string;
    /** Of the domain, afterwards. */
    readonly state: string;
    /** Whether another QEMU runs afterwards. */
    readonly started: boolean;
    /** The warning; undefined: none at all. */
    readonly says: RegExp | undefined;
    readonly hostOnly?: true | undefined;
    /** Nobody answers in a paused guest: the destroy is refused until it is resumed. */
    readonly mustResume?: true;
  }

  const active = { status: "active", statusReason: "asDeclared", state: "running", says: undefined };
  const adopted: Outcome = { ...active, started: false };
  const made: Outcome = { ...active, started: true };
  const waits: Outcome = {
    status: "pendingPowerCycle",
    statusReason: "deviceNotLive",
    state: "running",
    started: false,
    says: /the running QEMU of v9p-ptable gets share at its next power cycle/,
  };
  const off: Outcome = {
    status: "off",
    statusReason: "domainOff",
    state: "shut off",
    started: false,
    says: /v9p-ptable is off/,
  };
  const paused: Outcome = { ...waits, state: "paused", hostOnly: true };
  const pausedStays: Outcome = {
    ...paused,
    statusReason: "domainPaused",
    says: /it was not restarted, for it is paused/,
  };
  const ofGuest = {
    hostOnly: undefined,
    mustResume: true,
    says: /v9p-ptable is paused: the guest is left as it is until the next up/,
  } as const;
  const pausedGuest: Outcome = { ...paused, ...ofGuest };
  const pausedGuestStays: Outcome = { ...pausedStays, ...ofGuest };
  const saved: Outcome = {
    ...off,
    statusReason: "managedSave",
    says: /is off with a managed save image, whose start would bring the old devices back/,
  };
  const loses: Outcome = {
    ...waits,
    statusReason: "liveOnlyDevices",
    says: /it would lose what only the running domain has: channel org\.v9p\.extra/,
  };

  // prettier-ignore
  const table: Record<State, readonly [Outcome, Outcome, Outcome, Outcome]> = {
    //                                            never    start    restart      force
    "runs with the device":                     [adopted, adopted, adopted,     adopted],
    "runs without it":                          [waits,   waits,   made,        made],
    "is off":                                   [off,     made,    made,        made],
    "is paused":                                [paused,  paused,  pausedStays, pausedStays],
    "is paused, and its guest is to mount it":  [pausedGuest, pausedGuest, pausedGuestStays, pausedGuestStays],
    "is off with a managed save image":         [saved,   saved,   saved,       saved],
    "runs with a device of the live XML alone": [waits,   waits,   loses,       loses],
  };
  const cells = (Object.keys(table) as State[]).flatMap((state) =>
    powers.map((power, column) => ({ power, state, expected: table[state][column] ?? adopted })),
  );

  const declare = (power: Power, hostOnly: boolean): void => {
    stack.declare({
      share: {
        source,
        domain: guest.domain,
        power,
        ...(hostOnly ? {} : { guest: { mountPoint: "/mnt/share" } }),
      },
    });
  };

  beforeAll(async () => {
    await stack.open();
  });

  beforeEach(() => {
    rmSync(source, { recursive: true, force: true });
    mkdirSync(source, { mode: 0o755 });
  });

  afterEach(async () => {
    // Of a case that failed in the middle.
    if ((await stack.urn("share")) !== "") await stack.must("destroy");
  });

  afterAll(async () => {
    await guest.remove();
    stack.close();
    rmSync(source, { recursive: true, force: true });
  });

  it.each(cells)("$power, and the domain $state", async ({ power, state, expected }) => {
    await states[state]();
    const before = await machine();
    const run = await runNumber();
    declare(power, expected.hostOnly ?? false);
    const up = await stack.must("up");
    if (expected.says) expect(up.stdout).toMatch(expected.says);
    else expect(up.stdout).not.toMatch(/warning/);
    const { status, statusReason } = expected;
    expect(await stack.share("share")).toMatchObject({ status, statusReason, layers: { device: "ok" } });
    expect(await guest.state()).toBe(expected.state);
    expect((await runNumber()) !== run).toBe(expected.started);
    await stack.must("up", ["--expect-no-changes"]);
    await stack.must("preview", ["--refresh", "--expect-no-changes"]);

    if (expected.mustResume) {
      const whole = await machine();
      const refused = await stack.pulumi("destroy");
      expect(refused.code).not.toBe(0);
      expect(refused.stdout).toMatch(/v9p-ptable is paused \[guestUnreachable\]\s+to do: resume it/);
      expect(await machine()).toEqual(whole);
      await guest.virsh("resume");
    }
    const lastRun = await runNumber();
    await stack.must("destroy");
    expect(await machine()).toEqual(before);
    // Who gives a share up gets a power cycle at most to be rid of a live device, and never a start.
    const ridOf = expected === made && (power === "restart" || power === "force");
    expect((await runNumber()) !== lastRun).toBe(ridOf);
    expect(await guest.state()).toBe(expected.mustResume ? "running" : expected.state);
  });
});
