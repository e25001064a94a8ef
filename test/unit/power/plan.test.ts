import {
  clears,
  parsePowerLog,
  planPower,
  powerReasons,
  type PowerSeen,
  powerScript,
} from "../../../provider/power/plan";
import {
  domainInfo,
  domainJob,
  emulatorHas9p,
  liveDomain,
  persistentDomain,
} from "../../../provider/layers/shared/domain";
import type { Device9p } from "../../../provider/formats/domain-xml";
import { sh } from "../../../provider/remote/shell/sh";
import { device, domainOf, info, uuid } from "../sample";
import { runFact } from "../shell-machine";

const running = (live: readonly Device9p[], more: Partial<PowerSeen> = {}): PowerSeen => ({
  info,
  persistent: domainOf([device]),
  live: domainOf(live),
  job: false,
  ...more,
});
const off: PowerSeen = {
  info: { ...info, state: "shut off" },
  persistent: domainOf([device]),
  live: undefined,
  job: false,
};
const powers = ["never", "start", "restart", "force"] as const;
const kinds = (seen: PowerSeen, wanted: Device9p | undefined): string[] =>
  powers.map((power) => {
    const plan = planPower(power, seen, "foobar", wanted);
    return plan.kind === "pending" ? plan.reason : plan.kind;
  });

describe("planPower, with never, start, restart, force", () => {
  const all = (one: string) => [one, one, one, one];
  const restart = (reason: string) => [reason, reason, "restart", "force"];
  test.each<[string, PowerSeen, Device9p | undefined, string[]]>([
    ["no domain", { ...off, info: undefined, persistent: undefined }, device, all("none")],
    ["live", running([device]), device, all("none")],
    ["not live", running([]), device, restart("deviceNotLive")],
    ["another one live", running([{ ...device, readOnly: true }]), device, restart("deviceDiffersLive")],
    [
      "to go, and live",
      running([device], { persistent: domainOf([]) }),
      undefined,
      restart("deviceStillLive"),
    ],
    ["to go, and gone", running([]), undefined, all("none")],
    ["off", off, device, ["domainOff", "start", "start", "start"]],
    ["off, to go", off, undefined, all("none")],
    [
      "off, a managed save",
      { ...off, info: { ...info, state: "shut off", managedSave: true } },
      device,
      all("managedSave"),
    ],
  ])("%s", (_, seen, wanted, expected) => {
    expect(kinds(seen, wanted)).toEqual(expected);
  });

  const pending = (reason: string) => ["deviceNotLive", "deviceNotLive", reason, reason];
  test.each<[string, Partial<PowerSeen>]>([
    ["domainPaused", { info: { ...info, state: "paused" } }],
    ["domainPaused", { info: { ...info, state: "in shutdown" } }],
    ["jobActive", { job: true }],
    ["blockJob", { live: domainOf([], { hasBlockJob: true }) }],
    ["liveOnlyDevices", { live: domainOf([], { deviceKeys: ["disk vdb"] }) }],
    ["onPoweroff", { persistent: domainOf([device], { onPoweroff: "restart" }) }],
    ["managedSave", { info: { ...info, managedSave: true } }],
  ])("never a restart: %s", (reason, more) => {
    expect(kinds(running([], more), device)).toEqual(pending(reason));
  });

  test("what a person is told", () => {
    const told = (seen: PowerSeen) => planPower("restart", seen, "foobar", device);
    expect(told(running([], { live: domainOf([], { deviceKeys: ["disk vdb"] }) }))).toEqual({
      kind: "pending",
      reason: "liveOnlyDevices",
      says: "the running QEMU of web1 gets foobar at its next power cycle (a reboot inside the guest is none); it was not restarted, for it would lose what only the running domain has: disk vdb",
    });
  });
});

test("clears: which power clears which reason", () => {
  const table = Object.fromEntries(
    powerReasons.map((reason) => [reason, powers.filter((power) => clears(power, reason)).join(" ")]),
  );
  expect(table).toEqual({
    deviceNotLive: "restart force",
    deviceDiffersLive: "restart force",
    deviceStillLive: "restart force",
    domainOff: "start restart force",
    domainPaused: "",
    jobActive: "",
    blockJob: "",
    liveOnlyDevices: "",
    onPoweroff: "",
    managedSave: "",
  });
});

describe("powerScript", () => {
  const text = (kind: "start" | "restart" | "force", agentMs = 0): string =>
    powerScript({ id: "job-1", kind, tags: ["a", "b'c"], shutdownMs: 1500, agentMs }, sh`domain=${uuid}`)
      .text;

  test.each([
    ["start", ["cutting the power", "vsh shutdown", "vsh destroy"], ["vsh start"]],
    [
      "restart",
      ["vsh destroy"],
      ["vsh shutdown", "wait_off 2", "+ 900 ))", "= '\\''job-1'\\'' ]", "vsh start"],
    ],
    ["force", [], ["vsh shutdown", "wait_off 2", "vsh destroy", "wait_off 30", "+ 900 ))"]],
  ] as const)("%s", (kind, never, always) => {
    for (const part of never) expect(text(kind)).not.toContain(part);
    for (const part of always) expect(text(kind)).toContain(part);
  });

  test("waits for the agent only when asked", () => {
    expect(text("start")).not.toContain("guest-ping");
    expect(text("start", 30_500)).toContain("+ 31 ))");
  });
});

test.each<[string, object]>([
  ["shuttingDown\noff\nstarting\nresult started\n", { result: "started", errors: [] }],
  [
    "starting\nstartError error: no such file \ntakingOut foobar\nresult startedWithout\n",
    { result: "startedWithout", errors: ["error: no such file"] },
  ],
  [
    "shuttingDown\nshutdownError busy\nresult notStopped\nstarting\nresult started\n",
    { result: "notStopped", errors: ["busy"] },
  ],
  ["shuttingDown\n", { result: "died", errors: [] }],
  ["", { result: "died", errors: [] }],
])("parsePowerLog(%j)", (log, expected) => {
  expect(parsePowerLog(log)).toEqual(expected);
});

describe("facts of the domain", () => {
  const bytes = Buffer.alloc(0);
  test("a libvirt that does not answer is no domain that is not there", () => {
    const failing = (text: string): string =>
      `set +e; domain=${uuid} namesake=''; of_domain() { return 1; }\n${text}`;
    expect(() => runFact(domainInfo, failing)).toThrow("Command failed");
  });

  test("domainInfo", () => {
    const output = `UUID:           ${uuid}\nName:           web: one\nState:          shut off\nPersistent:     yes\nManaged save:   no\n`;
    expect(domainInfo.parse(output, bytes)).toEqual({
      uuid,
      name: "web: one",
      state: "shut off",
      persistent: true,
      managedSave: false,
    });
    expect(domainInfo.parse("", bytes)).toBeUndefined();
  });

  test.each([
    ["Job type:         None        \n", false],
    ["Job type:         Completed   \n", false],
    ["Job type:         Unbounded   \nOperation: Outgoing migration\n", true],
    ["", false],
  ])("domainJob(%j)", (output, expected) => {
    expect(domainJob.parse(output, bytes)).toBe(expected);
  });

  test.each([
    ["", undefined],
    ["0\n", false],
    ["3\n", true],
  ])("emulatorHas9p(%j)", (output, expected) => {
    expect(emulatorHas9p.parse(output, bytes)).toBe(expected);
  });

  test("no domain, no definitions", () => {
    expect([persistentDomain.parse("", bytes), liveDomain.parse("\n", bytes)]).toEqual([
      undefined,
      undefined,
    ]);
  });
});
