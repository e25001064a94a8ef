/**
 * Lets the calls in flight for one domain share one power cycle.
 *
 * Every call for a host enters when it begins, and says which domain it is for when it has seen it. One
 * that needs a cycle asks, and waits until each of the others that may be for the same domain has asked
 * too or has left; then one of them has it done for all. A call that comes later takes another.
 */
export class PowerGate<Ask, Answer> {
  readonly #hosts = new Map<string, Host<Ask, Answer>>();

  constructor(private readonly carryOut: (asks: readonly [Ask, ...Ask[]]) => Promise<Answer>) {}

  /** Begins a call; `leave` must be called at its end, however it ends. */
  enter(host: string): Visit<Ask, Answer> {
    const state = this.#hosts.get(host) ?? { calls: new Set() };
    this.#hosts.set(host, state);
    const call: Call<Ask, Answer> = { domain: undefined, waiting: undefined };
    state.calls.add(call);
    return {
      isFor: (domain) => {
        if (call.domain === domain) return;
        call.domain = domain;
        this.#settle(state);
      },
      ask: (ask) =>
        new Promise((resolve, reject) => {
          call.waiting = { ask, resolve, reject };
          this.#settle(state);
        }),
      leave: () => {
        if (!state.calls.delete(call)) return;
        if (state.calls.size === 0) this.#hosts.delete(host);
        this.#settle(state);
      },
    };
  }

  /** Carries out the cycle of each domain for which every call waits. */
  #settle(state: Host<Ask, Answer>): void {
    const domains = new Set([...state.calls].flatMap(({ domain, waiting }) => (waiting ? [domain] : [])));
    for (const domain of domains) {
      const calls = [...state.calls].filter((call) => call.domain === domain || call.domain === undefined);
      const waiting = calls.flatMap((call) => (call.waiting ? [call.waiting] : []));
      const [first, ...others] = waiting;
      if (!first || waiting.length < calls.length) continue;
      for (const call of calls) call.waiting = undefined;
      this.carryOut([first.ask, ...others.map((one) => one.ask)]).then(
        (answer) => {
          for (const one of waiting) one.resolve(answer);
        },
        (error: unknown) => {
          for (const one of waiting) one.reject(error);
        },
      );
    }
  }
}

/** One call at a host. */
export interface Visit<Ask, Answer> {
  /** Says which domain it is for. */
  readonly isFor: (domain: string) => void;
  readonly ask: (ask: Ask) => Promise<Answer>;
  readonly leave: () => void;
}

interface Host<Ask, Answer> {
  readonly calls: Set<Call<Ask, Answer>>;
}

interface Call<Ask, Answer> {
  domain: string | undefined;
  waiting:
    | {
        readonly ask: Ask;
        readonly resolve: (answer: Answer) => void;
        readonly reject: (error: unknown) => void;
      }
    | undefined;
}
