import { isAtOrBelow } from "../formats/path";
import type { ShareSpec } from "../spec/spec";
import { type PowerAnswer, type PowerAsk, powerCycle } from "./cycle";

/**
 * The calls of this process, by host: those that go on, and those that have made a share.
 *
 * Calls take turns where their directories are the same or lie in each other, and where their mount points lie in each
 * other in one guest. All others go at the same time. The larger mount point is made first and taken away last; else
 * whoever came first goes first.
 *
 * Calls for one domain share its power cycle: one that needs it waits until each of the others that may be for the same
 * domain needs it too or has settled. A call that comes later takes another.
 *
 * Within one up Pulumi creates before it deletes, so a share that was renamed without an alias is created, adopting what is
 * there, and then deleted under its old name: that delete must not take down what the create has just adopted. Two
 * resources that are one share would each take down the other's. And of two that come at the same time neither sees the
 * other on the machine yet.
 */
const calls = new Map<string, Set<Call>>();

/** What one call works on. */
export interface Work {
  readonly host: string;
  /** As the program names it. */
  readonly domain: string;
  readonly sources: readonly string[];
  /** The mount point that it makes, and those that it takes away. */
  readonly makes: string | undefined;
  readonly takes: readonly string[];
  /** The share that it makes, with the resource's name; undefined: it makes none, and the state does not tell. */
  readonly spec: ShareSpec | undefined;
  readonly name: string | undefined;
}

/**
 * How far a call is: it has `written` what comes before a power cycle, has `settled` what comes behind one, and has only to
 * give back; has `ended`.
 */
export const stages = ["written", "settled", "ended"] as const;
export type Stage = (typeof stages)[number];

/** A call that makes a share. */
export type Maker = Call & { readonly work: { readonly spec: ShareSpec } };

export class Call {
  /** The domain's UUID; undefined: it was not seen yet. */
  domainUuid: string | undefined;
  #cycling: (PromiseWithResolvers<PowerAnswer> & { readonly ask: PowerAsk }) | undefined;
  readonly #earlier: ReadonlySet<Call>;
  readonly #reached = stages.map(() => Promise.withResolvers<undefined>());
  #waitsFor: () => readonly Call[] = () => [];
  #count = 0;

  /** Begins a call; it must {@link end}, however it ends. */
  constructor(
    readonly work: Work,
    private readonly carryOut = powerCycle,
  ) {
    const others = calls.get(work.host) ?? new Set();
    this.#earlier = new Set(others);
    calls.set(work.host, others.add(this));
  }

  /** Says how far this call is; what comes before it is reached, too. */
  reach(stage: Stage): void {
    this.#count = Math.max(this.#count, stages.indexOf(stage) + 1);
    for (const { resolve } of this.#reached.slice(0, this.#count)) resolve(undefined);
    Call.#cycle(this.work.host);
  }

  /** Says which domain it is for. */
  isFor(uuid: string): void {
    this.domainUuid = uuid;
    Call.#cycle(this.work.host);
  }

  /** Power-cycles the domain, with all calls that it waits for. */
  cycle(ask: PowerAsk): Promise<PowerAnswer> {
    this.#cycling = { ask, ...Promise.withResolvers<PowerAnswer>() };
    const { promise } = this.#cycling;
    Call.#cycle(this.work.host);
    return promise;
  }

  /** Carries out the cycle of each domain of a host for which every call waits. */
  static #cycle(host: string): void {
    const all = [...(calls.get(host) ?? [])].filter((call) => call.#count < stages.indexOf("settled") + 1);
    for (const domain of new Set(all.filter((call) => call.#cycling).map((call) => call.domainUuid))) {
      // Who waits for one that waits for the cycle cannot need it before that one has settled.
      const own = all
        .filter((call) => call.domainUuid === domain || call.domainUuid === undefined)
        .filter((call) => !all.some((other) => other.#cycling && call.#isBehind(other)));
      const waiting = own.flatMap((call) => call.#cycling ?? []);
      const [one] = own;
      const [first, ...others] = waiting;
      if (!one || !first || waiting.length < own.length) continue;
      for (const call of own) call.#cycling = undefined;
      const answer = one.carryOut([first.ask, ...others.map(({ ask }) => ask)]);
      for (const { resolve } of waiting) resolve(answer);
    }
  }

  end(made: boolean): void {
    this.reach("ended");
    if (!made || !this.work.spec) calls.get(this.work.host)?.delete(this);
  }

  /** Waits until those that come first are so far; false: they were, and what was seen before still holds. */
  async follow(stage: Stage): Promise<boolean> {
    const at = stages.indexOf(stage);
    const ahead = this.#ahead().filter((other) => other.#count <= at);
    // A call that has reached the stage is not waited for, even before this one goes on.
    this.#waitsFor = () => ahead.filter((other) => other.#count <= at);
    Call.#cycle(this.work.host);
    await Promise.all(ahead.flatMap((other) => other.#reached[at]?.promise ?? []));
    this.#waitsFor = () => [];
    return ahead.length > 0;
  }

  /** Another resource of this process that is the same share; undefined: none. */
  twin(): Maker | undefined {
    const { name } = this.work;
    return makersAt(this.work.host).find(
      (other) =>
        name !== undefined &&
        other.work.name !== undefined &&
        other.work.name !== name &&
        this.#isSameShare(other),
    );
  }

  /** The other shares that are being made at this moment on the same host. */
  othersInFlight(): readonly Maker[] {
    return makersAt(this.work.host).filter(
      (other) => other !== this && !other.ended && !this.#isSameShare(other),
    );
  }

  get ended(): boolean {
    return this.#count === stages.length;
  }

  #isSameShare({ domainUuid, work }: Maker): boolean {
    return (
      domainUuid !== undefined && domainUuid === this.domainUuid && work.spec.tag === this.work.spec?.tag
    );
  }

  /** Nobody waits for who waits for it. */
  #ahead(): readonly Call[] {
    const others = [...(calls.get(this.work.host) ?? [])];
    return others.filter((other) => other !== this && this.#comesAfter(other) && !other.#isBehind(this));
  }

  #isBehind(other: Call): boolean {
    return this.#waitsFor().some((one) => one === other || one.#isBehind(other));
  }

  #comesAfter(other: Call): boolean {
    const [own, their] = [this.work, other.work];
    if (isNested(own, their)) return true;
    if (isNested(their, own)) return false;
    const isOfOneTree = (a: string, b: string): boolean => isAtOrBelow(a, b) || isAtOrBelow(b, a);
    return this.#earlier.has(other) && own.sources.some((a) => their.sources.some((b) => isOfOneTree(a, b)));
  }
}

/** The call by which this process has made a share; undefined: it has not. */
export function madeHere(host: string, domainUuid: string, tag: string): Maker | undefined {
  return makersAt(host).find(
    (call) => call.ended && call.domainUuid === domainUuid && call.work.spec.tag === tag,
  );
}

function makersAt(host: string): readonly Maker[] {
  return [...(calls.get(host) ?? [])].filter((call): call is Maker => call.work.spec !== undefined);
}

/** Whether the mount point of one call is made within that of another, or taken away around it. */
function isNested(own: Work, other: Work): boolean {
  if (own.domain !== other.domain) return false;
  const isWithin = (path: string, above: string): boolean => path !== above && isAtOrBelow(path, above);
  const { makes } = own;
  return (
    (makes !== undefined && other.makes !== undefined && isWithin(makes, other.makes)) ||
    own.takes.some((above) => other.takes.some((path) => isWithin(path, above)))
  );
}
