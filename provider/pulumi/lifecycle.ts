import { randomBytes } from "node:crypto";
import { bind, recordIn } from "../engine/binding";
import { layers } from "../layers/index";
import type { LayerState } from "../engine/layer";
import { hasWork, onlyTheWayThereDiffers } from "./diff";
import type { ShareError } from "../errors";
import { claimedTwice } from "../share/registry";
import { Progress } from "./progress";
import { madeHere } from "../power/coordinator";
import { machinesOf } from "../share/machines";
import { isLive, observe, type Observation } from "../share/observe";
import { type Outcome, powerOf, reconcile } from "../share/reconcile";
import { staysInGuest, unverifiedKeys, withNextStep } from "../share/warnings";
import { driftOf, outputsOf, statusOf, unsaid, withValue } from "../share/status";
import { type Failure, parseSpec, type ShareSpec, withoutUndefined } from "../spec/spec";
import {
  argumentsIn,
  declaredIn,
  pendingCleanupIn,
  fromState,
  keptIn,
  nameOf,
  type Properties,
  specOf,
  strangeIn,
  urnIn,
  uuidIn,
  withoutConnections,
} from "./state";
import { current, stateVersion } from "./state-migrations";
import { rotated, withWayOut } from "./recovery-hints";

/**
 * The six calls of a resource's life over the engine. Knows Pulumi's rules (what is stored, what a
 * failure after the first change must carry), and imports nothing of it.
 */

/** A failure after the first change: recorded with what was seen, and repaired by the next up. */
export class PartialFailure extends Error {
  override readonly name = "PartialFailure";
  constructor(
    readonly id: string,
    readonly outputs: Properties,
    override readonly cause: ShareError,
  ) {
    super(cause.message, { cause });
  }
}

export { diff } from "./diff";

/** Whether an update only brings new values into the state, and asks no machine. */
export function onlyTheStateChanges(olds: Properties, inputs: Properties): boolean {
  const power = inputs["power"] as ShareSpec["power"];
  return onlyTheWayThereDiffers(olds, inputs) && !hasWork(olds, power);
}

/**
 * Validates everything of one share at once, each failure under its own property. No I/O.
 *
 * `olds` are the inputs that the state has; none for a new share and for one that replaces another.
 */
export function check(
  news: Properties,
  olds: Properties = {},
): {
  readonly inputs: Properties;
  readonly failures: readonly Failure[];
} {
  // A tag that the program does not write is the resource's name at first, and then stays what it is: under another name,
  // by an alias, a share must not change the device of a running guest.
  const isTagWritten = news["tag"] !== undefined && news["__tagIsName"] !== true;
  const tag = isTagWritten ? news["tag"] : (olds["tag"] ?? news["tag"] ?? nameOf(news));
  const whose = olds["tag"] === undefined ? "the name of this resource" : "what the state has";
  const ofTag = (failure: Failure): Failure =>
    failure.property !== "tag" || isTagWritten || tag === undefined
      ? failure
      : {
          property: "tag",
          reason: `is not written, and its default, ${whose}, ${failure.reason}: write a tag`,
        };
  const args = { ...argumentsIn(news), ...(tag === undefined ? {} : { tag }), ...strangeIn(news) };
  const { spec, failures } = parseSpec(args);
  const canonical: Properties = spec ? withoutUndefined(spec) : args;
  const urn = urnIn(news);
  const claimed = urn === undefined || failures.length > 0 ? [] : claimedTwice(urn, canonical);
  return { inputs: { ...canonical, ...keptIn(news) }, failures: [...failures.map(ofTag), ...claimed] };
}

export async function create(
  inputs: Properties,
  progress = new Progress(),
): Promise<{ readonly id: string; readonly outputs: Properties }> {
  const spec = specOf(inputs);
  const request = { spec, olds: [], baseline: {}, name: nameOf(inputs) };
  const outcome = await reconcile(machinesOf(spec, ""), request, progress.teller(spec.tag));
  // Its length keeps ids of one domain apart; nothing reads it.
  const id = `${outcome.observation.info?.uuid ?? ""}/${randomBytes(6).toString("hex")}`;
  return { id, outputs: finish(id, inputs, outcome) };
}

export async function update(
  id: string,
  stored: Properties,
  inputs: Properties,
  progress = new Progress(),
): Promise<Properties> {
  const olds = current(stored);
  const spec = specOf(inputs);
  if (onlyTheStateChanges(olds, inputs)) return { ...olds, ...inputs };
  // What is taken out of a guest that is declared no more goes out by the way that there was.
  const former = declaredIn(olds).guest;
  const machines = machinesOf({ ...spec, guest: spec.guest ?? former }, uuidIn(olds));
  const guestGoes = spec.guest === undefined && former?.connection !== undefined;
  const request = { ...fromState(olds), spec, name: nameOf(inputs), guestGoes };
  const says = progress.teller(spec.tag);
  const outcome = await reconcile(machines, request, says);
  const outputs = finish(id, inputs, outcome, olds);
  const { observation, bindings, power } = outcome;
  const states = outputs["layers"] as Record<string, LayerState>;
  const still = new Set(warningsOf(observation, driftOf(bindings, observation), power, states));
  const repaired = foundHere.get(keyOf(olds))?.filter((text) => !still.has(text)) ?? [];
  if (repaired.length > 0) says.note(`repaired since the refresh found it: ${repaired.join("; ")}`);
  foundHere.delete(keyOf(olds));
  return outputs;
}

/**
 * What a refresh of this process has warned of, by share. In `pulumi up --refresh` those warnings stand in the output when
 * the update has repaired what they say; a refresh does not know whether an update follows.
 */
const foundHere = new Map<string, readonly string[]>();

function keyOf(outputs: Properties): string {
  return `${uuidIn(outputs)}/${String(outputs["tag"])}`;
}

/** What a person is told of a share that is not as it should be. */
function warningsOf(
  observation: Observation,
  drift: ReturnType<typeof driftOf>,
  power: Outcome["power"],
  states: Readonly<Record<string, LayerState>>,
): readonly string[] {
  const { guestState, info } = observation;
  const notes = Object.entries(drift).flatMap(([layer, one]) => [
    ...one.notes,
    ...Object.entries(one.args).map(([path, value]) => `${path} is ${JSON.stringify(value)} (${layer})`),
  ]);
  return [
    ...new Set([
      ...notes,
      ...(guestState.kind === "unreachable" ? [guestState.problem.what] : []),
      ...(power.kind === "pending" ? [withNextStep(power, info?.name)] : []),
      ...unsaid(states, drift, info, power),
    ]),
  ];
}

/** One look at everything. Undefined: nothing of ours is left on the host. */
export async function read(
  stored: Properties,
  progress = new Progress(),
): Promise<{ readonly outputs: Properties; readonly inputs: Properties } | undefined> {
  const outputs = current(stored);
  const declared = argumentsIn(outputs);
  const spec = declaredIn(outputs);
  const bindings = bind(layers, spec, [], "drift");
  const machines = machinesOf(spec, uuidIn(outputs));
  const says = progress.teller(spec.tag);
  for (const text of unverifiedKeys(machines)) says.warn(text);
  const observation = await observe(machines, bindings).catch((error: unknown) => {
    throw rotated(error);
  });
  const drift = driftOf(bindings, observation);
  const holder = `${uuidIn(outputs)}/${spec.tag}`;
  const held = bindings.ensure.some((one) => recordIn(one, observation.host)?.references.includes(holder));
  if (!observation.info && !held) return undefined;
  const power = powerOf(observation.host, spec, spec);
  const states: Record<string, LayerState> = {
    ...Object.fromEntries(Object.entries(drift).map(([layer, one]) => [layer, one.state])),
    ...freed(outputs, observation),
  };
  const found = warningsOf(observation, drift, power, states);
  for (const text of found) says.warn(text);
  foundHere.set(keyOf(outputs), found);
  const seen = {
    ...outputs,
    ...statusOf(observation, power, drift),
    layers: states,
    domainName: observation.info?.name ?? outputs["domainName"],
    ...outputsOf(bindings, observation),
  };
  const inputs = Object.values(drift)
    .flatMap((one) => Object.entries(one.args))
    .reduce<Properties>((so, [path, value]) => withValue(so, path, value), declared);
  return {
    outputs: withoutUndefined(seen),
    inputs: withoutUndefined({ ...inputs, ...keptIn(outputs) }),
  };
}

export async function remove(stored: Properties, progress = new Progress()): Promise<void> {
  const outputs = current(stored);
  const spec = declaredIn(outputs);
  const machines = machinesOf(spec, uuidIn(outputs));
  const says = progress.teller(spec.tag);
  const former = fromState(outputs);
  const wayOut = withWayOut(urnIn(outputs));
  // Within one up Pulumi creates before it deletes.
  const renamed = madeHere(machines.key, uuidIn(outputs), spec.tag)?.work;
  if (renamed) {
    says.warn(
      `${spec.tag} of ${spec.domain} was created under another name in this same operation, as ${renamed.name ?? renamed.spec.tag}: only what that one does not want is given back`,
    );
  }
  const request = { ...former, spec: renamed?.spec, name: renamed?.name };
  const { failure, bindings, observation } = await reconcile(machines, request, says).catch(wayOut);
  const left = bindings.release.flatMap(({ layer, name, want, spec: old }) => {
    const found = old === former.olds[0] ? (former.baseline[name] ?? null) : null;
    return found === null ? [] : (layer.left?.(want, found) ?? []);
  });
  if (!renamed && observation.guestState.kind === "off" && left.length > 0)
    says.warn(staysInGuest(spec.domain, left));
  if (failure) throw failure;
}

/** Outputs of a create or an update; throws the partial failure if there was one. */
function finish(id: string, inputs: Properties, outcome: Outcome, olds: Properties = {}): Properties {
  const { observation, bindings } = outcome;
  const drift = driftOf(bindings, observation);
  const outputs: Properties = withoutUndefined({
    ...inputs,
    ...(outcome.failure
      ? { status: "incomplete", statusReason: outcome.failure.code }
      : statusOf(observation, outcome.power, drift)),
    layers: Object.fromEntries(Object.entries(drift).map(([layer, one]) => [layer, one.state])),
    domainUuid: observation.info?.uuid ?? uuidIn(olds),
    domainName: observation.info?.name ?? olds["domainName"] ?? "",
    directoryOwner: "",
    fstabEntry: "",
    mountOptions: "",
    ...outputsOf(bindings, observation),
    before: outcome.before,
    __version: stateVersion,
    __former: outcome.pendingCleanup.map(withoutConnections),
    __stood: { ...(olds["__stood"] as Properties | undefined), ...outcome.lastSeen },
  });
  if (outcome.failure) throw new PartialFailure(id, outputs, outcome.failure);
  return outputs;
}

/**
 * What of former specs the next up can give back by now: a directory that no running QEMU has any more; what is in a guest
 * that was off then, and runs.
 */
function freed(outputs: Properties, { info, host }: Observation): Record<string, LayerState> {
  const present = (outputs["guest"] as { mountPoint?: string } | undefined)?.mountPoint;
  const former = pendingCleanupIn(outputs);
  const directory = former.some(({ source }) => source !== outputs["source"] && !isLive(host, source));
  const fstab =
    info?.state === "running" && former.some(({ guest }) => guest && guest.mountPoint !== present);
  return { ...(directory && { directory: "differs" }), ...(fstab && { fstab: "differs" }) };
}
