import { connect, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import type * as ssh2 from "ssh2";
import { type Problem, ShareError } from "../errors";
import { portableKey } from "../formats/private-key";
import type { Judge } from "./host-key";
import type { Where } from "./listener";

/** How to log in: the part of `@pulumi/command`'s ConnectionArgs that one machine needs. */
export interface Login {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly password?: string | undefined;
  readonly privateKey?: string | undefined;
  readonly privateKeyPassword?: string | undefined;
  /** Default: that of SSH_AUTH_SOCK. */
  readonly agentSocketPath?: string | undefined;
  /** Seconds for one attempt; 0: as long as it takes. */
  readonly perDialTimeout: number;
}

/** A connection that is open, and for how long it keeps this process alive. */
export interface Dialed {
  readonly client: ssh2.Client;
  /** While nothing runs over it, this process may end. */
  readonly hold: (busy: boolean) => void;
}

/** What is wrong with the network, as against what the machine itself refuses: worth another attempt. */
export class NotReached extends Error {
  override readonly name = "NotReached";
}

/** Milliseconds between signs of life, and how many may stay unanswered. */
const keepalive = { keepaliveInterval: 15_000, keepaliveCountMax: 3 };

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

/**
 * One attempt: connects, judges the machine's key, and only then logs in.
 *
 * `through` is a stream that leads there already. Rejects with {@link NotReached}, or with a ShareError that
 * another attempt would not change: `hostKeyUnknown`, `hostKeyMismatch`, `authenticationFailed`.
 */
export async function dial(
  login: Login,
  judge: Judge,
  where: Where,
  through: (() => Promise<Duplex>) | undefined,
): Promise<Dialed> {
  const implementation = load();
  const methods = methodsOf(implementation, login, where);
  const deadline = new Deadline(login.perDialTimeout);
  try {
    const socket = through ? undefined : await deadline.bound(connected(login, deadline));
    const stream = socket ?? (await deadline.bound((through as () => Promise<Duplex>)()));
    const client = await deadline.bound(
      handshake(implementation, { login, judge, where, methods, stream, deadline }),
    );
    return {
      client,
      hold: (busy) => {
        if (busy) socket?.ref();
        else socket?.unref();
      },
    };
  } finally {
    deadline.off();
  }
}

/** Only where a share has a connection: it takes some 40 ms. */
function load(): typeof ssh2 {
  // eslint-disable-next-line @typescript-eslint/no-require-imports -- import() would make every caller's module one of ECMAScript
  return require("ssh2") as typeof ssh2;
}

/** The end of one attempt, whatever it waits for. */
class Deadline {
  readonly #ends: (() => void)[] = [];
  readonly #passed: Promise<never>;
  readonly #timer: NodeJS.Timeout | undefined;

  constructor(seconds: number) {
    let pass: (error: Error) => void = () => undefined;
    this.#passed = new Promise((_, reject) => (pass = reject));
    this.#passed.catch(() => undefined);
    if (seconds <= 0) return;
    this.#timer = setTimeout(() => {
      pass(new NotReached(`no answer within ${seconds} s`));
      for (const end of this.#ends) end();
    }, seconds * 1000);
  }

  /** What is ended when time is up. */
  ends(end: () => void): void {
    this.#ends.push(end);
  }

  bound<T>(work: Promise<T>): Promise<T> {
    return Promise.race([work, this.#passed]);
  }

  off(): void {
    clearTimeout(this.#timer);
  }
}

function connected({ host, port }: Login, deadline: Deadline): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port, noDelay: true });
    deadline.ends(() => socket.destroy());
    socket.once("error", (error) => {
      reject(new NotReached(error.message));
    });
    socket.once("connect", () => {
      socket.removeAllListeners("error");
      resolve(socket);
    });
  });
}

interface Attempt {
  readonly login: Login;
  readonly judge: Judge;
  readonly where: Where;
  readonly methods: readonly Method[];
  readonly stream: Duplex;
  readonly deadline: Deadline;
}

function handshake(implementation: typeof ssh2, attempt: Attempt): Promise<ssh2.Client> {
  const { login, judge, where, methods, stream, deadline } = attempt;
  const client = new implementation.Client();
  let refused: ShareError | undefined;
  let said = "";
  const left = [...methods];
  return new Promise((resolve, reject) => {
    const fail = (error: Error): void => {
      client.destroy();
      reject(error);
    };
    deadline.ends(() => client.destroy());
    client.on("ready", () => {
      // From now on whoever uses the connection hears of its end by "close".
      client.removeAllListeners("error").on("error", () => undefined);
      resolve(client);
    });
    client.on("error", (error: Error & { level?: string }) => {
      if (error.level === "agent") said = error.message;
      else if (refused) fail(refused);
      else if (error.level === "client-authentication") fail(notLetIn(where, login, methods, said));
      else fail(new NotReached(error.message));
    });
    client.on("close", () => {
      fail(refused ?? new NotReached("the connection was closed before anybody was logged in"));
    });
    client.connect({
      ...keepalive,
      sock: stream,
      username: login.user,
      readyTimeout: 0,
      algorithms: { serverHostKey: serverHostKeys(judge.prefer) },
      hostVerifier: (shown: Buffer) => {
        refused = judge.judge(shown);
        return refused === undefined;
      },
      authHandler: (offered: readonly string[] | null, _partly, next) => {
        const at = left.findIndex(({ type }) => offered === null || offered.includes(nameOf(type)));
        const [method] = at === -1 ? [] : left.splice(at, 1);
        // The types of ssh2 leave out that false ends it.
        (next as (method: unknown) => void)(method ? method.how : false);
      },
    });
  });
}

function serverHostKeys(prefer: readonly string[]) {
  const first = prefer.filter((name) => hostKeyAlgorithms.includes(name));
  const rest = hostKeyAlgorithms.filter((name) => !first.includes(name));
  return [...new Set([...first, ...rest])] as ssh2.ServerHostKeyAlgorithm[];
}

/** One way to log in; `named` is for an error, and holds nothing secret. */
interface Method {
  readonly type: ssh2.AuthenticationType;
  readonly named: string;
  readonly how: object;
}

/** An agent is a client's way to sign with a public key: on the wire it has no name of its own. */
function nameOf(type: ssh2.AuthenticationType): string {
  return type === "agent" ? "publickey" : type;
}

/** In this order: the private key, the agent, the password, and the password where it is asked for by prompts. */
function methodsOf(implementation: typeof ssh2, login: Login, where: Where): Method[] {
  const { user: username, password } = login;
  const agent = login.agentSocketPath ?? process.env["SSH_AUTH_SOCK"];
  const methods: Method[] = [
    ...(login.privateKey === undefined ? [] : [keyMethod(implementation, login, login.privateKey, where)]),
    ...(agent === undefined || agent === ""
      ? []
      : [{ type: "agent" as const, named: "the agent", how: { type: "agent", username, agent } }]),
    ...(password === undefined
      ? []
      : [
          { type: "password" as const, named: "the password", how: { type: "password", username, password } },
          {
            type: "keyboard-interactive" as const,
            named: "the password by prompts",
            how: {
              type: "keyboard-interactive",
              username,
              prompt: (
                _name: string,
                _instructions: string,
                _language: string,
                prompts: readonly { readonly echo?: boolean }[],
                finish: (answers: string[]) => void,
              ) => {
                finish(prompts.map(({ echo }) => (echo === true ? "" : password)));
              },
            },
          },
        ]),
  ];
  if (methods.length > 0) return methods;
  throw failure(where, {
    what: `there is nothing to log in with as ${username}`,
    remedy: "give privateKey, password or agentSocketPath in the connection, or run an agent (SSH_AUTH_SOCK)",
  });
}

function keyMethod(
  implementation: typeof ssh2,
  { user: username, privateKeyPassword }: Login,
  privateKey: string,
  where: Where,
): Method {
  const key = readable(() => {
    const portable = portableKey(privateKey, privateKeyPassword);
    const parsed = implementation.utils.parseKey(portable, privateKeyPassword);
    if (parsed instanceof Error) throw parsed;
    return parsed;
  }, where);
  return {
    type: "publickey",
    named: `the key ${key.type}`,
    how: { type: "publickey", username, key },
  };
}

function readable<T>(parse: () => T, where: Where): T {
  try {
    return parse();
  } catch (error) {
    throw failure(where, {
      what: `privateKey cannot be read: ${(error as Error).message}`,
      remedy:
        "give the whole key as ssh-keygen or openssl wrote it, and privateKeyPassword if it is encrypted",
    });
  }
}

function notLetIn(where: Where, login: Login, methods: readonly Method[], agentSaid: string): ShareError {
  return failure(where, {
    what: `${login.user} is not let in`,
    tried: methods.map(({ named }) => named).join(", "),
    ...(agentSaid === "" ? {} : { returned: agentSaid }),
    remedy: `see that ${login.user} may log in there with what the connection has (authorized_keys, PasswordAuthentication, AllowUsers)`,
  });
}

function failure(where: Where, rest: Pick<Problem, "what" | "tried" | "returned" | "remedy">): ShareError {
  return new ShareError({ ...where, code: "authenticationFailed", ...rest });
}
