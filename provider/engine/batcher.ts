import { Mutex } from "async-mutex";
import { ShareError } from "../errors";
import type { Result } from "./results";
import type { Snapshot, ReadRequest, WriteRequest } from "./requests";
import { look as lookTogether, write as writeTogether, type Written } from "./executor";

/**
 * Milliseconds for which an ask waits for others of the same machine; each that comes starts the wait anew. Where all calls
 * come at once, as in a test, less will do.
 */
export const gathering = { ms: 40 };

/** Milliseconds within which Pulumi hands in the calls that it makes at one time (measured: 90, 3.259, 8 calls). */
const handingInMs = 100;

/** Calls of Pulumi that go on in this process, and when the last one came. */
const calls = { count: 0, lastMs: 0 };

/** Works on one call of Pulumi: where all of them wait already, none has to wait for the others. */
export async function inCall<T>(work: () => Promise<T>): Promise<T> {
  calls.count += 1;
  calls.lastMs = performance.now();
  try {
    return await work();
  } finally {
    calls.count -= 1;
  }
}

/** Looks at a machine, in one script with all shares that ask meanwhile. */
export function look(ask: ReadRequest): Promise<Snapshot> {
  const wave = waveOf(ask);
  return wave.gathered(wave.looking, ask);
}

/** Writes to a machine, in one script with all shares that ask meanwhile. */
export function write(ask: WriteRequest): Promise<Written> {
  const wave = waveOf(ask);
  return wave.gathered(wave.writing, ask);
}

const waves = new Map<string, Wave>();

function waveOf({ machine }: ReadRequest): Wave {
  const wave = waves.get(machine.key) ?? new Wave();
  waves.set(machine.key, wave);
  return wave;
}

interface Waiting<Ask, Result> {
  readonly ask: Ask;
  readonly resolve: (result: Result) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * The asks for one machine, gathered into scripts. Shares of one machine take turns, so that only other processes meet
 * its lock. Writes go first, so that who looks afterwards sees them.
 */
class Wave {
  readonly looking: Waiting<ReadRequest, Snapshot>[] = [];
  readonly writing: Waiting<WriteRequest, Written>[] = [];
  readonly #turns = new Mutex();
  #gathering: NodeJS.Timeout | undefined;

  /** What comes of an ask that is put into one of the two lists. */
  gathered<Ask, Result>(waiting: Waiting<Ask, Result>[], ask: Ask): Promise<Result> {
    return new Promise((resolve, reject) => {
      waiting.push({ ask, resolve, reject });
      clearTimeout(this.#gathering);
      const ms = allWait() ? 0 : gathering.ms;
      this.#gathering = setTimeout(() => void this.#turns.runExclusive(() => this.#serve()), ms);
    });
  }

  async #serve(): Promise<void> {
    while (this.writing.length > 0) await serve(take(this.writing), writeTogether);
    while (this.looking.length > 0) await serve(take(this.looking), lookTogether);
  }
}

function allWait(): boolean {
  const waiting = [...waves.values()].flatMap(({ looking, writing }) => [...looking, ...writing]).length;
  return waiting === calls.count && performance.now() - calls.lastMs > handingInMs;
}

/** As many as one script may serve, taken out. */
function take<Ask extends ReadRequest, Found>(waiting: Waiting<Ask, Found>[]): Waiting<Ask, Found>[] {
  return waiting.splice(0, waiting[0]?.ask.machine.most);
}

/** Never rejects: each that waits gets its own answer, or the error that all have in common. */
async function serve<Ask, Found>(
  waiting: readonly Waiting<Ask, Found>[],
  work: (asks: readonly [Ask, ...Ask[]]) => Promise<Result<Found>[]>,
): Promise<void> {
  const [first, ...others] = waiting;
  if (!first) return;
  try {
    const answers = await work([first.ask, ...others.map(({ ask }) => ask)]);
    waiting.forEach(({ resolve, reject }, index) => {
      const answer = answers[index];
      if (answer instanceof ShareError || answer === undefined) reject(answer);
      else resolve(answer);
    });
  } catch (error) {
    // Before anything was sent: how long a script is only its transport can tell.
    if (error instanceof ShareError && error.code === "scriptTooLong" && others.length > 0) {
      const half = Math.ceil(waiting.length / 2);
      await serve(waiting.slice(0, half), work);
      await serve(waiting.slice(half), work);
      return;
    }
    for (const { reject } of waiting) reject(error);
  }
}
