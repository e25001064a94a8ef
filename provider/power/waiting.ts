/** What a person is told while a domain goes off and on, and its guest boots. */

/** Milliseconds between two lines about the same wait. */
export const everyMs = 15_000;

/** One wait: what for, since when, and for how long at most. */
interface Wait {
  readonly does: string;
  readonly began: number;
  readonly mostMs: number;
}

/**
 * Puts the lines of a power job (`domain-power.ts`) into words, and says every 15 s what is being waited for. Samples:
 * `web1: shutting down, for at most 120 s`, `web1: waiting for the guest agent (30 s of at most 300 s)`.
 */
export class PowerTale {
  #wait: Wait | undefined;
  #saidAt = 0;

  constructor(
    private readonly domain: string,
    private readonly limits: { readonly shutdownMs: number; readonly agentMs: number },
    private readonly say: (text: string) => void,
    private readonly now: () => number = Date.now,
  ) {}

  hear(line: string): void {
    const [, word = "", rest = ""] = /^(\S+) ?(.*)$/.exec(line) ?? [];
    const texts: Readonly<Record<string, string>> = {
      off: "is off",
      starting: "starting",
      cutting: "did not shut down in time: cutting its power",
      takingOut: `did not start: taking ${rest} out of its definition`,
      startError: `libvirt says: ${rest.trim()}`,
      shutdownError: `libvirt says: ${rest.trim()}`,
    };
    if (word === "shuttingDown") this.#begin("shutting down", this.limits.shutdownMs);
    else if (word === "waiting") this.#remind();
    else if (word !== "result") this.#tell(texts[word] ?? line);
    else if (rest.startsWith("started")) this.#started();
  }

  #started(): void {
    if (this.limits.agentMs > 0) this.#begin("waiting for the guest agent", this.limits.agentMs);
    else this.#tell("started");
  }

  #begin(does: string, mostMs: number): void {
    this.#wait = { does, began: this.now(), mostMs };
    this.#tell(`${does}, for at most ${seconds(mostMs)} s`);
  }

  #remind(): void {
    if (!this.#wait || this.now() - this.#saidAt < everyMs) return;
    this.#tell(progressOf(this.#wait, this.now()));
  }

  #tell(text: string): void {
    this.#saidAt = this.now();
    this.say(`${this.domain}: ${text}`);
  }
}

/** Says what is waited for at once, and every 15 s until it is over. */
export async function toldWhile<T>(
  work: Promise<T>,
  wait: { readonly domain: string; readonly does: string; readonly mostMs: number },
  say: (text: string) => void,
): Promise<T> {
  const began = Date.now();
  say(`${wait.domain}: ${wait.does}, for at most ${seconds(wait.mostMs)} s`);
  const timer = setInterval(() => {
    say(`${wait.domain}: ${progressOf({ ...wait, began }, Date.now())}`);
  }, everyMs);
  try {
    return await work;
  } finally {
    clearInterval(timer);
  }
}

function progressOf({ does, began, mostMs }: Wait, now: number): string {
  return `${does} (${seconds(now - began)} s of at most ${seconds(mostMs)} s)`;
}

function seconds(ms: number): number {
  return Math.round(ms / 1000);
}
