import type { Duplex } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { Semaphore } from "async-mutex";
import { ShareError } from "../errors";
import { judgeFor } from "./host-key";
import { converse, exec, forwarded } from "./ssh-channel";
import type { Dialed } from "./ssh-dial";
import { dial, NotReached } from "./ssh-dial";
import { type Login, nameOf } from "./ssh-login";
import type { Limits, Output, Where } from "./transport";

/** How one machine is reached: `@pulumi/command`'s ConnectionArgs, every default filled in. */
export interface Connection extends Login {
  readonly hostKey?: string | undefined;
  /** Attempts that may fail before the last one; less than 0: as many as it takes. */
  readonly dialErrorLimit: number;
  readonly proxy?: Omit<Connection, "proxy"> | undefined;
}

/** Scripts that run at once: sshd's MaxSessions is 10 by default (sshd_config(5), OpenSSH 9.2). */
const mostSessions = 8;
/** Milliseconds before another attempt to dial: twice as long each time. */
const pauses = { first: 500, most: 5000 };
/** Milliseconds after which a machine that lets no more sessions in is asked again. */
const sessionPauseMs = 100;
/** How long, where none of ours is open. */
const sessionWaitMs = 2000;
/** Milliseconds between two looks at a machine that boots; twice as long each time that it lets nobody in. */
const bootPauses = { first: 1000, most: 15_000 };
/** How often it may refuse a login: before it has booted to its end it lets nobody in (pam_nologin(8)). */
const bootRefusals = 10;

/** One connection from its first attempt to its end. */
interface Dialing {
  readonly result: Promise<Dialed>;
  dialed: Dialed | undefined;
  /** Nobody waits for it any more: another one was begun in its place. */
  abandoned: boolean;
}

/** How long to try. */
interface Patience {
  /** Attempts; Infinity: as many as it takes. */
  readonly attempts: number;
  /** Milliseconds for each, where the connection's own limit is longer. */
  readonly mostMs?: number;
}

/**
 * One connection to one machine as one user: dialed when it is first needed, shared by all that runs there,
 * dialed once more when it drops while nothing runs over it.
 *
 * Where it cannot be dialed, everything else that wants it fails at once, with the same error.
 */
export class SshConnection {
  readonly #sessions = new Semaphore(mostSessions);
  readonly #patience: Patience;
  #dialing: Dialing | undefined;
  #readying: Promise<void> | undefined;
  #held = 0;
  #talking = 0;

  constructor(
    readonly key: string,
    private readonly connection: Omit<Connection, "proxy">,
    private readonly verifyHostKey: boolean,
    private readonly through: SshConnection | undefined,
    private readonly where: Where,
  ) {
    const limit = connection.dialErrorLimit;
    this.#patience = { attempts: limit < 0 ? Infinity : limit + 1 };
  }

  /** The machines whose keys nobody looks at, on this way. */
  get unverified(): readonly string[] {
    const before = this.through?.unverified ?? [];
    const verified = this.verifyHostKey || this.connection.hostKey !== undefined;
    return verified ? before : [...before, nameOf(this.connection)];
  }

  /**
   * Runs one script from the standard input of `command`.
   *
   * Rejects with what dialing says (`hostUnreachable`, `hostKeyUnknown`, `authenticationFailed`, ...), or
   * with `connectionLost` where it broke while the script ran.
   */
  run(command: string, script: string, limits: Limits, where: Where): Promise<Output> {
    return this.#sessions.runExclusive(async () => {
      const release = this.#hold();
      try {
        return await this.#converse(command, script, limits, where);
      } finally {
        release();
      }
    });
  }

  async #converse(command: string, script: string, limits: Limits, where: Where): Promise<Output> {
    const [dialed, session] = await this.#open((to) => exec(to, command, limits, where)).catch(
      (error: unknown) => {
        if (error instanceof ShareError && error.code === "commandTimedOut") this.#suspect();
        throw error;
      },
    );
    this.#talking += 1;
    try {
      return await converse(dialed, session, script, limits, where);
    } finally {
      this.#talking -= 1;
    }
  }

  /** A stream to another machine's port, as seen from this one. */
  async #forward(host: string, port: number): Promise<Duplex> {
    const [, stream] = await this.#open((dialed) => forwarded(dialed, host, port));
    return stream;
  }

  /**
   * Waits until a machine that boots lets us in, whatever it said before; the connection that there was is the
   * former boot's. Gives up after `withinMs` with what it said last, and at once where its key is not the right one.
   */
  ready(withinMs: number): Promise<void> {
    // Shares of one power cycle wait together: each must not drop what another one has just begun to use.
    this.#readying ??= this.#untilReady(withinMs).finally(() => (this.#readying = undefined));
    return this.#readying;
  }

  async #untilReady(withinMs: number): Promise<void> {
    const end = Date.now() + withinMs;
    for (let pause = bootPauses.first, refusals = 0; ;) {
      this.#abandon();
      try {
        await this.#reach({ attempts: 1, mostMs: Math.max(end - Date.now(), 1000) });
        return;
      } catch (error) {
        const code = error instanceof ShareError ? error.code : undefined;
        if (code === "hostKeyMismatch" || code === "hostKeyUnknown") throw error;
        if (code === "authenticationFailed") {
          pause = Math.min(2 * pause, bootPauses.most);
          refusals += 1;
        }
        if (refusals === bootRefusals || Date.now() + pause > end) throw error;
      }
      await sleep(pause);
    }
  }

  /** Opens a channel; once more over a new connection where the old one turns out to be gone. Nothing ran yet. */
  async #open<T>(open: (dialed: Dialed) => Promise<T>): Promise<[Dialed, T]> {
    for (let again = true; ; again = false) {
      // What became of it until now says nothing of a machine that boots.
      if (this.#readying) await this.#readying.catch(() => undefined);
      const dialed = await this.#reach(this.#patience);
      try {
        return [dialed, await this.#whenFree(dialed, () => open(dialed))];
      } catch (error) {
        // What lies behind it is not its own fault, and may be worth another attempt.
        if (error instanceof NotReached || error instanceof ShareError) throw error;
        if (dialed.gone && again) continue;
        throw this.#unreachable("opened no channel", error as Error);
      }
    }
  }

  /** A machine that lets fewer sessions in than ours says so only when they are open: then one has to end first. */
  async #whenFree<T>(dialed: Dialed, open: () => Promise<T>): Promise<T> {
    const end = Date.now() + sessionWaitMs;
    for (;;) {
      try {
        return await open();
      } catch (error) {
        if (error instanceof NotReached || error instanceof ShareError || dialed.gone) throw error;
        if (this.#talking === 0 && Date.now() > end) throw error;
      }
      await sleep(sessionPauseMs);
    }
  }

  /** The connection that there is, or is being made, or a new one; the failure of the last one stays. */
  async #reach(patience: Patience): Promise<Dialed> {
    for (;;) {
      const dialing = this.#current(patience);
      try {
        const dialed = await dialing.result;
        if (!dialing.abandoned) return dialed;
      } catch (error) {
        if (!dialing.abandoned) throw error;
      }
    }
  }

  #current(patience: Patience): Dialing {
    if (this.#dialing && this.#dialing.dialed?.gone !== true) return this.#dialing;
    const isAbandoned = (): boolean => dialing.abandoned;
    const dialing: Dialing = {
      result: this.#attempts(patience, isAbandoned).then((dialed) => {
        if (dialing.abandoned) dialed.end();
        else dialed.hold(this.#held > 0);
        dialing.dialed = dialed;
        return dialed;
      }),
      dialed: undefined,
      abandoned: false,
    };
    this.#dialing = dialing;
    return dialing;
  }

  async #attempts({ attempts, mostMs }: Patience, isAbandoned: () => boolean): Promise<Dialed> {
    const { through, where } = this;
    const login = mostMs === undefined ? this.connection : withinMs(this.connection, mostMs);
    const judge = await judgeFor({ ...login, verify: this.verifyHostKey }, where);
    for (let attempt = 1, pause = pauses.first; ; attempt++, pause = Math.min(2 * pause, pauses.most)) {
      // What is before it has its own limits, and its own error.
      if (through) await through.#reach(through.#patience);
      const unanswered = new Set<Promise<Duplex>>();
      const forward = (by: SshConnection): Promise<Duplex> => {
        const stream = by.#forward(login.host, login.port);
        unanswered.add(stream);
        return stream.finally(() => unanswered.delete(stream));
      };
      try {
        return await dial({ login, judge, where, through: through && (() => forward(through)) });
      } catch (error) {
        if (!(error instanceof NotReached)) throw error;
        if (through && unanswered.size > 0) through.#suspect();
        if (attempt >= attempts || error.forGood || isAbandoned())
          throw this.#unreachable("does not answer", error, attempt);
        await sleep(pause);
      }
    }
  }

  /** It did not answer when it was asked for a channel: unless something else talks over it, the next one dials anew. */
  #suspect(): void {
    if (this.#talking === 0) this.#dialing?.dialed?.end();
  }

  /** Whoever waits for it waits for the next. */
  #abandon(): void {
    if (!this.#dialing) return;
    this.#dialing.abandoned = true;
    this.#dialing.dialed?.end();
    this.#dialing = undefined;
  }

  /** Until what it gives is called, the process stays: something runs over it. */
  #hold(): () => void {
    this.#held += 1;
    this.#dialing?.dialed?.hold(true);
    const release = this.through && this.through.#hold();
    return () => {
      this.#held -= 1;
      if (this.#held === 0) this.#dialing?.dialed?.hold(false);
      release?.();
    };
  }

  #unreachable(does: string, cause: Error, attempts = 1): ShareError {
    const { layer, machine } = this.where;
    const name = nameOf(this.connection);
    const tries = attempts === 1 ? "" : ` (tried ${attempts} times)`;
    return new ShareError(
      {
        ...this.where,
        code: layer === "guest" ? "guestUnreachable" : "hostUnreachable",
        what: `${name === machine ? "it" : name} ${does}${tries}`,
        returned: cause.message,
        remedy:
          "see that it is up, that its sshd listens there, and that this machine may reach it; connection.dialErrorLimit and perDialTimeout say how long is tried",
      },
      { cause },
    );
  }
}

/** The same with no more than these milliseconds for an attempt. */
function withinMs<T extends Login>(login: T, most: number): T {
  const own = login.perDialTimeout > 0 ? login.perDialTimeout : Infinity;
  return { ...login, perDialTimeout: Math.min(own, most / 1000) };
}
