import { connect, createServer, type Server, type Socket } from "node:net";

/**
 * A way to a port of the loopback that delays what goes over it, counts, and can be cut.
 */
export class Relay {
  #server: Server | undefined;
  readonly #open = new Set<Socket>();
  /** Connections that were made to it. */
  accepted = 0;
  /**
   * Round trips of the longest connection, whatever the clock says: half the length of the longest chain of what one
   * side sent after it had got what the other sent before. With a delay that is longer than what either takes to send
   * all that it has to say.
   */
  trips = 0;
  port = 0;
  /** Whether what is sent to the machine goes on, or is swallowed. */
  #silent = false;

  /** `oneWayMs` for each direction, so twice as much for a round trip; it may change. */
  constructor(
    private readonly target: number,
    public oneWayMs = 0,
  ) {}

  /** One for as long as the work takes. */
  static async during(target: number, work: (relay: Relay) => Promise<void>, oneWayMs = 0): Promise<void> {
    const relay = new Relay(target, oneWayMs);
    await relay.start();
    try {
      await work(relay);
    } finally {
      await relay.close();
    }
  }

  start(): Promise<void> {
    const server = createServer((near) => {
      this.accepted += 1;
      const far = connect(this.target, "127.0.0.1");
      const got = new Map([near, far].map((side) => [side, 0]));
      for (const [from, to] of [
        [near, far],
        [far, near],
      ] as const) {
        this.#open.add(from);
        from.setNoDelay(true);
        from.on("data", (chunk) => {
          if (this.#silent) return;
          const sent = (got.get(from) ?? 0) + 1;
          this.trips = Math.max(this.trips, sent / 2);
          const pass = (): void => {
            got.set(to, Math.max(got.get(to) ?? 0, sent));
            if (to.writable) to.write(chunk);
          };
          if (this.oneWayMs === 0) pass();
          else setTimeout(pass, this.oneWayMs);
        });
        from.on("error", () => undefined);
        from.on("close", () => {
          this.#open.delete(from);
          setTimeout(() => to.destroy(), this.oneWayMs);
        });
      }
    });
    this.#server = server;
    return new Promise((resolve) => {
      server.listen(this.port, "127.0.0.1", () => {
        this.port = (server.address() as { port: number }).port;
        resolve();
      });
    });
  }

  /** Ends every connection that there is; new ones are taken. */
  cut(): void {
    for (const socket of this.#open) socket.destroy();
  }

  /** Takes what comes and passes nothing on. */
  silence(silent = true): void {
    this.#silent = silent;
  }

  close(): Promise<void> {
    this.cut();
    return new Promise((resolve) => {
      if (this.#server)
        this.#server.close(() => {
          resolve();
        });
      else resolve();
    });
  }
}
