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

/** One call's part in it. */
export class Turn {
  readonly #earlier: ReadonlySet<Turn>;
  readonly #written = Promise.withResolvers<undefined>();
  readonly #ended = Promise.withResolvers<undefined>();
  #waitsFor: readonly Turn[] = [];
  #hasWritten = false;

  /** Begins a call; `end` must be called at its end, however it ends. */
  constructor(private readonly work: Work) {
    const others = calls.get(work.host) ?? new Set();
    this.#earlier = new Set(others);
    calls.set(work.host, others.add(this));
  }

  /** Waits for those that come first, until they have only to give back; false: there were none, and what was seen holds. */
  async first(): Promise<boolean> {
    const ahead = this.#ahead().filter((other) => !other.#hasWritten);
    return this.#wait(ahead, (other) => other.#written.promise);
  }

  /** This call has only to give back. */
  written(): void {
    this.#hasWritten = true;
    this.#written.resolve(undefined);
  }

  /** Waits for those that come first, until they are through; false: there were none. */
  async last(): Promise<boolean> {
    return this.#wait(this.#ahead(), (other) => other.#ended.promise);
  }

  end(): void {
    this.written();
    calls.get(this.work.host)?.delete(this);
    this.#ended.resolve(undefined);
  }

  async #wait(ahead: readonly Turn[], until: (other: Turn) => Promise<undefined>): Promise<boolean> {
    this.#waitsFor = ahead;
    await Promise.all(ahead.map(until));
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
