import { createHash } from "node:crypto";
import { comment, lines, type Script, sh } from "../remote/shell/sh";
import type { Problem, ShareError } from "../errors";
import type { Transport } from "../remote/transport";
import type { Fact, Place, Refusal, Step } from "./layer";
import { gathered, section } from "./section";

/** What shares ask of one machine, and what several ask for together: the parts of one script. */

/** A machine of one share, ready for scripts. */
export interface Machine {
  readonly place: Place;
  /** Shares whose machines have equal keys are on one machine, and share its scripts. */
  readonly key: string;
  readonly transport: Transport;
  /** Defines what facts and steps may use: on the host `vsh`, `$records`. */
  readonly prelude: Script;
  /** What is asked of it before all facts, in a section of its own. */
  readonly opening?: {
    readonly does: string;
    readonly variable: string;
    readonly script: Script;
    readonly behind: Script;
  };
  /** Of the share's domain: sets `$domain`, `$recorded`. Shares with equal keys have one domain. */
  readonly scope: { readonly key: string; readonly enter: Script; readonly beforeWrite: Script };
  /** Run once, when the steps of all shares are done; where it fails, so does each share that changed something. */
  readonly closing?: { readonly does: string; readonly run: Script };
  /** Held while something is looked at again and written: what two stacks must not do at once. */
  readonly lock: Script;
  /** What the lock and the comparison before a write need there. */
  readonly programs: readonly string[];
  readonly idleMs: number;
  /** How many shares one script may serve. */
  readonly most: number;
}

/** What is wrong on a machine; its layer is that of the place, where it is not named. */
export function problemOn({ place, transport }: Machine, refusal: Refusal, layer: string = place): Problem {
  return { layer, machine: transport.machine, ...refusal };
}

/** Facts, by what they do. */
export type FactSet = ReadonlyMap<string, Fact<unknown>>;

/** What one look found. */
export interface Snapshot {
  readonly values: ReadonlyMap<string, unknown>;
  readonly raw: ReadonlyMap<string, Buffer>;
  /** By what it does, why a fact that may fail has no value. */
  readonly failures?: ReadonlyMap<string, ShareError>;
}

/** What a look found by a fact; undefined, too, where that was not asked for or failed. */
export function valueIn<T>(look: Snapshot | undefined, { does }: Fact<T>): T | undefined {
  return look?.values.get(does) as T | undefined;
}

/** What one share wants to know of a machine. */
export interface ReadRequest {
  readonly machine: Machine;
  readonly facts: FactSet;
}

/** What one share wants to be written on a machine, and the look that its plan rests on. */
export interface WriteRequest extends ReadRequest {
  readonly seen: Snapshot;
  readonly steps: readonly Step[];
  readonly onStep?: ((does: string) => void) | undefined;
}

/** A fact, the machine of a share that asks for it, and the numbers of all that ask, and of those that must have it. */
interface Scoped {
  readonly fact: Fact<unknown>;
  readonly machine: Machine;
  readonly askers: readonly number[];
  readonly needers: readonly number[];
}

/** Every fact that is asked for, once, by a key that tells those of different domains apart. */
export function factsIn(asks: readonly ReadRequest[]): ReadonlyMap<string, Scoped> {
  const all = new Map<string, Scoped & { readonly askers: number[]; readonly needers: number[] }>();
  asks.forEach(({ machine, facts }, index) => {
    for (const fact of facts.values()) {
      const key = keyOf(fact, machine);
      const known = all.get(key) ?? { fact, machine, askers: [], needers: [] };
      all.set(key, known);
      known.askers.push(index);
      if (fact.mayFail !== true) known.needers.push(index);
    }
  });
  return all;
}

/** `$all`: the numbers of all that a script serves. */
export function serving(asks: readonly unknown[]): Script {
  return sh`all='${{ text: asks.map((_, index) => index).join(" ") }}'`;
}

/** Numbers as words of the shell. */
export function numbered(askers: readonly number[], asks: readonly unknown[]): Script {
  return { text: askers.length === asks.length ? "$all" : askers.join(" ") };
}

/** Under which a fact is looked up once: of each domain where it is a domain's own. */
export function keyOf(fact: Fact<unknown>, machine: Machine): string {
  return fact.perDomain === true ? `${machine.scope.key} ${fact.does}` : fact.does;
}

/** What looks a fact up, with its domain found first where it is a domain's own. */
function scriptOf({ fact, machine }: Scoped): Script {
  const tools = fact.mayFail === true ? (fact.tools ?? []) : [];
  return lines([
    ...tools.map(({ program }) => sh`command -v ${program} >/dev/null || exit 127`),
    ...(fact.perDomain === true ? [machine.scope.enter] : []),
    fact.script,
  ]);
}

/** Every fact that is asked for, under a name that says its place among them. */
export function lookUp(asks: readonly ReadRequest[]): Script {
  const all = [...factsIn(asks).values()];
  const looks = all.map((scoped, index) =>
    whereAskedFor(
      scoped,
      asks,
      sh`${comment(scoped.fact.does)}
${section(`fact-${index}`, scriptOf(scoped), numbered(scoped.needers, asks))}`,
    ),
  );
  return lines([gather(all, asks), ...looks]);
}

/** Runs a look if somebody asks for its fact still, and what it is read out of is there. */
function whereAskedFor({ fact, askers }: Scoped, asks: readonly ReadRequest[], look: Script): Script {
  const asked = sh`sound ${numbered(askers, asks)}`;
  return sh`if ${fact.gathers ? sh`${asked} && [ -z "$${lateOf(fact.gathers.variable)}" ]` : asked}; then
${look}
fi`;
}

/** The shell variable that says that another could not be gathered in time. */
function lateOf(variable: string): Script {
  return { text: `late_${variable}` };
}

/** Sets the variables that facts are read out of; empty where nobody needs what is in them. */
export function gather(scoped: readonly Scoped[], asks: readonly ReadRequest[]): Script {
  const gatherings = new Map(
    scoped.flatMap(({ fact: { gathers } }) => (gathers ? [[gathers.variable, gathers]] : [])),
  );
  return lines(
    [...gatherings.values()].map(({ variable, script }) => {
      const own = scoped.filter(({ fact }) => fact.gathers?.variable === variable);
      const askers = [...new Set(own.flatMap((one) => one.askers))];
      const needers = [...new Set(own.flatMap((one) => one.needers))];
      return sh`${{ text: variable }}='' ${lateOf(variable)}=''
if sound ${numbered(askers, asks)}; then
${gathered(variable, lines([sh`${isWanted(own)} || exit 0`, script]), numbered(needers, asks))}
${lateOf(variable)}=$late
fi`;
    }),
  );
}

/** A test: one of the domains needs what is gathered. */
function isWanted(scoped: readonly Scoped[]): Script {
  const tests = new Map<string, Script>();
  for (const { fact, machine } of scoped) {
    const when = fact.gathers?.when;
    if (!when) return sh`:`;
    tests.set(`${machine.scope.key} ${when.text}`, lines([machine.scope.enter, when]));
  }
  return { text: `{ ${[...tests.values()].map((test) => `( ${test.text}\n)`).join(" || ")}; }` };
}

/** Milliseconds: the longest that one of them waits for a sign of progress. */
export function idleOf(asks: readonly ReadRequest[]): number {
  return Math.max(...asks.map(({ machine }) => machine.idleMs));
}

/** What a plan rests on, and has to be as it was seen. */
export function preconditionsOf({ facts, seen }: Pick<WriteRequest, "facts" | "seen">): FactSet {
  const isCompared = ({ precondition, fixed, does }: Fact<unknown>): boolean =>
    precondition === true && (fixed !== true || seen.raw.has(does));
  return new Map([...facts].filter(([, fact]) => isCompared(fact)));
}

/** The guards of several plans, each looked up anew: `$guard_N` is the hash of what it printed. */
export function readPreconditions(guards: readonly Scoped[], asks: readonly ReadRequest[]): Script {
  if (guards.length === 0) return { text: ":" };
  const looks = guards.map((scoped, index) => {
    const look = lines([sh`exec >"$work/guard_${index}" 2>/dev/null`, scriptOf(scoped)]);
    return whereAskedFor(scoped, asks, section(`guard-${index}`, look, numbered(scoped.needers, asks)));
  });
  return sh`${lines(looks)}
while read -r sum file; do eval "${{ text: "${file##*/}" }}=$sum"; done <<SUMS
$(sha256sum "$work"/guard_*)
SUMS`;
}

/** A test: the guards of one share's plan say what its look said, and none of them passed its limit. */
export function standsAsSeen(
  { machine, facts, seen }: WriteRequest,
  index: number,
  guards: readonly string[],
): Script {
  const tests = [...preconditionsOf({ facts, seen }).values()]
    .filter(({ does }) => seen.failures?.has(does) !== true)
    .map(
      (fact) => `[ "$guard_${guards.indexOf(keyOf(fact, machine))}" = ${digest(seen.raw.get(fact.does))} ]`,
    );
  return { text: [`sound ${index}`, ...tests].join(" && ") };
}

/** Must be what the script computes of the same fact. */
function digest(raw: Buffer | undefined): string {
  return createHash("sha256")
    .update(raw ?? "")
    .digest("hex");
}
