import { connect, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import type * as ssh2 from "ssh2";
import type { ShareError } from "../../errors";
import type { Judge } from "./host-key";
import { type Login, LoginAttempt } from "./login";
import type { Where } from "../transport";

/** Milliseconds of silence after which TCP asks whether the other side is still there. */
const keepAliveMs = 15_000;

/** What this implementation takes, the safest first (ssh2 1.17, DEFAULT_SERVER_HOST_KEY). */
const hostKeyAlgorithms: readonly string[] = [
  "ssh-ed25519",
  "ecdsa-sha2-nistp256",
  "ecdsa-sha2-nistp384",
  "ecdsa-sha2-nistp521",
  "rsa-sha2-512",
  "rsa-sha2-256",
  "ssh-rsa",
];

/** What is wrong with the network, as against what the machine itself refuses. */
export class NotReached extends Error {
  override readonly name = "NotReached";

  /** `forGood`: another attempt would end in the same way. */
  constructor(
    message: string,
    readonly forGood = false,
  ) {
    super(message);
  }
}

/** A connection on which somebody is logged in. */
export class Dialed {
  #gone = false;

  constructor(
    readonly client: ssh2.Client,
    private readonly stream: Duplex,
  ) {
    // One that can be written to no more is of no use, whether or not the other side closes it.
    const end = (): void => {
      this.end();
    };
    client.on("error", end).on("end", end).on("close", end);
  }

  /** Whether nothing can be asked over it any more. */
  get gone(): boolean {
    return this.#gone;
  }

  /** While nothing runs over it, this process may end. */
  hold(busy: boolean): void {
    // A stream through another machine is held by that one's.
    const socket = this.stream as Partial<Socket>;
    if (busy) socket.ref?.();
    else socket.unref?.();
  }

  /** Closes it, now. */
  end(): void {
    if (this.#gone) return;
    this.#gone = true;
    this.stream.destroy();
  }
}

/** What one attempt needs. */
export interface Attempt {
  readonly login: Login;
  readonly judge: Judge;
  readonly where: Where;
  /** A stream that leads there already; undefined: by TCP. */
  readonly through: (() => Promise<Duplex>) | undefined;
}

/**
 * One attempt: connects, judges the machine's key, and only then logs in.
 *
 * Rejects with {@link NotReached}, or with a ShareError that another attempt would not change:
 * `hostKeyUnknown`, `hostKeyMismatch`, `authenticationFailed`.
 */
export async function dial(attempt: Attempt): Promise<Dialed> {
  const { login, where, through } = attempt;
  const implementation = load();
  const entry = new LoginAttempt(implementation, login, where);
  // ssh2 waits until a socket is connected.
  const byTcp = { noDelay: true, keepAlive: true, keepAliveInitialDelay: keepAliveMs };
  const { host, port } = login;
  const connecting = through?.() ?? Promise.resolve(connect({ host, port, ...byTcp }));
  try {
    const logIn = (stream: Duplex): Promise<Dialed> => handshake(implementation, attempt, entry, stream);
    return await within(login.perDialTimeout, connecting.then(logIn));
  } catch (error) {
    // Whenever it comes, nobody waits for it any more.
    connecting.then((stream) => stream.destroy()).catch(() => undefined);
    throw error;
  }
}

/** Only where a share has a connection: it takes some 40 ms. */
function load(): typeof ssh2 {
  // eslint-disable-next-line @typescript-eslint/no-require-imports -- import() would make every caller's module one of ECMAScript
  return require("ssh2") as typeof ssh2;
}

/** Rejects after so many seconds. */
async function within<T>(seconds: number, work: Promise<T>): Promise<T> {
  if (seconds === Infinity) return work;
  const late = sleep(seconds * 1000, undefined, { ref: false }).then(() => {
    throw new NotReached(`no answer within ${seconds} s`);
  });
  return Promise.race([work, late]);
}

/** Where a name has several addresses, each has failed for itself, and the error has no words of its own. */
function messageOf(error: Error & { readonly errors?: readonly Error[]; readonly code?: unknown }): string {
  return error.message || error.errors?.map(({ message }) => message).join("; ") || String(error.code);
}

/** What ssh2's client says is wrong: `level` tells in which part of it. */
interface ClientError extends Error {
  readonly level?: string;
  /** Of the machine's own farewell: a number (RFC 4253, 11.1). */
  readonly code?: unknown;
}

function handshake(
  implementation: typeof ssh2,
  { login, judge }: Attempt,
  entry: LoginAttempt,
  stream: Duplex,
): Promise<Dialed> {
  const client = new implementation.Client();
  let refused: ShareError | undefined;
  return new Promise((resolve, reject) => {
    const fail = (error: Error): void => {
      stream.destroy();
      reject(error);
    };
    const onError = (error: ClientError): void => {
      const farewell = typeof error.code === "number";
      if (refused) fail(refused);
      else if (error.level === "agent" || error.message.startsWith("Error while signing"))
        entry.note(error.message);
      else if (error.level === "client-authentication") fail(entry.refusal());
      else if (farewell && entry.begun) fail(entry.refusal(error.message));
      else fail(new NotReached(messageOf(error), error.level === "handshake"));
    };
    const onClose = (): void => {
      fail(refused ?? new NotReached("the connection was closed before anybody was logged in"));
    };
    client.on("error", onError);
    client.on("close", onClose);
    client.on("change password", () => {
      fail(entry.expired());
    });
    client.on("ready", () => {
      client.removeListener("close", onClose);
      resolve(new Dialed(client, stream));
    });
    client.connect({
      sock: stream,
      username: login.user,
      readyTimeout: 0,
      algorithms: { serverHostKey: serverHostKeys(judge.prefer) },
      hostVerifier: (shown: Buffer) => {
        refused = judge.judge(shown);
        return refused === undefined;
      },
      authHandler: (takes: readonly string[] | null, partly: boolean | null, next) => {
        // The types of ssh2 leave out that false ends it.
        (next as (method: unknown) => void)(entry.next(takes, partly === true));
      },
    });
  });
}

function serverHostKeys(prefer: readonly string[]) {
  const known = prefer.filter((name) => hostKeyAlgorithms.includes(name));
  return [...new Set([...known, ...hostKeyAlgorithms])] as ssh2.ServerHostKeyAlgorithm[];
}
