import { Socket } from "node:net";
import type * as ssh2 from "ssh2";
import type { ShareError } from "../../errors";
import { portableKey, UnusableKey } from "../../formats/private-key";
import { failed, type Where } from "../transport";

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
  /** Seconds for one attempt; in arguments 0 is as long as it takes. */
  readonly perDialTimeout: number;
}

/** Sample: `root@kvm1.example`, `admin@10.0.0.5:2222`. */
export function nameOf({ user, host, port }: Pick<Login, "user" | "host" | "port">): string {
  const at = host.includes(":") ? `[${host}]` : host;
  return `${user}@${at}${port === 22 ? "" : `:${port}`}`;
}

/** One way to log in; `named` is for an error, and holds nothing secret. */
interface Method {
  readonly named: string;
  readonly how: ssh2.AnyAuthMethod;
}

/** Milliseconds in which an agent lists its keys; it may take longer to sign, when it asks its user. */
const agentMs = 5000;

/**
 * One login: which methods there are, which comes next, and what became of them.
 *
 * In this order: the private key, the agent, the password, and the password where it is asked for by prompts.
 * A machine may want several of them (AuthenticationMethods in sshd_config(5)), in its own order.
 */
export class LoginAttempt {
  #left: readonly Method[];
  #refused: readonly Method[] = [];
  #last: Method | undefined;
  #takes: readonly string[] = [];
  readonly #sent: string[] = [];
  readonly #said: string[] = [];

  constructor(
    implementation: typeof ssh2,
    private readonly login: Login,
    private readonly where: Where,
  ) {
    this.#left = methodsOf(implementation, login, where);
  }

  /** Whether the machine has been offered anything. */
  get begun(): boolean {
    return this.#sent.length > 0;
  }

  /** What to try next, in ssh2's form; false: nothing is left. `takes` is what the machine would still take. */
  next(takes: readonly string[] | null, partly: boolean): ssh2.AnyAuthMethod | false {
    const last = this.#last;
    // Of what became of an agent's keys, ssh2 1.17 says nothing: this is of the method before.
    const told = last?.how.type === "agent" ? null : takes;
    if (told) this.#takes = told;
    if (last && told && partly) {
      // That was one of several: what was refused before may be what is wanted now.
      this.#left = [...this.#refused, ...this.#left];
      this.#refused = [];
    } else if (last) this.#refused = [...this.#refused, last];
    // A password that is wrong is as wrong by prompts, and counts twice where failures are counted.
    if (last?.how.type === "password" && !partly && told?.includes("password") === true)
      this.#left = this.#left.filter(({ how }) => how.type !== "keyboard-interactive");
    // An agent is a client's way to sign with a public key: on the wire it has no name of its own.
    const onTheWire = ({ how }: Method): string => (how.type === "agent" ? "publickey" : how.type);
    const next = this.#left.find((method) => !told || told.includes(onTheWire(method)));
    this.#left = this.#left.filter((method) => method !== next);
    this.#last = next;
    if (!next) return false;
    this.#sent.push(next.named);
    return next.how;
  }

  /** What an agent or a key said for itself; others are tried. */
  note(text: string): void {
    this.#said.push(text);
  }

  /** Why nobody is let in; `text` is the machine's. */
  refusal(text?: string): ShareError {
    const { user } = this.login;
    const takes = this.#takes.length > 0 ? [`it takes ${this.#takes.join(", ")}`] : [];
    const manyKeys =
      text === undefined
        ? ""
        : "; an agent with many keys uses up the attempts that a machine allows: give privateKey, or an agent with that key alone";
    return failed(this.where, "authenticationFailed", `${user} is not let in`, {
      tried: this.#sent.join(", "),
      returned: [...(text === undefined ? [] : [text]), ...this.#said, ...takes].join("; "),
      remedy: `see that ${user} may log in there with what the connection has (authorized_keys, PasswordAuthentication, AllowUsers)${manyKeys}`,
    });
  }

  /** The machine wants a new password, and there is nobody to ask. */
  expired(): ShareError {
    const { user } = this.login;
    const remedy = `log in there as ${user} once and change it, or give privateKey`;
    return failed(this.where, "authenticationFailed", `the password of ${user} has expired`, { remedy });
  }
}

function methodsOf(implementation: typeof ssh2, login: Login, where: Where): Method[] {
  const { user: username, password, privateKey } = login;
  const agent = login.agentSocketPath ?? process.env["SSH_AUTH_SOCK"];
  const methods = [
    ...(privateKey === undefined ? [] : [keyMethod(implementation, login, privateKey, where)]),
    ...(agent === undefined || agent === "" ? [] : [agentMethod(implementation, username, agent)]),
    ...(password === undefined ? [] : passwordMethods(username, password)),
  ];
  if (methods.length > 0) return methods;
  const remedy =
    "give privateKey, password or agentSocketPath in the connection, or run an agent (SSH_AUTH_SOCK)";
  throw failed(where, "authenticationFailed", `there is nothing to log in with as ${username}`, { remedy });
}

function keyMethod(
  implementation: typeof ssh2,
  { user: username, privateKeyPassword }: Login,
  privateKey: string,
  where: Where,
): Method {
  try {
    const key = implementation.utils.parseKey(
      portableKey(privateKey, privateKeyPassword),
      privateKeyPassword,
    );
    if (key instanceof Error) throw key;
    if (!key.isPrivateKey()) throw new Error("it is a public key");
    return { named: `the key ${key.type}`, how: { type: "publickey", username, key } };
  } catch (error) {
    const remedy =
      error instanceof UnusableKey
        ? error.remedy
        : "give the whole key as ssh-keygen or openssl wrote it, and privateKeyPassword if it is encrypted";
    const what = `privateKey cannot be used: ${(error as Error).message}`;
    throw failed(where, "authenticationFailed", what, { remedy });
  }
}

function passwordMethods(username: string, password: string): Method[] {
  return [
    { named: "the password", how: { type: "password", username, password } },
    {
      named: "the password by prompts",
      how: {
        type: "keyboard-interactive",
        username,
        prompt: (_name, _instructions, _language, prompts, finish) => {
          finish(prompts.map(({ echo }) => (echo === true ? "" : password)));
        },
      },
    },
  ];
}

/** An agent that does not list its keys in time is passed over, like one that is not there. */
function agentMethod(implementation: typeof ssh2, username: string, path: string): Method {
  const agent = new implementation.OpenSSHAgent(path);
  const getStream = agent.getStream.bind(agent);
  let streams = 0;
  agent.getStream = (done) => {
    // The first is for the list of its keys.
    const isForList = streams++ === 0;
    getStream((error, stream) => {
      if (isForList && stream instanceof Socket) {
        stream.setTimeout(agentMs, () => {
          stream.destroy(new Error(`the agent did not answer within ${agentMs / 1000} s`));
        });
      }
      done(error, stream);
    });
  };
  return { named: "the agent", how: { type: "agent", username, agent } };
}
