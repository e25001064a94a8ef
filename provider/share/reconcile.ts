import { layers } from "../layers/index";
import { planPower, type PowerJob, type PowerPlan, powerFacts } from "../power/plan";
import { wantedDevice } from "../drivers/ninep/device";
import { otherSpellings, spelledAs } from "../layers/shared/exclusive-access";
import { type BeforeCopy, bind, type Bindings, factsOf } from "../engine/binding";
import { type AnyLayer, type Json, refuse, type Step } from "../engine/layer";
import { type Snapshot, problemOn, valueIn } from "../engine/requests";
import { write } from "../engine/batcher";
import { type Problem, ShareError } from "../errors";
import type { Domain } from "../formats/domain-xml";
import type { ShareSpec } from "../spec/spec";
import { withDenials } from "./denials";
import { Call, type Work } from "../power/coordinator";
import { type PowerAsk, powerFailure } from "../power/cycle";
import { hostFacts, type Machines, type Observation, observe, observeGuest } from "./observe";
import { Plans, type Request } from "./plans";
import { refusals, twins } from "./refusals";
import { toldWhile } from "../power/waiting";
import { leftInGuest, secondCycle, unverifiedKeys, withNextStep } from "./warnings";

/**
 * What the domain needs for a share: its device live, or, where `spec` wants none, nothing live under
 * the tag but what the definition still declares (it stood there before us).
 */
export function powerOf(host: Snapshot, share: ShareSpec, spec: ShareSpec | undefined): PowerPlan {
  const spellings = valueIn(host, otherSpellings(share.source));
  const spelled = (domain: Domain | undefined) => domain && spelledAs(share.source, spellings, domain);
  const seen = {
    info: valueIn(host, powerFacts.info),
    job: valueIn(host, powerFacts.job),
    live: spelled(valueIn(host, powerFacts.live)),
    persistent: spelled(valueIn(host, powerFacts.persistent)),
  };
  // Nobody who gives a share up wants its domain started.
  const declared = seen.live && seen.persistent?.devices9p.find((device) => device.tag === share.tag);
  return planPower(share.power, seen, share.tag, spec ? wantedDevice(spec) : declared);
}

/** What a person is told while it works. */
export interface Reporter {
  readonly step: (does: string) => void;
  readonly warn: (text: string) => void;
}

/** What it came to. */
export interface Outcome {
  readonly bindings: Bindings;
  readonly observation: Observation;
  readonly power: PowerPlan;
  readonly before: BeforeCopy;
  /** By layer, what stands now. */
  readonly lastSeen: Readonly<Record<string, Json>>;
  /** Old specs of which something is still to be given back, when a running QEMU lets go of it. */
  readonly pendingCleanup: readonly ShareSpec[];
  /** Whether a machine was changed. */
  readonly changed: boolean;
  /** After the first change no failure is thrown: it comes with what was seen. */
  readonly failure: ShareError | undefined;
}

/** How often a plan is made anew when somebody else changes what it relied on. */
const attempts = 6;

/**
 * Looks at everything, refuses before the first change if anything is known to fail, then changes only
 * what differs, in an order in which a crash at any point leaves the guest able to boot.
 *
 * Down in the guest; up on the host, device out, device in; up in the guest; the power cycle; a new look,
 * and what only the live device allows; last what the host gives back. Throws a ShareError only while
 * nothing has been changed.
 */
export async function reconcile(
  machines: Machines,
  request: Request,
  teller: Reporter,
  all = layers,
): Promise<Outcome> {
  const call = new Call(workOf(machines.key, request));
  let made = false;
  try {
    const outcome = await new Run(machines, request, teller, call, all).all();
    made = true;
    return outcome;
  } finally {
    call.end(made);
  }
}

function workOf(host: string, { spec, olds, name }: Request): Work {
  const specs = spec ? [spec, ...olds] : olds;
  const makes = spec?.guest?.mountPoint;
  return {
    host,
    domain: specs[0]?.domain ?? "",
    sources: specs.map(({ source }) => source),
    makes,
    takes: olds.flatMap(({ guest }) => guest?.mountPoint ?? []).filter((mountPoint) => mountPoint !== makes),
    spec,
    name,
  };
}

/** All of them as one error; undefined: there are none. */
function errorOf([first, ...rest]: readonly Problem[]): ShareError | undefined {
  return first && new ShareError([first, ...rest]);
}

/** The state of one reconcile: the newest observation, and what has been done so far. */
class Run {
  readonly #bindings: Bindings;
  #before: BeforeCopy;
  #observation!: Observation;
  #changed = false;
  #failure: ShareError | undefined;
  readonly #warned = new Set<string>();

  constructor(
    private readonly machines: Machines,
    private readonly request: Request,
    private readonly teller: Reporter,
    private readonly call: Call,
    all: readonly AnyLayer[],
  ) {
    this.#bindings = bind(all, request.spec, request.olds);
    this.#before = request.baseline;
  }

  async all(): Promise<Outcome> {
    for (const text of unverifiedKeys(this.machines)) this.#warn(text);
    try {
      await this.#untilSettled("written");
      this.call.reach("written");
      const power = this.#power();
      if (power.kind === "pending") {
        const { info } = this.#observation;
        // Of a share that is given up nobody has to run anything more.
        this.#warn(this.request.spec ? withNextStep(power, info?.name) : power.says);
      }
      if (power.kind !== "none" && power.kind !== "pending" && !this.#failed()) {
        await this.#cycle(power.kind);
        if (!this.#failed()) await this.#untilSettled("settled");
      }
      this.call.reach("settled");
      if (!this.#failed()) await this.#giveBack();
    } catch (error) {
      // Before the first change nothing needs to be recorded: the plain error is the whole truth.
      if (!this.#changed) throw error;
      this.#failure = error instanceof ShareError ? error : this.#unforeseen(error);
    }
    if (this.#failure) this.#failure = await withDenials(this.machines, this.request.spec, this.#failure);
    if (this.#failure && !this.#changed) throw this.#failure;
    const plans = this.#plans();
    const former = plans.pendingCleanup(this.#failed());
    if (this.#observation.guestState.kind === "off" && former.some(({ guest }) => guest))
      this.#warn(leftInGuest(former));
    return {
      bindings: this.#bindings,
      observation: this.#observation,
      power: this.#power(),
      before: this.#before,
      lastSeen: plans.fingerprints(),
      pendingCleanup: former,
      changed: this.#changed,
      failure: this.#failure,
    };
  }

  /** After a change every failure is recorded with what was seen, a fault of our own too. */
  #unforeseen(error: unknown): ShareError {
    const what = `a fault of this provider: ${String(error)}`;
    const fault = { code: "transportFailed", what, remedy: "report it" } as const;
    return new ShareError(problemOn(this.machines.host, fault), { cause: error });
  }

  #failed(): boolean {
    return this.#failure !== undefined;
  }

  #plans(): Plans {
    const others = this.call.othersInFlight().map(({ work }) => work);
    return new Plans(this.machines, this.request, this.#bindings, this.#observation, this.#before, others);
  }

  /** Look, plan, write; again when a write found that the plan is out of date. */
  async #untilSettled(stage: "written" | "settled"): Promise<void> {
    await this.#again(async (first) => {
      do {
        this.#observation =
          stage === "written" || !first
            ? await observe(this.machines, this.#bindings)
            : await observeGuest(this.machines, this.#bindings, this.#observation.host);
        this.call.isFor(this.#observation.info?.uuid ?? this.machines.knownUuid);
      } while (await this.call.follow(stage));
      this.#refuse();
      this.#before = this.#plans().before;
      for (const [place, steps] of [
        ["guest", (plans: Plans) => plans.guestDown()],
        ["host", (plans: Plans) => plans.host()],
        // What all shares of the guest have, and now nobody holds, goes with it.
        ["guest", (plans: Plans) => [...plans.guestDown(), ...plans.guestUp()]],
      ] as const) {
        if (await this.#writeTo(place, steps)) return true;
        if (this.#failed()) return false;
      }
      return false;
    });
  }

  /**
   * What the host gives back, which is planned anew when a write found that it is out of date: others may
   * have left meanwhile, and what all had in the guest is then ours to give back too.
   */
  async #giveBack(): Promise<void> {
    const waited = await this.call.follow("ended");
    await this.#again(async (first) => {
      if (!first || waited) await this.#lookAgain();
      const stale = await this.#writeTo("guest", (plans) => plans.guestDown());
      // The way there was long: what could be given back at the beginning may not be there any more.
      const error = errorOf(this.#plans().problems());
      if (error && !this.#failed()) throw error;
      return stale || this.#failed() ? stale : this.#writeTo("host", (plans) => plans.giveBack());
    });
  }

  /**
   * A guest that answered before in this call is asked twice. One that is silent then still has what only the
   * last of its shares takes out: that is refused, for without its record nobody would.
   */
  async #lookAgain(): Promise<void> {
    const answered = this.#observation.guestState.kind === "seen";
    const seen = await observe(this.machines, this.#bindings);
    this.#observation =
      answered && seen.guestState.kind === "unreachable"
        ? await observeGuest(this.machines, this.#bindings, seen.host)
        : seen;
    this.#refuse();
  }

  /** Until what was done rested on nothing stale. */
  async #again(work: (first: boolean) => Promise<boolean>): Promise<void> {
    for (let attempt = 0; attempt < attempts; attempt += 1) {
      if (!(await work(attempt === 0))) return;
    }
    const [keepsChanging] = refuse(
      "machineKeepsChanging",
      `what this share relies on changed ${attempts} times while it was about to be written`,
      "see who else changes the directory, the domain or the guest's fstab, and try again",
    );
    throw new ShareError(problemOn(this.machines.host, keepsChanging));
  }

  /** What is known to fail is said before the first change. */
  #refuse(): void {
    const seen = this.#observation;
    const plans = this.#plans();
    const { problems, warnings } = refusals(this.machines, this.request, this.#bindings, seen, this.#power());
    const error = errorOf([
      ...twins(this.machines, this.call, seen),
      ...problems,
      ...plans.unknown(),
      ...plans.problems(),
    ]);
    if (error) throw error;
    for (const text of warnings) this.#warn(text);
  }

  // Carrying out.

  /** Whether what the plan relied on has changed, so that nothing was written. */
  async #writeTo(place: "host" | "guest", steps: (plans: Plans) => Step[]): Promise<boolean> {
    const plans = this.#plans();
    const planned = steps(plans);
    for (const text of plans.warnings) this.#warn(text);
    const { [place]: seen, info } = this.#observation;
    const machine = place === "host" ? this.machines.host : info && this.machines.guest(info);
    if (planned.length === 0 || !seen || !machine) return false;
    const facts = place === "host" ? hostFacts(this.#bindings) : factsOf(this.#bindings, "guest");
    // From here on a lost connection leaves open what was done.
    const before = this.#changed;
    this.#changed = true;
    const ask = { machine, facts, seen, steps: planned, onStep: this.teller.step };
    const written = await write(ask).catch((error: unknown) => {
      // Who did not get the lock has written nothing.
      if (error instanceof ShareError && error.code === "lockHeld") this.#changed = before;
      throw error;
    });
    this.#changed = before || written.kept > 0;
    this.#observation = { ...this.#observation, [place]: written.look };
    const unknown = written.stale ? [] : this.#plans().unknown();
    this.#failure = errorOf(written.failed ? [written.failed] : unknown) ?? this.#failure;
    return written.stale;
  }

  #power(): PowerPlan {
    const share = this.request.spec ?? this.request.olds[0];
    if (!share || this.#failure) return { kind: "none" };
    return powerOf(this.#observation.host, share, this.request.spec);
  }

  async #cycle(kind: PowerJob["kind"]): Promise<void> {
    const share = this.request.spec ?? this.request.olds[0];
    const { info, guestState } = this.#observation;
    if (!share || !info) return;
    this.#changed = true;
    const request: PowerAsk = {
      share,
      domain: info,
      machine: this.machines.host,
      kind,
      removable: this.request.spec !== undefined,
      waitForAgent: guestState.kind !== "notAsked" && this.machines.guestBy === "agent",
      facts: hostFacts(this.#bindings),
      onStep: this.teller.step,
    };
    const { log, look, count } = await this.call.cycle(request);
    if (count === 2) this.#warn(secondCycle(info.name));
    this.#observation = { ...this.#observation, host: look };
    this.#failure = powerFailure(request, log);
    if (!this.#failed() && guestState.kind !== "notAsked" && this.machines.guestBy === "ssh")
      await this.#waitForGuest(info.name, share.timeouts.bootMs);
  }

  /** A guest that does not come back is seen, and said, by the look that follows. */
  async #waitForGuest(domain: string, bootMs: number): Promise<void> {
    const wait = { domain, does: "waiting for the guest to answer over SSH", mostMs: bootMs };
    await toldWhile(this.machines.guestReady(bootMs), wait, this.teller.step).catch((error: unknown) => {
      if (!(error instanceof ShareError) || error.code !== "guestUnreachable") throw error;
    });
  }

  #warn(text: string): void {
    if (this.#warned.has(text)) return;
    this.#warned.add(text);
    this.teller.warn(text);
  }
}
