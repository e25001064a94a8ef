import { layers } from "../layers/index";
import { clears, type PowerPlan, powerReasons } from "../power/plan";
import { type Bindings, failuresOf, seenBy } from "../engine/binding";
import {
  type Drift,
  found,
  type Json,
  type LayerName,
  layerNames,
  type LayerState,
  pendingReasons,
} from "../engine/layer";
import type { ErrorCode } from "../errors";
import type { ShareSpec } from "../spec/spec";
import type { Observation } from "./observe";
import { notLookedAt } from "./warnings";

/** What a share amounts to; the words are part of the contract (outputs `status`). */
export const statuses = [
  "active",
  "drifted",
  "pendingPowerCycle",
  "pendingGuest",
  "pendingRemount",
  "off",
  "domainMissing",
  "incomplete",
] as const;

/** One of {@link statuses}. */
export type Status = (typeof statuses)[number];

/** Why a share has its status, where that is no error; `asDeclared` when there is nothing to say. */
export const statusReasons = [
  "asDeclared",
  ...powerReasons,
  ...pendingReasons,
  "domainMissing",
  // Of `drifted` the first layer that is not as declared.
  ...layerNames,
] as const;

/** A status and the code of its reason. */
export interface StatusAndReason {
  readonly status: Status;
  readonly statusReason: (typeof statusReasons)[number] | ErrorCode;
}

/** Of a layer with several things the first of these that one of them has. */
const states: readonly LayerState[] = ["unknown", "missing", "differs", "ok"];

/** The drift of every layer, in their order: `unmanaged` without a binding, `unknown` where its place was not looked at. */
export function driftOf(
  bindings: Bindings,
  { host, guest }: Observation,
  all = layers,
): Readonly<Record<LayerName, Drift>> {
  const of = (layer: LayerName): Drift => {
    const drifts = bindings.ensure
      .filter((one) => one.layer.layer === layer)
      .map((binding): Drift => {
        const seen = seenBy(binding, host, guest);
        const { needed, spared } = failuresOf(binding, host, guest);
        const drift = seen ? binding.layer.drift(binding.want, seen) : found("unknown");
        return { ...drift, notes: [...[...needed, ...spared].map(notLookedAt), ...drift.notes] };
      });
    const state = states.find((one) => drifts.some((drift) => drift.state === one)) ?? "unmanaged";
    const pending = drifts.find((one) => one.pending)?.pending;
    return {
      state,
      args: Object.assign({}, ...drifts.map(({ args }) => args)) as Drift["args"],
      notes: drifts.flatMap(({ notes }) => notes),
      ...(pending ? { pending } : {}),
    };
  };
  return Object.fromEntries(all.map(({ layer }) => [layer, of(layer)])) as Record<LayerName, Drift>;
}

/** The status of a share that did not fail. */
export function statusOf(
  observation: Observation,
  power: PowerPlan,
  drift: Readonly<Record<LayerName, Drift>>,
): StatusAndReason {
  if (!observation.info) return { status: "domainMissing", statusReason: "domainMissing" };
  if (observation.guestState.kind === "off" || observation.info.state === "shut off") {
    return { status: "off", statusReason: power.kind === "pending" ? power.reason : "domainOff" };
  }
  if (power.kind !== "none") return { status: "pendingPowerCycle", statusReason: power.reason };
  if (observation.guestState.kind === "unreachable") {
    return { status: "pendingGuest", statusReason: observation.guestState.problem.code };
  }
  const all = Object.entries(drift) as [LayerName, Drift][];
  const pending = all.find(([, one]) => one.pending)?.[1].pending;
  if (pending) return { status: "pendingRemount", statusReason: pending };
  const drifted = all.find(([, one]) => isOtherwise(one.state));
  if (drifted) return { status: "drifted", statusReason: drifted[0] };
  return { status: "active", statusReason: "asDeclared" };
}

function isOtherwise(state: LayerState): boolean {
  return state !== "ok" && state !== "unmanaged";
}

/** What a refresh found otherwise and neither a note nor an argument of the layer says, in words. */
export function unsaid(
  states: Readonly<Record<string, LayerState>>,
  drift: Readonly<Record<LayerName, Drift>>,
  info: Observation["info"],
  power: PowerPlan,
): string[] {
  const layersOtherwise = Object.entries(states).flatMap(([layer, state]) => {
    const { notes = [], args = {} } = drift[layer as LayerName] as Partial<Drift>;
    const said = notes.length + Object.keys(args).length > 0;
    return !isOtherwise(state) || said ? [] : [`${layer} is ${state === "unknown" ? "not known" : state}`];
  });
  if (power.kind === "none" || power.kind === "pending" || !info) return layersOtherwise;
  const does = power.kind === "start" ? "starts" : "restarts";
  return [`the next pulumi up ${does} ${info.name} (${power.reason})`, ...layersOtherwise];
}

/**
 * Whether the outputs of the state alone ask for an update: something failed, or a layer is not as it
 * was declared and does not merely wait for what may not be done.
 */
export function needsUpdate(
  outputs: { readonly status?: unknown; readonly statusReason?: unknown; readonly layers?: unknown },
  power: ShareSpec["power"],
  all = layers,
): boolean {
  const { status, statusReason } = outputs;
  if (status === "incomplete" || status === "pendingGuest") return true;
  if (clears(power, String(statusReason))) return true;
  const waits = (layer: string, state: LayerState): boolean => {
    const own = all.filter((one) => one.layer === layer);
    const isInGuest = own.some(({ place }) => place === "guest");
    if (status === "off") return isInGuest;
    const waitsForCycle = status === "pendingPowerCycle";
    // A guest that could not be looked at, paused perhaps, will be when the power cycle is over.
    if (waitsForCycle && state === "unknown" && isInGuest) return true;
    // What only the live device allows.
    return (waitsForCycle || statusReason === "mountBusy") && own.some(({ up }) => up === "guestLive");
  };
  const states = Object.entries((outputs.layers ?? {}) as Record<string, LayerState>);
  return states.some(([layer, state]) => isOtherwise(state) && !waits(layer, state));
}

/** What the layers say of the outputs. */
export function outputsOf(
  { ensure }: Bindings,
  { host, guest }: Observation,
): Readonly<Record<string, string>> {
  const said = ensure.map((binding): Readonly<Record<string, string>> => {
    const seen = seenBy(binding, host, guest);
    return binding.layer.outputs?.(binding.want, seen) ?? {};
  });
  return Object.assign({}, ...said) as Readonly<Record<string, string>>;
}

/** Sets a value at a dotted path of a plain object, in a copy; null takes the key out. */
export function withValue(
  object: Record<string, unknown>,
  path: string,
  value: Json,
): Record<string, unknown> {
  const [key = "", ...rest] = path.split(".");
  if (rest.length > 0) {
    const inner = (object[key] ?? {}) as Record<string, unknown>;
    return { ...object, [key]: withValue(inner, rest.join("."), value) };
  }
  const others = Object.fromEntries(Object.entries(object).filter(([name]) => name !== key));
  return value === null ? others : { ...others, [key]: value };
}
