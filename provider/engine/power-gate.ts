/**
 * Lets the calls in flight for one domain share one power cycle.
 *
 * Every call enters when it begins. One that needs a cycle asks, and waits until each of the others has
 * asked too or has left; then one of them has it done for all. A call that comes later takes another.
 */
export class PowerGate<Ask, Answer> {
  readonly #domains = new Map<string, Domain<Ask, Answer>>();

  constructor(private readonly carryOut: (asks: readonly [Ask, ...Ask[]]) => Promise<Answer>) {}

  /** Begins a call; `leave` must be called at its end, however it ends. */
  enter(domain: string): { readonly ask: (ask: Ask) => Promise<Answer>; readonly leave: () => void } {
    const state = this.#domains.get(domain) ?? { inside: 0, waiting: [] };
    this.#domains.set(domain, state);
    state.inside += 1;
    let inside = true;
    const leave = (): void => {
      if (!inside) return;
      inside = false;
      state.inside -= 1;
      if (state.inside === 0 && state.waiting.length === 0) this.#domains.delete(domain);
      this.#settle(state);
    };
    return {
      leave,
      ask: (ask) =>
        new Promise((resolve, reject) => {
          state.waiting.push({ ask, resolve, reject });
          this.#settle(state);
        }),
    };
  }

  #settle(state: Domain<Ask, Answer>): void {
    const [first, ...others] = state.waiting;
    if (!first || state.waiting.length < state.inside) return;
    state.waiting = [];
    this.carryOut([first.ask, ...others.map((one) => one.ask)]).then(
      (answer) => {
        for (const one of [first, ...others]) one.resolve(answer);
      },
      (error: unknown) => {
        for (const one of [first, ...others]) one.reject(error);
      },
    );
  }
}

interface Domain<Ask, Answer> {
  inside: number;
  waiting: { ask: Ask; resolve: (answer: Answer) => void; reject: (error: unknown) => void }[];
}
