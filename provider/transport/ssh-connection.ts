import { createHash } from "node:crypto";
import type { Duplex } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { Semaphore } from "async-mutex";
import type { ClientChannel } from "ssh2";
import { type Problem, ShareError } from "../errors";
import { judgeFor } from "./host-key";
import { Listener, type Where } from "./listener";
import { dial, type Dialed, type Login, NotReached } from "./ssh-dial";
import type { Limits, Output } from "./transport";

/** How one machine is reached: `@pulumi/command`'s ConnectionArgs, every default filled in. */
export interface Connection extends Login {
  readonly hostKey?: string | undefined;
  /** Attempts that may fail; 0 and less: as many as it takes. */
  readonly dialErrorLimit: number;
  readonly proxy?: Omit<Connection, "proxy"> | undefined;
}

/** A connection's machine, and what is between. */
export interface Way {
  readonly connection: Connection;
  readonly verifyHostKey: boolean;
  /** The machine that it is reached through, beside the connection's own proxy. */
  readonly through?: SshConnection | undefined;
  readonly where: Where;
}

/** Scripts that run at once: sshd's MaxSessions is 10 by default (sshd_config(5), OpenSSH 9.2). */
const mostSessions = 8;
/** Milliseconds before another attempt to dial: twice as long each time. */
const pauses = { first: 500, most: 5000 };
/** Milliseconds after which a machine that lets no more sessions in is asked again. */
const sessionPauseMs = 100;
/** How long, where none of ours is open. */
const sessionWaitMs = 2000;
/** Milliseconds between two looks at a machine that boots. */
const bootPauseMs = 1000;

const connections = new Map<string, SshConnection>();

/** The connection of this process to a machine, as one user and by one way: made once, for all shares. */
export function sshConnection(way: Way): SshConnection {
  const key = keyOf(way);
  const known = connections.get(key);
  if (known) return known;
  const { proxy, ...connection } = way.connection;
  const through =
    proxy &&
    sshConnection({
      connection: proxy,
      verifyHostKey: way.verifyHostKey,
      through: way.through,
      where: { layer: way.where.layer, machine: nameOf(proxy) },
    });
  const made = new SshConnection(key, connection, way.verifyHostKey, through ?? way.through, way.where);
  connections.set(key, made);
  return made;
}

/** Other credentials are another connection. A hash: keys of a map end up in heap dumps. */
function keyOf({ connection, verifyHostKey, through, where }: Way): string {
  const text = JSON.stringify([connection, verifyHostKey, through?.key ?? null, where.machine]);
  return createHash("sha256").update(text).digest("hex");
}

/** Sample: `root@kvm1.example`, `admin@10.0.0.5:2222`. */
export function nameOf({ user, host, port }: Pick<Login, "user" | "host" | "port">): string {
  const at = host.includes(":") ? `[${host}]` : host;
  return `${user}@${at}${port === 22 ? "" : `:${port}`}`;
}

/**
 * One connection to one machine as one user: dialed when it is first needed, shared by all that runs there,
 * dialed once more when it drops while nothing runs over it.
 *
 * Where it cannot be dialed, everything else that wants it fails at once, with the same error.
 */
export class SshConnection {
  readonly #sessions = new Semaphore(mostSessions);
  #dialed: Promise<Dialed> | undefined;
  #current: Dialed | undefined;
  #failed: ShareError | undefined;
  #readying: Promise<void> | undefined;
  #running = 0;

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
    return this.verifyHostKey ? before : [...before, nameOf(this.connection)];
  }

  /**
   * Runs one script from the standard input of `command`.
   *
   * Rejects with what dialing says (`hostUnreachable`, `hostKeyUnknown`, `authenticationFailed`, ...), or
   * with `connectionLost` where it broke while the script ran.
   */
  async run(command: string, script: string, limits: Limits, where: Where): Promise<Output> {
    return this.#sessions.runExclusive(async () => {
      const channel = await this.#open((dialed) => exec(dialed, command));
      const release = this.hold();
      try {
        return await converse(channel, script, limits, where);
      } finally {
        release();
      }
    });
  }

  /** A stream to another machine's port, as seen from this one. */
  forward(host: string, port: number): Promise<Duplex> {
    return this.#open((dialed) => forwarded(dialed, host, port));
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
    for (;;) {
      this.#drop();
      try {
        await this.#dial(1);
        return;
      } catch (error) {
        const code = error instanceof ShareError ? error.code : undefined;
        if (code === "hostKeyMismatch" || code === "hostKeyUnknown" || Date.now() >= end) throw error;
      }
      await sleep(bootPauseMs);
    }
  }

  /** Opens a channel; once more over a new connection where the old one turns out to be gone. Nothing ran yet. */
  async #open<T>(open: (dialed: Dialed) => Promise<T>): Promise<T> {
    for (let again = true; ; again = false) {
      const dialed = await this.#dial(this.connection.dialErrorLimit);
      try {
        return await this.#whenFree(() => open(dialed));
      } catch (error) {
        // What lies behind it is not its own fault, and may be worth another attempt.
        if (error instanceof NotReached) throw error;
        if (this.#dialed === undefined && again) continue;
        throw this.#unreachable("it opened no channel", error as Error);
      }
    }
  }

  /** A machine that lets fewer sessions in than ours says so only when they are open: then one has to end first. */
  async #whenFree<T>(open: () => Promise<T>): Promise<T> {
    const end = Date.now() + sessionWaitMs;
    for (;;) {
      try {
        return await open();
      } catch (error) {
        const gone = error instanceof NotReached || this.#dialed === undefined;
        if (gone || (this.#running === 0 && Date.now() > end)) throw error;
      }
      await sleep(sessionPauseMs);
    }
  }

  async #dial(attempts: number): Promise<Dialed> {
    if (this.#failed) throw this.#failed;
    const dialing = (this.#dialed ??= this.#attempts(attempts));
    try {
      return await dialing;
    } catch (error) {
      if (error instanceof ShareError) this.#failed = error;
      throw error;
    }
  }

  async #attempts(most: number): Promise<Dialed> {
    const { connection, through, where } = this;
    const { host, port } = connection;
    const judge = await judgeFor({ ...connection, verify: this.verifyHostKey }, where);
    for (let attempt = 1, pause = pauses.first; ; attempt++, pause = Math.min(2 * pause, pauses.most)) {
      try {
        const dialed = await dial(connection, judge, where, through && (() => through.forward(host, port)));
        dialed.client.once("close", () => {
          if (this.#current === dialed) this.#dialed = undefined;
        });
        this.#current = dialed;
        dialed.hold(this.#running > 0);
        return dialed;
      } catch (error) {
        if (!(error instanceof NotReached)) throw error;
        if (most > 0 && attempt >= most) throw this.#unreachable("it does not answer", error, attempt);
        await sleep(pause);
      }
    }
  }

  #drop(): void {
    this.#failed = undefined;
    this.#dialed = undefined;
    this.#current?.client.destroy();
    this.#current = undefined;
  }

  /** Until what it gives is called, the process stays: something runs over it. */
  hold(): () => void {
    this.#running += 1;
    this.#current?.hold(true);
    const release = this.through?.hold();
    return () => {
      this.#running -= 1;
      if (this.#running === 0) this.#current?.hold(false);
      release?.();
    };
  }

  #unreachable(what: string, cause: Error, attempts?: number): ShareError {
    if (cause instanceof ShareError) return cause;
    const { layer } = this.where;
    const tries = attempts === undefined || attempts === 1 ? "" : ` (tried ${attempts} times)`;
    const problem: Problem = {
      ...this.where,
      code: layer === "guest" ? "guestUnreachable" : "hostUnreachable",
      what: `${nameOf(this.connection)}: ${what}${tries}`,
      returned: cause.message,
      remedy:
        "see that it is up, that its sshd listens there, and that this machine may reach it; connection.dialErrorLimit and perDialTimeout say how long is tried",
    };
    return new ShareError(problem, { cause });
  }
}

function exec({ client }: Dialed, command: string): Promise<ClientChannel> {
  return new Promise((resolve, reject) => {
    const lost = (): void => {
      reject(new Error("the connection was closed"));
    };
    client.once("close", lost);
    client.exec(command, (error, channel) => {
      client.removeListener("close", lost);
      if (error) reject(error);
      else resolve(channel);
    });
  });
}

function forwarded({ client }: Dialed, host: string, port: number): Promise<Duplex> {
  return new Promise((resolve, reject) => {
    client.forwardOut("127.0.0.1", 0, host, port, (error, channel) => {
      if (error)
        reject(new NotReached(`its way there does not reach ${host} port ${port}: ${error.message}`));
      else resolve(channel);
    });
  });
}

/** Feeds the script in, and gathers what comes back until the channel is closed. */
function converse(channel: ClientChannel, script: string, limits: Limits, where: Where): Promise<Output> {
  return new Promise((resolve, reject) => {
    let status: number | undefined;
    let signal: string | undefined;
    const listener = new Listener(limits, where, (error) => {
      // Whoever is root's, through sudo, is not ours to signal: it ends when it next prints.
      channel.signal("TERM");
      channel.close();
      reject(error);
    });
    channel.on("data", (chunk: Buffer) => {
      listener.stdout(chunk);
    });
    channel.stderr.on("data", (chunk: Buffer) => {
      listener.stderr(chunk);
    });
    channel.on("exit", (code: number | null, name?: string) => {
      status = code ?? undefined;
      signal = name;
    });
    // A script that ends early takes no more input: its status tells why.
    channel.on("error", () => undefined);
    channel.on("close", () => {
      listener.stop();
      if (status !== undefined) resolve(listener.output(status));
      else if (signal !== undefined) reject(endedBy(where, signal));
      else reject(lost(where));
    });
    // Not ended by us: only an open channel carries a signal.
    channel.write(`${script}\nexit\n`);
  });
}

function endedBy(where: Where, signal: string): ShareError {
  return new ShareError({ ...where, code: "transportFailed", what: `a script was ended by ${signal}` });
}

function lost(where: Where): ShareError {
  return new ShareError({
    ...where,
    code: "connectionLost",
    what: "the connection broke while a script ran there: it may have been carried out in part, or go on to its end",
    remedy: "run pulumi up again: it looks first, and does what is left to do",
  });
}
