import type { BeforeCopy } from "./engine/binding";
import type { Json } from "./engine/concern";
import { ShareError } from "./errors";
import type { Request } from "./reconcile/plans";
import { parseSpec, type ShareSpec } from "./spec";
import { storedSpec } from "./stored-spec";

/** What Pulumi's state keeps of a share: the user's arguments, its outputs, and what is only ours. Pure. */

/** Inputs or outputs as Pulumi stores them. Keys that begin with two underscores are not the user's. */
export type Properties = Readonly<Record<string, unknown>>;

/** What the state says of a share: what it wanted, what first contact found, what stood. */
export function fromState(outputs: Properties): Omit<Request, "spec"> {
  return {
    olds: [declaredIn(outputs), ...formerIn(outputs)],
    before: beforeOf(outputs),
    stood: objectIn(outputs, "__stood") as Record<string, Json>,
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
  const parsed = parseSpec(split(args).args);
  if (!parsed.failures) return parsed.spec;
  const [first, ...rest] = parsed.failures.map(({ property, reason }) => ({
    code: "invalidArgument" as const,
    layer: "arguments",
    machine: "this program",
    what: `${property} ${reason}`,
  }));
  throw new ShareError(
    first
      ? [first, ...rest]
      : { code: "invalidArgument", layer: "arguments", machine: "this program", what: "no arguments" },
  );
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

/** The user's arguments, and what begins with two underscores. */
export function split(properties: Properties): {
  readonly args: Record<string, unknown>;
  readonly hidden: Properties;
} {
  const entries = Object.entries(properties);
  const isHidden = ([key]: [string, unknown]): boolean => key.startsWith("__");
  return {
    // An output property that has no value yet is no argument, and neither is one of a read before it.
    args: Object.fromEntries(entries.filter((entry) => !isHidden(entry) && !isOutput(entry[0]))),
    hidden: Object.fromEntries(entries.filter(isHidden)),
  };
}

/** Of the keys with two underscores, those that only outputs have. */
const ownHidden: readonly string[] = ["__former", "__stood", "__version"];

/** What the class hands in for itself, and the state keeps: how the provider is found, and the share's URN. */
const kept: readonly string[] = ["__provider", "__logUrn"];

/** What it tells check alone: whether `tag` is only the resource's name; whether this is a preview. */
const told: readonly string[] = ["__tagIsName", "__preview"];

/** Keys with two underscores of a program's arguments: those that the state keeps, and those that nobody hands in. */
export function handedIn(hidden: Properties): { readonly kept: Properties; readonly strange: Properties } {
  const entries = Object.entries(hidden);
  return {
    kept: Object.fromEntries(entries.filter(([key]) => kept.includes(key))),
    strange: Object.fromEntries(entries.filter(([key]) => !kept.includes(key) && !told.includes(key))),
  };
}

/** What the class hands in for itself; what we keep for ourselves in the outputs is no input. */
export function hiddenInputs(outputs: Properties): Properties {
  return Object.fromEntries(
    Object.entries(split(outputs).hidden).filter(([key]) => !ownHidden.includes(key)),
  );
}

function isOutput(key: string): boolean {
  return (ownOutputs as readonly string[]).includes(key);
}

/** The user's arguments. */
export function argumentsIn(outputs: Properties): Properties {
  return split(outputs).args;
}

/** What first contact found, by layer. */
export function beforeOf(outputs: Properties): BeforeCopy {
  const found = Object.entries(objectIn(outputs, "before") as Record<string, Json>);
  return Object.fromEntries(found.filter(([, value]) => typeof value === "object" && !Array.isArray(value)));
}

/** What is still to be given back: specs that the share had before, without their connections. */
export function formerIn(outputs: Properties): readonly ShareSpec[] {
  const found = outputs["__former"];
  return (Array.isArray(found) ? (found as readonly Properties[]) : []).map((one) =>
    storedSpec(one, urnIn(outputs)),
  );
}

/** A former spec without its ways there: only the current one's may stand in the state, and there as secrets. */
export function withoutConnections(spec: ShareSpec): unknown {
  return { ...spec, host: without(spec.host), ...(spec.guest ? { guest: without(spec.guest) } : {}) };
}

function without(machine: object): unknown {
  const way = ["connection", "verifyHostKey"];
  return Object.fromEntries(Object.entries(machine).filter(([key]) => !way.includes(key)));
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
