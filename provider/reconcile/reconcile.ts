import { concerns } from "../concerns/concerns";
import { liveDomain } from "../concerns/domain-facts";
import {
  planPower,
  type PowerJob,
  type PowerPlan,
  type PowerSeen,
  powerFacts,
} from "../concerns/domain-power";
import { wantedDevice } from "../concerns/domain-device";
import {
  type BeforeCopy,
  bind,
  type Binding,
  type Bindings,
  factsOf,
  recordIn,
  seenBy,
} from "../engine/binding";
import type { DownPhase, Json, Plan, Step, UpPhase } from "../engine/concern";
import { exclusively } from "../engine/locks";
import { type FactSet, type Look, type Machine, write } from "../engine/place";
import { removeRecord, writeRecord } from "../engine/record";
import { type Problem, ShareError } from "../errors";
import type { Domain } from "../formats/domain-xml";
import type { ShareSpec } from "../spec";
import { type PowerAnswer, type PowerAsk, powerFailure, powerGate } from "./power-cycle";
import { hostFacts, type Machines, type Observation, observe, observeGuest } from "./observe";

/** What is to be done: towards `spec`, away from `olds`. One function serves create, update and delete. */
export interface Request {
  /** Undefined: nothing is wanted any more. */
  readonly spec: ShareSpec | undefined;
  /** What was wanted before; what `spec` wants no more is given back. */
  readonly olds: readonly ShareSpec[];
  /** What first contact found, as the state has it: used where the host has no record. */
  readonly before: BeforeCopy;
}

/**
 * What the domain needs for a share: its device live, or, where `spec` wants none, nothing live under
 * the tag but what the definition still declares (it stood there before us).
 */
export function powerOf(host: Look, share: ShareSpec, spec: ShareSpec | undefined): PowerPlan {
  const seen = Object.fromEntries(
    Object.entries(powerFacts).map(([name, fact]) => [name, host.values.get(fact.key)]),
  ) as unknown as PowerSeen;
  // Nobody who gives a share up wants its domain started.
  if (!spec && !seen.live) return { kind: "none" };
  const declared = seen.persistent?.devices9p.find((device) => device.tag === share.tag);
  return planPower(share.power, seen, share.tag, spec ? wantedDevice(spec) : declared);
}

/** What a person is told while it works. */
export interface Teller {
  readonly step: (does: string) => void;
  readonly warn: (text: string) => void;
}

/** What it came to. */
export interface Outcome {
  readonly bindings: Bindings;
  readonly observation: Observation;
  readonly power: PowerPlan;
  readonly before: BeforeCopy;
  /** Old specs of which something is still to be given back, when a running QEMU lets go of it. */
  readonly former: readonly ShareSpec[];
  /** Whether a machine was changed. */
  readonly changed: boolean;
  /** After the first change no failure is thrown: it comes with what was seen. */
  readonly failure: ShareError | undefined;
}

/** How often a plan is made anew when another process changes what it relied on. */
const attempts = 6;

/**
 * Looks at everything, refuses before the first change if anything is known to fail, then changes only
 * what differs, in an order in which a crash at any point leaves the guest able to boot.
 *
 * Down in the guest; up on the host, device out, device in; up in the guest; the power cycle; a new look,
 * and what only the live device allows; last what the host gives back. Throws a ShareError only while
 * nothing has been changed.
 */
export async function reconcile(machines: Machines, request: Request, teller: Teller): Promise<Outcome> {
  const run = new Run(machines, request, teller);
  const visit = powerGate.enter(`${machines.key} ${(request.spec ?? request.olds[0])?.domain ?? ""}`);
  try {
    return await run.all(visit.ask);
  } finally {
    visit.leave();
  }
}

/** The state of one reconcile: the newest observation, and what has been done so far. */
class Run {
  readonly #machines: Machines;
  readonly #request: Request;
  readonly #teller: Teller;
  readonly #bindings: Bindings;
  #before: BeforeCopy;
  #observation!: Observation;
  #changed = false;
  #failure: ShareError | undefined;
  readonly #warned = new Set<string>();

  constructor(machines: Machines, request: Request, teller: Teller) {
    this.#machines = machines;
    this.#request = request;
    this.#teller = teller;
    this.#bindings = bind(concerns, request.spec, request.olds);
    this.#before = request.before;
  }

  async all(ask: (ask: PowerAsk) => Promise<PowerAnswer>): Promise<Outcome> {
    try {
      await exclusively(this.#machines.key, () => this.#untilSettled(true));
      const power = this.#power();
      if (power.kind === "pending") this.#warn(power.says);
      if (power.kind !== "none" && power.kind !== "pending" && !this.#failed()) {
        await this.#cycle(power.kind, ask);
        if (!this.#failed()) await exclusively(this.#machines.key, () => this.#untilSettled(false));
      }
      if (!this.#failed()) await exclusively(this.#machines.key, () => this.#giveBackOnHost());
    } catch (error) {
      // Before the first change nothing needs to be recorded: the plain error is the whole truth.
      if (!this.#changed) throw error;
      this.#failure = error instanceof ShareError ? error : this.#unforeseen(error);
    }
    if (this.#failure && !this.#changed) throw this.#failure;
    return {
      bindings: this.#bindings,
      observation: this.#observation,
      power: this.#power(),
      before: this.#before,
      former: this.#former(),
      changed: this.#changed,
      failure: this.#failure,
    };
  }

  /** After a change every failure is recorded with what was seen, a fault of our own too. */
  #unforeseen(error: unknown): ShareError {
    const { machine } = this.#machines.host.transport;
    const what = `a fault of this provider: ${String(error)}`;
    return new ShareError(
      { code: "transportFailed", layer: "host", machine, what, remedy: "report it" },
      { cause: error },
    );
  }

  #failed(): boolean {
    return this.#failure !== undefined;
  }

  /** Look, plan, write; again when a write found that the plan is out of date. */
  async #untilSettled(fromHost: boolean): Promise<void> {
    for (let attempt = 0; attempt < attempts; attempt++) {
      this.#observation =
        fromHost || attempt > 0
          ? await observe(this.#machines, this.#bindings)
          : await observeGuest(this.#machines, this.#bindings, this.#observation.host);
      this.#refuse();
      this.#rememberBefore();
      const settled =
        (await this.#writeGuest(this.#guestDown())) &&
        (await this.#writeHost(this.#hostSteps())) &&
        (await this.#writeGuest(this.#guestUp()));
      if (settled || this.#failure) return;
    }
    throw this.#keepsChanging();
  }

  #keepsChanging(): ShareError {
    return new ShareError({
      code: "machineKeepsChanging",
      layer: "host",
      machine: this.#machines.host.transport.machine,
      what: `what this share relies on changed ${attempts} times while it was about to be written`,
      remedy: "see who else changes the directory, the domain or the guest's fstab, and try again",
    });
  }

  // What is known to fail is said before the first change.

  #refuse(): void {
    const problems = [...this.#guestProblems(), ...this.#planProblems()];
    const [first, ...rest] = problems;
    if (first) throw new ShareError([first, ...rest]);
  }

  #planProblems(): Problem[] {
    const { ensure, release } = this.#bindings;
    return [
      ...ensure.map((binding) => [binding, this.#plan(binding)] as const),
      ...release.map((binding) => [binding, this.#restore(binding)] as const),
    ].flatMap(([binding, plan]) =>
      (plan?.refuse ?? []).map((refusal) => ({
        layer: binding.concern.layer,
        machine: this.#machineName(binding),
        ...refusal,
      })),
    );
  }

  /** A guest that can never be reached is an error; one that cannot be now is a status, unless it is to be unmounted. */
  #guestProblems(): Problem[] {
    const { guestState } = this.#observation;
    if (guestState.kind !== "unreachable") return [];
    const { problem } = guestState;
    const never = problem.code === "guestAgentMissing" || problem.code === "guestAgentRefusesExec";
    const mustUnmount = this.#bindings.release.some((binding) => binding.concern.layer === "mount");
    if (never || mustUnmount) return [problem];
    this.#warn(`${problem.what}: the guest is left as it is until the next up`);
    return [];
  }

  // Plans of single bindings.

  #plan(binding: Binding): Plan | undefined {
    const seen = this.#seen(binding);
    const known = this.#sameIdentity(binding) !== undefined;
    return seen && binding.concern.plan(binding.want, seen, this.#knownBefore(binding), known);
  }

  /** Nothing when others hold it, or when we never changed it. */
  #restore(binding: Binding): Plan | undefined {
    const seen = this.#seen(binding);
    const entry = recordIn(binding, this.#observation.host);
    const before = entry?.before ?? this.#copyOf(binding);
    if (!seen || before === undefined || this.#otherHolders(binding).length > 0) return undefined;
    if (entry && entry.holders.length === this.#otherHolders(binding).length) return undefined;
    if (this.#mustWait(binding)) return undefined;
    return binding.concern.restore(binding.want, before, seen);
  }

  /** The state's copy speaks of the newest old spec alone, not of those before it. */
  #copyOf(binding: Binding): Json | undefined {
    return binding.spec === this.#request.olds[0] ? this.#request.before[binding.concern.layer] : undefined;
  }

  #seen(binding: Binding): object | undefined {
    return seenBy(binding, this.#observation.host, this.#observation.guest);
  }

  /**
   * Undefined at first contact: only a record that this share holds, or the state, says that what is
   * there now may be our own work. Another share's record says nothing of what we may change.
   */
  #knownBefore(binding: Binding): Json | undefined {
    const entry = recordIn(binding, this.#observation.host);
    const own = this.#ownHolders();
    return entry?.holders.some((holder) => own.has(holder)) === true
      ? entry.before
      : this.#sameIdentity(binding);
  }

  #holder(binding: Binding): string {
    return `${this.#observation.info?.uuid ?? this.#machines.knownUuid}/${binding.spec.tag}`;
  }

  /** The names under which this very share holds records: its own, and those of the specs that it had before. */
  #ownHolders(): ReadonlySet<string> {
    const { spec, olds } = this.#request;
    // A domain that was defined anew has another UUID than the one that the state and the records know.
    const uuids = [this.#observation.info?.uuid ?? "", this.#machines.knownUuid].filter(
      (uuid) => uuid !== "",
    );
    return new Set(
      [...(spec ? [spec] : []), ...olds].flatMap(({ tag }) => uuids.map((uuid) => `${uuid}/${tag}`)),
    );
  }

  #otherHolders(binding: Binding): readonly string[] {
    const holders = recordIn(binding, this.#observation.host)?.holders ?? [];
    const own = this.#ownHolders();
    return holders.filter((holder) => !own.has(holder));
  }

  /**
   * In an update: a directory that the running QEMU still has is given back when it lets go, and what
   * is in a guest that cannot be looked at when it can.
   */
  #mustWait(binding: Binding): boolean {
    if (!this.#request.spec) return false;
    if (binding.concern.place === "guest") return this.#seen(binding) === undefined;
    if (binding.concern.layer !== "directory") return false;
    const live = this.#observation.host.values.get(liveDomain.key) as Domain | undefined;
    return live?.devices9p.some((device) => device.source === binding.spec.source) === true;
  }

  /** Of which old specs something is still to be given back: all of them, when it came to a failure. */
  #former(): readonly ShareSpec[] {
    if (!this.#request.spec) return [];
    const { release } = this.#bindings;
    const open = this.#failure ? release : release.filter((one) => this.#mustWait(one));
    return [...new Set(open.map((one) => one.spec))];
  }

  // The steps of each script.

  #guestDown(): Step[] {
    return this.#steps(this.#bindings.release, "down", ["guest"]).reverse().flat();
  }

  #guestUp(): Step[] {
    return this.#steps(this.#bindings.ensure, "up", ["guestBoot", "guestLive"]).flat();
  }

  #hostSteps(): Step[] {
    const ensure = this.#steps(this.#bindings.ensure, "up", ["host"]);
    const steps = [
      ...(ensure[0] ?? []),
      ...this.#steps(this.#bindings.release, "down", ["hostDetach"]).flat(),
      ...ensure.slice(1).flat(),
    ];
    const changing = steps.length + this.#guestDown().length + this.#guestUp().length > 0;
    return [...this.#recordSteps(changing), ...steps];
  }

  /** A list of steps for each binding, in the order of the concerns; warnings are told on the way. */
  #steps(
    bindings: readonly Binding[],
    way: "up" | "down",
    phases: readonly (UpPhase | DownPhase)[],
  ): Step[][] {
    return bindings
      .filter((binding) => phases.includes(binding.concern[way]))
      .map((binding) => {
        const plan = way === "up" ? this.#plan(binding) : this.#restore(binding);
        plan?.warnings?.forEach((text) => {
          this.#warn(text);
        });
        return (plan?.steps ?? []).map((step) => ({ ...step, layer: binding.concern.layer }));
      });
  }

  /**
   * Before the first change, what was found of every layer that could be looked at goes into the record;
   * and a share joins a record that another one holds, even where it finds nothing to change. A layer
   * that remembers nothing (null) has nothing to give back.
   */
  #recordSteps(changing: boolean): Step[] {
    return this.#bindings.ensure.flatMap((binding) => {
      const seen = this.#seen(binding);
      const entry = recordIn(binding, this.#observation.host);
      const holder = this.#holder(binding);
      if (!seen || entry?.holders.includes(holder) || (!entry && !changing)) return [];
      const before = entry?.before ?? this.#before[binding.concern.layer] ?? null;
      if (before === null) return [];
      const next = {
        version: 1 as const,
        layer: binding.concern.layer,
        identity: binding.record.identity,
        before,
        holders: [...this.#otherHolders(binding), holder],
      };
      return [{ ...writeRecord(binding.record, next, entry), layer: binding.concern.layer }];
    });
  }

  /** The copy for the outputs: the record's where there is one, else what this look is the first to see. */
  #rememberBefore(): void {
    const found = this.#bindings.ensure.flatMap((binding) => {
      const { layer } = binding.concern;
      const seen = this.#seen(binding);
      const known = recordIn(binding, this.#observation.host)?.before ?? this.#sameIdentity(binding);
      if (known !== undefined) return [[layer, known] as const];
      return seen ? [[layer, binding.concern.remember(binding.want, seen) as Json] as const] : [];
    });
    this.#before = { ...this.#before, ...Object.fromEntries(found) };
  }

  /** The state's copy, where it speaks of the same thing as the new spec. */
  #sameIdentity(binding: Binding): Json | undefined {
    const same = this.#request.olds.slice(0, 1).some((old) => {
      const want: unknown = binding.concern.want(old);
      return want !== undefined && binding.concern.identity(want) === binding.record.identity;
    });
    return same ? this.#request.before[binding.concern.layer] : undefined;
  }

  // Carrying out.

  async #writeHost(steps: readonly Step[]): Promise<boolean> {
    if (steps.length === 0) return true;
    const { host } = this.#observation;
    return this.#write(this.#machines.host, hostFacts(this.#bindings), host, steps, (look) => {
      this.#observation = { ...this.#observation, host: look };
    });
  }

  async #writeGuest(steps: readonly Step[]): Promise<boolean> {
    const { guest, info } = this.#observation;
    if (steps.length === 0 || !guest || !info || this.#failure) return true;
    return this.#write(this.#machines.guest(info), factsOf(this.#bindings, "guest"), guest, steps, (look) => {
      this.#observation = { ...this.#observation, guest: look };
    });
  }

  /** False: the plan was out of date, and nothing was written. */
  async #write(
    machine: Machine,
    facts: FactSet,
    seen: Look,
    steps: readonly Step[],
    took: (look: Look) => void,
  ): Promise<boolean> {
    // From here on a lost connection leaves open what was done.
    const before = this.#changed;
    this.#changed = true;
    const written = await write(machine, facts, seen, steps, this.#teller.step).catch((error: unknown) => {
      // Who did not get the lock has written nothing.
      if (error instanceof ShareError && error.code === "lockHeld") this.#changed = before;
      throw error;
    });
    this.#changed = before || written.kept > 0;
    took(written.look);
    if (written.failed) this.#failure = new ShareError(written.failed);
    return !written.stale;
  }

  #power(): PowerPlan {
    const share = this.#request.spec ?? this.#request.olds[0];
    if (!share || this.#failure) return { kind: "none" };
    return powerOf(this.#observation.host, share, this.#request.spec);
  }

  async #cycle(kind: PowerJob["kind"], ask: (ask: PowerAsk) => Promise<PowerAnswer>): Promise<void> {
    const share = this.#request.spec ?? this.#request.olds[0];
    const { info, guestState } = this.#observation;
    if (!share || !info) return;
    this.#changed = true;
    const request: PowerAsk = {
      share,
      domain: info,
      machine: this.#machines.host,
      kind,
      removable: this.#request.spec !== undefined,
      waitForAgent: guestState.kind !== "notAsked",
      facts: hostFacts(this.#bindings),
      onLine: this.#teller.step,
    };
    const { log, look } = await ask(request);
    this.#observation = { ...this.#observation, host: look };
    this.#failure = powerFailure(request, log);
  }

  /** Last on the way down: labels and directories, and the records of all that was given back. */
  async #giveBackOnHost(): Promise<void> {
    for (let attempt = 0; attempt < attempts; attempt++) {
      const steps = [
        ...this.#steps(this.#bindings.release, "down", ["hostLast"]).reverse().flat(),
        ...this.#bindings.release.flatMap((binding) => this.#forget(binding)),
      ];
      if (await this.#writeHost(steps)) return;
      this.#observation = await observe(this.#machines, this.#bindings);
    }
    throw this.#keepsChanging();
  }

  #forget(binding: Binding): Step[] {
    const entry = recordIn(binding, this.#observation.host);
    if (!entry || this.#mustWait(binding)) return [];
    const others = this.#otherHolders(binding);
    if (others.length === entry.holders.length) return [];
    if (others.length === 0) return [removeRecord(binding.record)];
    return [writeRecord(binding.record, { ...entry, holders: others }, entry)];
  }

  #machineName(binding: Binding): string {
    const { info } = this.#observation;
    if (binding.concern.place === "guest" && info) return this.#machines.guest(info).transport.machine;
    return this.#machines.host.transport.machine;
  }

  #warn(text: string): void {
    if (this.#warned.has(text)) return;
    this.#warned.add(text);
    this.#teller.warn(text);
  }
}
