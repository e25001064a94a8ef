import { ShareError } from "../errors";
import { exclusively } from "./locks";
import type { Answer } from "./answers";
import type { Look, LookAsk, WriteAsk } from "./asks";
import { look as lookTogether, write as writeTogether, type Written } from "./place";

/**
 * Milliseconds for which an ask waits for others of the same machine. Pulumi hands in a wave of calls
 * within some 90 ms (measured, 3.259, 8 calls); each that comes starts the wait anew. Where all calls come at once, as
 * in a test, less will do.
 */
export const gathering = { ms: 40 };

/** Looks at a machine, in one script with all shares that ask meanwhile. */
export function look(ask: LookAsk): Promise<Look> {
  return waveOf(ask).look(ask);
}

/** Writes to a machine, in one script with all shares that ask meanwhile. */
export function write(ask: WriteAsk): Promise<Written> {
  return waveOf(ask).write(ask);
}

const waves = new Map<string, Wave>();

function waveOf({ machine }: LookAsk): Wave {
  const wave = waves.get(machine.key) ?? new Wave(machine.key);
  waves.set(machine.key, wave);
  return wave;
}

interface Waiting<Ask, Result> {
  readonly ask: Ask;
  readonly resolve: (result: Result) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * The asks for one machine, gathered into scripts, one script at a time: writes first, so that who looks
 * afterwards sees them.
 */
class Wave {
  #looking: Waiting<LookAsk, Look>[] = [];
  #writing: Waiting<WriteAsk, Written>[] = [];
  #gathering: NodeJS.Timeout | undefined;

  constructor(private readonly key: string) {}

  look(ask: LookAsk): Promise<Look> {
    return new Promise((resolve, reject) => {
      this.#looking.push({ ask, resolve, reject });
      this.#gather();
    });
  }

  write(ask: WriteAsk): Promise<Written> {
    return new Promise((resolve, reject) => {
      this.#writing.push({ ask, resolve, reject });
      this.#gather();
    });
  }

  #gather(): void {
    clearTimeout(this.#gathering);
    this.#gathering = setTimeout(() => {
      void exclusively(this.key, async () => {
        while (this.#writing.length > 0) await serve(take(this.#writing), writeTogether);
        while (this.#looking.length > 0) await serve(take(this.#looking), lookTogether);
      });
    }, gathering.ms);
  }
}

/** As many as one script may serve, taken out. */
function take<Ask extends LookAsk, Result>(waiting: Waiting<Ask, Result>[]): Waiting<Ask, Result>[] {
  return waiting.splice(0, waiting[0]?.ask.machine.most);
}

/** Never rejects: each that waits gets its own answer, or the error that all have in common. */
async function serve<Ask, Result>(
  waiting: readonly Waiting<Ask, Result>[],
  work: (asks: readonly [Ask, ...Ask[]]) => Promise<Answer<Result>[]>,
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
