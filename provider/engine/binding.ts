import type { Problem } from "../errors";
import type { ShareSpec } from "../spec/spec";
import type { AnyLayer, Fact, Json, Needs, Purpose } from "./layer";
import type { FactSet, Snapshot } from "./requests";
import { placeKey, type Baseline, type BaselineKey, type Records, recordsOf } from "./baseline";

/** One layer bound to what one spec wants of it: to be ensured, or to be given back. */
export interface Binding {
  readonly layer: AnyLayer;
  /** Under which its record and the copies in the state go: the layer's name, where that has one thing only. */
  readonly name: string;
  readonly want: unknown;
  readonly spec: ShareSpec;
  readonly record: BaselineKey;
  /** Reads it, with others. */
  readonly records: Fact<Records>;
  /** What the layer asks of the machines, by its own names. */
  readonly facts: Readonly<Record<string, Fact<unknown>>>;
  /** Those of them that it can do without. */
  readonly spared: ReadonlySet<string>;
}

/** What is to be ensured for the new spec, and what only the old ones wanted. */
export interface Bindings {
  readonly ensure: readonly Binding[];
  readonly release: readonly Binding[];
}

/**
 * Every layer of `spec`, and every layer of `olds` that `spec` does not want in that identity.
 *
 * `purpose`: what is wanted is to be made, or only to be compared with what is there.
 */
export function bind(
  layers: readonly AnyLayer[],
  spec: ShareSpec | undefined,
  olds: readonly ShareSpec[],
  purpose: Exclude<Purpose, "restore"> = "plan",
): Bindings {
  const ensure = spec ? bindAll(layers, spec, purpose) : [];
  const taken = new Set(ensure.map(({ record }) => placeKey(record)));
  const release = olds
    .flatMap((old) => bindAll(layers, old, "restore"))
    .filter(({ record }) => {
      const key = placeKey(record);
      return !taken.has(key) && taken.add(key);
    });
  const all = [...ensure, ...release];
  const recordsWhere = (shared: boolean): Fact<Records> =>
    recordsOf(all.flatMap(({ layer, record }) => ((layer.shared ?? false) === shared ? record : [])));
  const own = recordsWhere(false);
  // Plans rest on nobody else's part in these.
  const shared = { ...recordsWhere(true), precondition: false };
  const read = (binding: Unread): Binding => ({ ...binding, records: binding.layer.shared ? shared : own });
  return { ensure: ensure.map(read), release: release.map(read) };
}

/** Every fact that the bindings ask for in one place, each once, records included: without `more` and those nothing goes on. */
export function factsOf(
  bindings: Bindings,
  place: "host" | "guest",
  more: readonly Fact<unknown>[] = [],
): FactSet {
  const all = [...bindings.ensure, ...bindings.release];
  const own = all.flatMap(({ facts }) => Object.values(facts));
  const needed = all.map(({ records }) => records);
  const always = new Set([...more, ...needed].map(({ does }) => does));
  return new Map(
    [...more, ...own, ...needed]
      .filter((fact) => fact.place === place)
      .map((fact) => [fact.does, always.has(fact.does) ? fact : { ...fact, mayFail: true }]),
  );
}

/** What a layer sees; undefined when a place that it asks was not looked at, or the look at what it needs failed. */
export function seenBy(binding: Binding, host: Snapshot, guest: Snapshot | undefined): object | undefined {
  const entries = Object.entries(binding.facts).map(([name, fact]) => {
    const look = fact.place === "host" ? host : guest;
    const found =
      look?.values.has(fact.does) === true ||
      (binding.spared.has(name) && look?.failures?.has(fact.does) === true);
    return [name, found, look?.values.get(fact.does)] as const;
  });
  if (entries.some(([, found]) => !found)) return undefined;
  return Object.fromEntries(entries.map(([name, , value]) => [name, value]));
}

/** What a binding asked for and could not be looked at: what it needs, and what it can do without. */
export function failuresOf(
  binding: Binding,
  host: Snapshot,
  guest: Snapshot | undefined,
): { readonly needed: readonly Problem[]; readonly spared: readonly Problem[] } {
  const failed = Object.entries(binding.facts).flatMap(([name, fact]) => {
    const error = (fact.place === "host" ? host : guest)?.failures?.get(fact.does);
    return (error?.problems ?? []).map((problem) => [binding.spared.has(name), problem] as const);
  });
  const which = (spared: boolean) => failed.filter(([is]) => is === spared).map(([, problem]) => problem);
  return { needed: which(false), spared: which(true) };
}

/** The record of a binding, as the look found it. */
export function recordIn(binding: Binding, host: Snapshot): Baseline | undefined {
  const records = host.values.get(binding.records.does) as Records | undefined;
  return records?.get(placeKey(binding.record));
}

/** What first contact found, by name: the copy that the outputs carry. */
export type BeforeCopy = Readonly<Record<string, Json>>;

/** What a spec wants of a layer; empty: nothing. */
export function wantsOf(layer: AnyLayer, spec: ShareSpec): readonly unknown[] {
  if ("wants" in layer) return layer.wants(spec);
  const want: unknown = layer.want(spec);
  return want === undefined ? [] : [want];
}

/** A binding before all of them are known. */
type Unread = Omit<Binding, "records">;

function bindAll(layers: readonly AnyLayer[], spec: ShareSpec, purpose: Purpose): Unread[] {
  return layers.flatMap((layer) =>
    wantsOf(layer, spec).map((want) => {
      const name = layer.name?.(want) ?? layer.layer;
      const record = { layer: layer.layer, name, identity: layer.identity(want), scope: layer.scope };
      return { layer, name, want, spec, record, ...asked(layer, want, purpose) };
    }),
  );
}

/** The facts that a layer asks for: to make something all of them, else those that it says it needs for that. */
function asked(layer: AnyLayer, want: unknown, purpose: Purpose): Pick<Binding, "facts" | "spared"> {
  const facts = layer.facts(want, purpose) as Record<string, Fact<unknown>>;
  if (purpose === "plan" || !layer.needs) return { facts, spared: new Set() };
  const needs = layer.needs[purpose] as Needs<Record<string, unknown>>;
  return {
    facts: Object.fromEntries(Object.entries(facts).filter(([name]) => name in needs)),
    spared: new Set(Object.keys(needs).filter((name) => needs[name] === "may")),
  };
}
