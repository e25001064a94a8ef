import type { Json } from "../engine/layer";
import type { Request } from "../share/plans";
import { parseSpec, type ShareSpec } from "../spec/spec";
import { argumentsError, storedSpec } from "./stored-spec";

/** What Pulumi's state keeps of a share: the user's arguments, its outputs, and what is only ours. Pure. */

/** Inputs or outputs as Pulumi stores them. Keys that begin with two underscores are not the user's. */
export type Properties = Readonly<Record<string, unknown>>;

/** What the state says of a share: what it wanted, what first contact found, what stood. */
export function fromState(outputs: Properties): Omit<Request, "spec"> {
  const before = Object.entries(objectIn(outputs, "before") as Record<string, Json>);
  return {
    olds: [declaredIn(outputs), ...pendingCleanupIn(outputs)],
    baseline: Object.fromEntries(
      before.filter(([, value]) => typeof value === "object" && !Array.isArray(value)),
    ),
    lastSeen: objectIn(outputs, "__stood") as Record<string, Json>,
  };
}

/** What the state says that was wanted, whichever release wrote it. Throws `stateUnreadable`. */
export function declaredIn(outputs: Properties): ShareSpec {
  return storedSpec(argumentsIn(outputs), urnIn(outputs));
}

/** Of what only we write a state may have none, or one that somebody has spoilt. */
function objectIn(outputs: Properties, key: string): Properties {
  const value = outputs[key];
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Properties) : {};
}

/** The resource's name: the last part of its URN, `urn:pulumi:prod::kvm::...Virtio9pShare::foobar`. */
export function nameOf(inputs: Properties): string | undefined {
  return urnIn(inputs)?.split("::").at(-1);
}

/** Arguments that no schema takes are a fault of the caller: check has run before. */
export function specOf(args: Properties): ShareSpec {
  const { spec, failures } = parseSpec(argumentsIn(args));
  if (spec) return spec;
  throw argumentsError(failures, { code: "invalidArgument", machine: "this program" });
}

/** Names of outputs that are no arguments. */
export const ownOutputs = [
  "status",
  "statusReason",
  "layers",
  "domainUuid",
  "domainName",
  "directoryOwner",
  "fstabEntry",
  "mountOptions",
  "before",
] as const;

/** What the class hands in for itself, and the state keeps: how the provider is found, and the share's URN. */
const kept = ["__provider", "__logUrn"];

/** What it tells check alone: whether `tag` is only the resource's name; whether this is a preview. */
const forCheck = ["__tagIsName", "__preview"];

const isHidden = (key: string): boolean => key.startsWith("__");

function only(properties: object, isMeant: (key: string) => boolean): Record<string, unknown> {
  return Object.fromEntries(Object.entries(properties).filter(([key]) => isMeant(key)));
}

/** The user's arguments; an output property that has no value yet is none, and neither is one of a read before it. */
export function argumentsIn(properties: Properties): Properties {
  return only(properties, (key) => !isHidden(key) && !(ownOutputs as readonly string[]).includes(key));
}

/** What the class hands in for the state to keep. */
export function keptIn(properties: Properties): Properties {
  return only(properties, (key) => kept.includes(key));
}

/** Keys with two underscores that nobody hands in. */
export function strangeIn(news: Properties): Properties {
  return only(news, (key) => isHidden(key) && ![...kept, ...forCheck].includes(key));
}

/** What is still to be given back: specs that the share had before, without their connections. */
export function pendingCleanupIn(outputs: Properties): readonly ShareSpec[] {
  const found = outputs["__former"];
  return (Array.isArray(found) ? (found as readonly Properties[]) : []).map((one) =>
    storedSpec(one, urnIn(outputs)),
  );
}

/** A former spec without its ways there: only the current one's may stand in the state, and there as secrets. */
export function withoutConnections({ host, guest, ...rest }: ShareSpec): unknown {
  const withoutWay = (machine: object): object =>
    only(machine, (key) => key !== "connection" && key !== "verifyHostKey");
  return { ...rest, host: withoutWay(host), ...(guest && { guest: withoutWay(guest) }) };
}

/** Text that is equal for values that are equal, whatever the order of their keys. */
export function canonicalText(value: unknown): string {
  return JSON.stringify(value, (_key, item: unknown) =>
    typeof item === "object" && item !== null && !Array.isArray(item)
      ? Object.fromEntries(Object.entries(item).sort(([a], [b]) => (a < b ? -1 : 1)))
      : item,
  );
}

/** The domain's UUID; empty where the state has none yet. */
export function uuidIn(outputs: Properties): string {
  const uuid = outputs["domainUuid"];
  return typeof uuid === "string" ? uuid : "";
}

/** The share's URN, which the class hands in, for no call of a dynamic provider is told it; an older state has none. */
export function urnIn(properties: Properties): string | undefined {
  const urn = properties["__logUrn"];
  return typeof urn === "string" && urn.startsWith("urn:") ? urn : undefined;
}
