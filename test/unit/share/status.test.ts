import type { PowerPlan } from "../../../provider/power/plan";
import { layers } from "../../../provider/layers/index";
import { bind } from "../../../provider/engine/binding";
import {
  asWanted,
  type Drift,
  type LayerName,
  layerNames,
  type LayerState,
  type PendingReason,
} from "../../../provider/engine/layer";
import type { GuestState, Observation } from "../../../provider/share/observe";
import { driftOf, needsUpdate, statusOf, unsaid, withValue } from "../../../provider/share/status";
import { info, specOf } from "../sample";

const nothing = { values: new Map<string, unknown>(), raw: new Map<string, Buffer>() };

function observed(state: string | undefined, guestState: GuestState): Observation {
  return { host: nothing, guest: undefined, guestState, info: state ? { ...info, state } : undefined };
}

const unreachable: GuestState = {
  kind: "unreachable",
  problem: { code: "guestUnreachable", layer: "guest", machine: "guest web1", what: "no answer" },
};
const none: PowerPlan = { kind: "none" };
const pending: PowerPlan = { kind: "pending", reason: "deviceNotLive", says: "" };
const pendings: Partial<Record<LayerState, PendingReason>> = {
  missing: "notMounted",
  differs: "mountDiffers",
};
const seen: GuestState = { kind: "seen" };
const off: GuestState = { kind: "off" };

describe("statusOf", () => {
  test.each<[string, Observation, PowerPlan, Drift["state"], string, string]>([
    ["all there", observed("running", seen), none, "ok", "active", "asDeclared"],
    ["host only", observed("running", { kind: "notAsked" }), none, "unmanaged", "active", "asDeclared"],
    ["no domain", observed(undefined, off), none, "unknown", "domainMissing", "domainMissing"],
    ["off", observed("shut off", off), none, "unknown", "off", "domainOff"],
    ["off, host only", observed("shut off", { kind: "notAsked" }), none, "unmanaged", "off", "domainOff"],
    [
      "off with a managed save",
      observed("shut off", off),
      { kind: "pending", reason: "managedSave", says: "" },
      "unknown",
      "off",
      "managedSave",
    ],
    ["not live", observed("running", seen), pending, "missing", "pendingPowerCycle", "deviceNotLive"],
    [
      "not live, and it may be restarted",
      observed("running", seen),
      { kind: "restart", reason: "deviceDiffersLive" },
      "missing",
      "pendingPowerCycle",
      "deviceDiffersLive",
    ],
    ["agent away", observed("running", unreachable), none, "unknown", "pendingGuest", "guestUnreachable"],
    [
      "not live and agent away",
      observed("running", unreachable),
      pending,
      "unknown",
      "pendingPowerCycle",
      "deviceNotLive",
    ],
    ["not mounted", observed("running", seen), none, "missing", "pendingRemount", "notMounted"],
    ["other options", observed("running", seen), none, "differs", "pendingRemount", "mountDiffers"],
  ])("%s", (_, observation, power, mount, status, statusReason) => {
    const drift = Object.fromEntries(
      layerNames.map((layer) => [
        layer,
        { ...asWanted, ...(layer === "mount" ? { state: mount, pending: pendings[mount] } : {}) },
      ]),
    ) as Record<LayerName, Drift>;
    expect(statusOf(observation, power, drift)).toEqual({ status, statusReason });
  });
});

test("a share that is not mounted is pendingRemount, whatever else differs", () => {
  const missing: Drift = { ...asWanted, state: "missing" };
  const drift = Object.fromEntries(
    layerNames.map((layer) => [layer, layer === "mount" ? { ...missing, pending: "notMounted" } : missing]),
  ) as unknown as Record<LayerName, Drift>;
  const told = (of: Readonly<Record<LayerName, Drift>>) => statusOf(observed("running", seen), none, of);
  expect(told(drift)).toEqual({ status: "pendingRemount", statusReason: "notMounted" });
  const mounted = { ...drift, mount: asWanted };
  expect(told(mounted)).toEqual({ status: "drifted", statusReason: "directory" });
});

describe("driftOf", () => {
  const statesOf = (args: Record<string, unknown>) => {
    const drift = driftOf(bind(layers, specOf(args), []), observed("running", off));
    return Object.fromEntries(Object.entries(drift).map(([layer, one]) => [layer, one.state]));
  };

  test("a place that was not looked at is unknown, what is not wanted is unmanaged", () => {
    expect(statesOf({ selinux: { manage: "never" }, guest: { mountPoint: "/mnt/a" } })).toEqual({
      directory: "unknown",
      selinux: "unmanaged",
      device: "unknown",
      modules: "unknown",
      fstab: "unknown",
      mount: "unknown",
      guestOwnership: "unmanaged",
      guestBooleans: "unmanaged",
    });
  });

  test("of a share that leaves its guest alone, every layer of the guest is unmanaged", () => {
    expect(statesOf({})).toMatchObject({ modules: "unmanaged", fstab: "unmanaged", mount: "unmanaged" });
  });
});

test.each([
  [{}, "never", false],
  [{ status: "active", layers: {} }, "never", false],
  [{ status: "active", layers: { fstab: "missing" } }, "never", true],
])("needsUpdate of %j with power %s", (outputs, power, expected) => {
  expect(needsUpdate(outputs, power as "never")).toBe(expected);
});

test.each([
  [{}, "a", 1, { a: 1 }],
  [{ a: { b: 1, c: 2 } }, "a.b", 3, { a: { b: 3, c: 2 } }],
  [{ a: { b: 1, c: 2 } }, "a.b", null, { a: { c: 2 } }],
  [{}, "a.b.c", "x", { a: { b: { c: "x" } } }],
  [{ a: 1 }, "b", null, { a: 1 }],
])("withValue(%j, %j, %j)", (object, path, value, expected) => {
  const before = JSON.stringify(object);
  expect(withValue(object, path, value)).toEqual(expected);
  expect(JSON.stringify(object)).toBe(before);
});

describe("what makes an update has a reason that is told", () => {
  const states: readonly LayerState[] = ["ok", "missing", "differs", "unknown", "unmanaged"];
  const plans: readonly PowerPlan[] = [
    none,
    pending,
    { kind: "start", reason: "domainOff" },
    { kind: "restart", reason: "deviceNotLive" },
  ];
  const rows = layerNames.flatMap((layer) =>
    states.flatMap((state) => plans.map((plan) => [layer, state, plan] as const)),
  );

  test.each(rows)("%s is %s, %j", (layer, state, plan) => {
    const drift = Object.fromEntries(
      layerNames.map((one) => [one, one === layer ? { state, args: {}, notes: [] } : asWanted]),
    ) as unknown as Record<LayerName, Drift>;
    const word = plan.kind === "start" ? "shut off" : "running";
    const found = observed(word, plan.kind === "start" ? off : seen);
    const { status, statusReason } = statusOf(found, plan, drift);
    const layersNow = Object.fromEntries(layerNames.map((one) => [one, drift[one].state]));
    const power = plan.kind === "none" || plan.kind === "pending" ? "never" : plan.kind;
    const told = unsaid(layersNow, drift, found.info, plan);
    const update = needsUpdate({ status, statusReason, layers: layersNow }, power);
    if (update) expect(told).not.toEqual([]);
    if (told.length === 0) expect(update).toBe(false);
    if (status === "active") expect(["ok", "unmanaged"]).toContain(state);
  });
});
