import {
  type BeforeCopy,
  type Binding,
  type Bindings,
  failuresOf,
  recordIn,
  seenBy,
  wantsOf,
} from "../engine/binding";
import { type Machine, problemOn } from "../engine/requests";
import {
  type Context,
  type DownPhase,
  type Json,
  type Plan,
  refused,
  type Step,
  type UpPhase,
} from "../engine/layer";
import {
  forgetRecords,
  type Hold,
  holdRecords,
  leaveRecords,
  type Baseline,
  type Release,
  unlessHeld,
} from "../engine/baseline";
import type { Problem } from "../errors";
import type { ShareSpec } from "../spec/spec";
import { isLive, type Machines, type Observation } from "./observe";
import { notLookedAt } from "./warnings";

/** What is to be done: towards `spec`, away from `olds`. One function serves create, update and delete. */
export interface Request {
  /** Undefined: nothing is wanted any more. */
  readonly spec: ShareSpec | undefined;
  /** What was wanted before; what `spec` wants no more is given back. */
  readonly olds: readonly ShareSpec[];
  /** What first contact found, as the state has it: used where the host has no record. */
  readonly baseline: BeforeCopy;
  /** By layer, what the last operation saw standing, as the state has it. */
  readonly lastSeen?: Readonly<Record<string, Json>>;
  /** The guest is declared no more, and its connection was the way to what is left in it. */
  readonly guestGoes?: boolean;
  /** The resource's name in the program, for errors that name two; undefined where the state does not tell. */
  readonly name?: string | undefined;
}

/**
 * What has to be done for one share, by one observation: pure, and made anew after each look.
 *
 * What is there now counts as ours only if this share holds a record of it, or the state lists it. Another share's record
 * says what first contact found, and nothing of what this one may change.
 */
export class Plans {
  /** What first contact found, by layer: the record's where there is one, else what this look is the first to see. */
  readonly before: BeforeCopy;
  readonly #warnings = new Set<string>();

  constructor(
    private readonly machines: Machines,
    private readonly request: Request,
    private readonly bindings: Bindings,
    private readonly observation: Observation,
    before: BeforeCopy,
    private readonly others: Context["others"],
  ) {
    this.before = { ...before, ...this.#found() };
  }

  /** What a person should know of the plans that were asked for so far. */
  get warnings(): readonly string[] {
    return [...this.#warnings];
  }

  /** All that is known to fail. */
  problems(): Problem[] {
    const { ensure, release } = this.bindings;
    const of = (binding: Binding, plan: Plan | undefined): Problem[] =>
      (plan?.refuse ?? []).map((one) => problemOn(this.#machine(binding), one, binding.layer.layer));
    return [
      ...ensure.flatMap((binding) => of(binding, this.#plan(binding))),
      ...release.flatMap((binding) => of(binding, this.#restore(binding))),
    ];
  }

  /** What could not be looked at, and has to be known; each once, however many layers ask for it. */
  unknown(): Problem[] {
    const { ensure, release } = this.bindings;
    // What this share is not the one to give back need not be looked at.
    const isToRestore = (binding: Binding): boolean =>
      (this.#recorded(binding) ?? null) !== null && this.#otherHolders(binding).length === 0;
    const found = [...ensure, ...release.filter(isToRestore)]
      .flatMap((binding) => this.#failures(binding).needed)
      .map((problem) => [`${problem.machine} ${problem.what} ${problem.tried ?? ""}`, problem] as const);
    return [...new Map(found).values()];
  }

  /** In the guest, what is wanted no more. */
  guestDown(): Step[] {
    return this.#steps(this.bindings.release, "down", ["guest"]).reverse().flat();
  }

  /** In the guest, what is wanted. */
  guestUp(): Step[] {
    return this.#steps(this.bindings.ensure, "up", ["guestBoot", "guestLive"]).flat();
  }

  /** On the host: the records first, the new directory, the former device out, the new one in; last of what all have. */
  host(): Step[] {
    const ensure = this.#steps(this.bindings.ensure, "up", ["host"]);
    const steps = [
      ...(ensure[0] ?? []),
      ...this.#steps(this.bindings.release, "down", ["hostDetach"]).flat(),
      ...ensure.slice(1).flat(),
    ];
    const changing = steps.length + this.guestDown().length + this.guestUp().length > 0;
    return [...this.#recordSteps(changing), ...steps, ...this.#leaveShared()];
  }

  /** Last on the way down: directories, and the records of all that was given back. */
  giveBack(): Step[] {
    const steps = this.#steps(this.bindings.release, "down", ["hostLast"]).reverse().flat();
    return [...steps, ...this.#forget()];
  }

  /**
   * Of which old specs something is still to be given back; all of them, after a failure. One with another tag
   * too, as long as the guest was not seen: its fstab may have the line of that.
   */
  pendingCleanup(failed: boolean): readonly ShareSpec[] {
    const { spec, olds } = this.request;
    if (!spec) return [];
    const { release } = this.bindings;
    const open = failed ? release : release.filter((one) => this.#mustWait(one));
    const unseen = this.observation.guestState.kind !== "seen" && spec.guest;
    const tagged = unseen ? olds.filter(({ guest, tag }) => guest && tag !== spec.tag) : [];
    return [...new Set([...open.map((one) => one.spec), ...tagged])];
  }

  /** By layer, what stands now, in the form in which a later operation is told of it. */
  fingerprints(): Readonly<Record<string, Json>> {
    const found = this.bindings.ensure.flatMap((binding) => {
      const seen = this.#seen(binding);
      const stands: unknown = seen && binding.layer.fingerprint?.(seen);
      return stands === undefined ? [] : [[binding.name, stands as Json] as const];
    });
    return Object.fromEntries(found);
  }

  // Plans of single bindings.

  #plan(binding: Binding): Plan | undefined {
    const seen = this.#seen(binding);
    const known = this.#sameIdentity(binding) !== undefined;
    const before = this.#knownBefore(binding);
    const foreign = before === undefined ? this.#record(binding) : undefined;
    return seen && binding.layer.plan(binding.want, seen, before, known, this.#context(foreign));
  }

  #context(foreign?: Context["foreign"]): Context {
    const specs = this.#specs();
    return {
      tags: new Set(specs.map(({ tag }) => tag)),
      mountPoints: new Set(specs.flatMap(({ guest }) => guest?.mountPoint ?? [])),
      others: this.others,
      lastSeen: this.request.lastSeen ?? {},
      foreign,
    };
  }

  /** What is wanted, and what was before. */
  #specs(): readonly ShareSpec[] {
    const { spec, olds } = this.request;
    return spec ? [spec, ...olds] : olds;
  }

  #record(binding: Binding): Baseline | undefined {
    return recordIn(binding, this.observation.host);
  }

  /** Nothing when others hold it, or when we never changed it. */
  #restore(binding: Binding): Plan | undefined {
    const seen = this.#seen(binding);
    const before = this.#recorded(binding);
    const others = this.#otherHolders(binding);
    // Null: nothing to give back.
    if (!seen || (before ?? null) === null || this.#mustWait(binding)) return undefined;
    if (others.length > 0) {
      const isHeldByUs = this.#record(binding)?.references.length !== others.length;
      if (!isHeldByUs) return undefined;
      if (others.every((holder) => holder.startsWith("inside "))) return heldInside(binding, others);
      return { steps: [], warnings: leftFor(binding, others) };
    }
    const plan = binding.layer.restore(binding.want, before, seen, this.#context());
    const unseen = this.#failures(binding).spared.map(notLookedAt);
    return unseen.length === 0 ? plan : { ...plan, warnings: [...unseen, ...(plan.warnings ?? [])] };
  }

  #recorded(binding: Binding): Json | undefined {
    // The state's copy speaks of the newest old spec alone, and of its own things.
    const copy = binding.spec === this.request.olds[0] ? this.request.baseline[binding.name] : undefined;
    return this.#record(binding)?.before ?? copy;
  }

  #failures(binding: Binding): ReturnType<typeof failuresOf> {
    return failuresOf(binding, this.observation.host, this.observation.guest);
  }

  #seen(binding: Binding): object | undefined {
    return seenBy(binding, this.observation.host, this.observation.guest);
  }

  #knownBefore(binding: Binding): Json | undefined {
    const entry = this.#record(binding);
    const isOurs = entry && entry.references.length > this.#otherHolders(binding).length;
    return isOurs ? entry.before : this.#sameIdentity(binding);
  }

  /** The state's copy, where it speaks of the same thing as the new spec. */
  #sameIdentity(binding: Binding): Json | undefined {
    const { layer, record, name } = binding;
    const [old] = this.request.olds;
    const wants = old ? wantsOf(layer, old) : [];
    const isSame = wants.some((want) => layer.identity(want) === record.identity);
    return isSame ? this.request.baseline[name] : undefined;
  }

  #found(): BeforeCopy {
    const found = this.bindings.ensure.flatMap((binding) => {
      const { layer, name, want } = binding;
      const seen = this.#seen(binding);
      const known = this.#record(binding)?.before ?? this.#sameIdentity(binding);
      const before: unknown = known === undefined && seen ? layer.remember(want, seen) : known;
      return before === undefined ? [] : [[name, before as Json] as const];
    });
    return Object.fromEntries(found);
  }

  // Holders.

  /** Who holds a record under no name of this very share: neither its own, nor one of the specs that it had before. */
  #otherHolders(binding: Binding): readonly string[] {
    // A domain that was defined anew has another UUID than the one that the state and the records know.
    const uuids = [this.observation.info?.uuid, this.machines.knownUuid].filter((uuid) => uuid);
    const own = new Set(this.#specs().flatMap(({ tag }) => uuids.map((uuid) => `${uuid}/${tag}`)));
    return (this.#record(binding)?.references ?? []).filter((holder) => !own.has(holder));
  }

  /**
   * In an update: a directory that the running QEMU still has is given back when it lets go, with what it uses of it; what
   * is in a guest that cannot be looked at when it can.
   */
  #mustWait(binding: Binding): boolean {
    if (!this.request.spec) return false;
    if (binding.layer.place === "guest") return this.#seen(binding) === undefined;
    const { source } = binding.spec;
    const moved = source !== this.request.spec.source;
    return binding.layer.usedByQemu === true && moved && isLive(this.observation.host, source);
  }

  // Steps.

  /** A list of steps for each binding, in the order of the layers. */
  #steps(
    bindings: readonly Binding[],
    way: "up" | "down",
    phases: readonly (UpPhase | DownPhase)[],
  ): Step[][] {
    return bindings
      .filter((binding) => phases.includes(binding.layer[way]))
      .map((binding) => {
        const plan = way === "up" ? this.#plan(binding) : this.#restore(binding);
        for (const text of plan?.warnings ?? []) this.#warnings.add(text);
        const { layer, shared, place } = binding.layer;
        return (plan?.steps ?? []).map((step) => {
          if (!shared || place !== "host") return { ...step, layer };
          if (way === "down") return { ...step, run: unlessHeld(binding.record, step.run), layer };
          // Its own hold is undone later.
          return { ...step, ...(step.undo && { undo: unlessHeld(binding.record, step.undo, 1) }), layer };
        });
      });
  }

  /**
   * Before the first change, what was found of every layer that could be looked at goes into the record;
   * and a share joins a record that another one holds, even where it finds nothing to change. A layer
   * that remembers nothing (null) has nothing to give back.
   */
  #recordSteps(changing: boolean): Step[] {
    const holds = this.bindings.ensure.flatMap((binding): Hold[] => {
      const entry = this.#record(binding);
      const before = entry?.before ?? this.before[binding.name] ?? null;
      if (!this.#seen(binding) || (!entry && (!changing || before === null))) return [];
      const holder = `${this.observation.info?.uuid ?? this.machines.knownUuid}/${binding.spec.tag}`;
      const holders = entry?.references ?? [];
      const others = this.#otherHolders(binding);
      const leaving = holders.filter((one) => one !== holder && !others.includes(one));
      const joining = holders.includes(holder) ? [] : [holder];
      return joining.length + leaving.length === 0 ? [] : [{ at: binding.record, before, joining, leaving }];
    });
    return holds.length === 0 ? [] : [holdRecords(holds)];
  }

  /**
   * Of what all shares of a machine have: which of them is the last is seen when all have let go. Who has it alone in the
   * guest has given it back by now.
   */
  #leaveShared(): Step[] {
    const releases = this.bindings.release
      .filter(({ layer }) => layer.shared === true)
      .filter((binding) => binding.layer.place === "host" || this.#otherHolders(binding).length > 0)
      .flatMap((binding) => this.#releaseOf(binding));
    return releases.length === 0 ? [] : [leaveRecords(releases)];
  }

  /** Two shares of one thing take turns, for the last one is to give it back. */
  #forget(): Step[] {
    const releases = this.bindings.release.flatMap((binding) => this.#releaseOf(binding));
    return releases.length === 0 ? [] : [forgetRecords(releases)];
  }

  /** What cannot be given back, and what is not ours, is not let go of. */
  #releaseOf(binding: Binding): Release[] {
    const entry = this.#record(binding);
    if (!entry || this.#mustWait(binding) || (this.#restore(binding)?.refuse ?? []).length > 0) return [];
    const others = this.#otherHolders(binding);
    const leaving = entry.references.filter((holder) => !others.includes(holder));
    if (others.length > 0 && leaving.length === 0) return [];
    return [{ at: binding.record, leaving }];
  }

  #machine(binding: Binding): Machine {
    const { info } = this.observation;
    if (binding.layer.place === "guest" && info) return this.machines.guest(info);
    return this.machines.host;
  }
}

/** 0.1.0 let a share lie in the tree that another one took over, and took the two back in this order alone. */
function heldInside({ record }: Binding, others: readonly string[]): Plan {
  return refused(
    "treeOfOthers",
    `${record.identity} was taken over, by release 0.1.0, with what is in it of ${others.join(", ").replaceAll("inside ", "")}`,
    "destroy that share first",
  );
}

/** Of a domain's own things, such as the boot file, nobody expects that one share of several takes them. */
function leftFor({ record }: Binding, others: readonly string[]): string[] {
  if (record.scope === "domain") return [];
  return [`${record.name} ${record.identity} is left as it is, for ${others.join(", ")} still has it`];
}
