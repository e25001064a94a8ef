import type { Duplex } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { Semaphore } from "async-mutex";
import { ShareError } from "../../errors";
import { judgeFor } from "./host-key";
import { converse, exec, forwarded } from "./channel";
import { dial, type Dialed, NotReached } from "./dial";
import { type Login, nameOf } from "./login";
import { failed, type Limits, type Output, type Where } from "../transport";

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

/**
 * One connection to one machine as one user: dialed when it is first needed, shared by all that runs there,
 * dialed once more when it drops while nothing runs over it.
 *
 * Where it cannot be dialed, everything else that wants it fails at once, with the same error.
 */
export class SshConnection {
  readonly #sessions = new Semaphore(mostSessions);
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
  ) {}

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
        const opened = this.#open((to) => exec(to, command, limits, where));
        const [dialed, session] = await opened.catch((error: unknown) => {
          if (error instanceof ShareError && error.code === "commandTimedOut") this.#suspect();
          throw error;
        });
        this.#talking += 1;
        return await converse(dialed, session, script, limits, where).finally(() => (this.#talking -= 1));
      } finally {
        release();
      }
    });
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
        await this.#reach(Math.max(end - Date.now(), 1000));
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

  /**
   * Opens a channel; once more over a new connection where the old one turns out to be gone, for nothing ran yet. A
   * machine that lets fewer sessions in than ours says so only when they are open: then one has to end first.
   */
  async #open<T>(open: (dialed: Dialed) => Promise<T>): Promise<[Dialed, T]> {
    let again = true;
    let end: number | undefined;
    for (;;) {
      // What became of it until now says nothing of a machine that boots.
      if (this.#readying) await this.#readying.catch(() => undefined);
      const dialed = await this.#reach();
      try {
        return [dialed, await open(dialed)];
      } catch (error) {
        // What lies behind it is not its own fault, and may be worth another attempt.
        if (error instanceof NotReached || error instanceof ShareError) throw error;
        if (dialed.gone && again) {
          again = false;
          continue;
        }
        end ??= Date.now() + sessionWaitMs;
        if (dialed.gone || (this.#talking === 0 && Date.now() > end))
          throw this.#unreachable("opened no channel", error as Error);
      }
      await sleep(sessionPauseMs);
    }
  }

  /**
   * The connection that there is, or is being made, or a new one; the failure of the last one stays. `withinMs`: by one
   * attempt, which may take no longer.
   */
  async #reach(withinMs?: number): Promise<Dialed> {
    for (;;) {
      const dialing = this.#current(withinMs);
      try {
        const dialed = await dialing.result;
        if (!dialing.abandoned) return dialed;
      } catch (error) {
        if (!dialing.abandoned) throw error;
      }
    }
  }

  #current(withinMs: number | undefined): Dialing {
    if (this.#dialing && this.#dialing.dialed?.gone !== true) return this.#dialing;
    const isAbandoned = (): boolean => dialing.abandoned;
    const dialing: Dialing = {
      result: this.#attempts(withinMs, isAbandoned).then((dialed) => {
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

  async #attempts(withinMs: number | undefined, isAbandoned: () => boolean): Promise<Dialed> {
    const { through, where } = this;
    const { dialErrorLimit, perDialTimeout } = this.connection;
    const attempts = withinMs !== undefined ? 1 : dialErrorLimit < 0 ? Infinity : dialErrorLimit + 1;
    const seconds = Math.min(perDialTimeout > 0 ? perDialTimeout : Infinity, (withinMs ?? Infinity) / 1000);
    const login = { ...this.connection, perDialTimeout: seconds };
    const judge = await judgeFor({ ...login, verify: this.verifyHostKey }, where);
    for (let attempt = 1, pause = pauses.first; ; attempt++, pause = Math.min(2 * pause, pauses.most)) {
      // What is before it has its own limits, and its own error.
      if (through) await through.#reach();
      let unanswered = 1;
      const forward =
        through && (() => through.#forward(login.host, login.port).finally(() => (unanswered = 0)));
      try {
        return await dial({ login, judge, where, through: forward });
      } catch (error) {
        if (!(error instanceof NotReached)) throw error;
        if (through && unanswered > 0) through.#suspect();
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
    const what = `${name === machine ? "it" : name} ${does}${tries}`;
    const remedy =
      "see that it is up, that its sshd listens there, and that this machine may reach it; connection.dialErrorLimit and perDialTimeout say how long is tried";
    const code = layer === "guest" ? "guestUnreachable" : "hostUnreachable";
    return failed(this.where, code, what, { returned: cause.message, remedy }, { cause });
  }
}
