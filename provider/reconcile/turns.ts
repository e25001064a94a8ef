import { isAtOrBelow } from "../formats/path";

/**
 * Calls of this process that work on one thing take turns: on one directory of a host, and on mount points of one guest that
 * lie in each other. All others go at the same time.
 *
 * The larger mount point is made first and taken away last; else whoever came first goes first.
 */
const calls = new Map<string, Set<Turn>>();

/** What one call works on. */
export interface Work {
  readonly host: string;
  /** As the program names it. */
  readonly domain: string;
  readonly sources: readonly string[];
  /** The mount point that it makes, and those that it takes away. */
  readonly makes: string | undefined;
  readonly takes: readonly string[];
}

/**
 * How far a call is: it has `written` what comes before a power cycle, has `settled` what comes behind one, and has only to
 * give back; has `ended`.
 */
export const stages = ["written", "settled", "ended"] as const;
export type Stage = (typeof stages)[number];

/** One call's part in it. */
export class Turn {
  readonly #earlier: ReadonlySet<Turn>;
  readonly #reached = stages.map((stage) => ({ stage, ...Promise.withResolvers<undefined>() }));
  #waitsFor: readonly Turn[] = [];
  #count = 0;

  /** Begins a call; it must reach `ended`, however it ends. */
  constructor(private readonly work: Work) {
    const others = calls.get(work.host) ?? new Set();
    this.#earlier = new Set(others);
    calls.set(work.host, others.add(this));
  }

  /** Says how far this call is; what comes before it is reached, too. */
  reach(stage: Stage): void {
    this.#count = Math.max(this.#count, stages.indexOf(stage) + 1);
    for (const { resolve } of this.#reached.slice(0, this.#count)) resolve(undefined);
    if (stage === "ended") calls.get(this.work.host)?.delete(this);
  }

  /** Waits until those that come first are so far; false: they were, and what was seen before still holds. */
  async follow(stage: Stage): Promise<boolean> {
    const at = stages.indexOf(stage);
    const ahead = this.#ahead().filter((other) => other.#count <= at);
    this.#waitsFor = ahead;
    await Promise.all(
      ahead.flatMap((other) => other.#reached.slice(at, at + 1).map(({ promise }) => promise)),
    );
    this.#waitsFor = [];
    return ahead.length > 0;
  }

  /** Nobody waits for who waits for it. */
  #ahead(): readonly Turn[] {
    const others = [...(calls.get(this.work.host) ?? [])];
    return others.filter((other) => other !== this && this.#comesAfter(other) && !other.#isBehind(this));
  }

  #isBehind(other: Turn): boolean {
    return this.#waitsFor.some((one) => one === other || one.#isBehind(other));
  }

  #comesAfter(other: Turn): boolean {
    const [own, their] = [this.work, other.work];
    if (isNested(own, their)) return true;
    if (isNested(their, own)) return false;
    return this.#earlier.has(other) && own.sources.some((source) => their.sources.includes(source));
  }
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
