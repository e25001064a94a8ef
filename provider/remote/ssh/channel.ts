import type { Duplex } from "node:stream";
import type { ClientChannel } from "ssh2";
import type { ShareError } from "../../errors";
import { Listener, silent } from "../listener";
import { type Dialed, NotReached } from "./dial";
import { failed, type Limits, type Output, type Where } from "../transport";

/** A command that was begun, and how it ended, when it has. */
export interface Session {
  readonly channel: ClientChannel;
  /** Its status, or the signal that ended it. */
  exit: number | string | undefined;
}

/** Starts a command, which the machine has to begin to answer within the limit. */
export function exec({ client }: Dialed, command: string, limits: Limits, where: Where): Promise<Session> {
  const { promise, resolve, reject } = Promise.withResolvers<Session>();
  let late = false;
  const onClose = (): void => {
    reject(new Error("the connection was closed"));
  };
  const timer = setTimeout(() => {
    late = true;
    reject(silent(where, limits.idleMs));
  }, limits.idleMs);
  client.once("close", onClose);
  try {
    client.exec(command, (error, channel) => {
      if (error) reject(error);
      else if (late) channel.close();
      else resolve(session(channel));
    });
  } catch (error) {
    // Of a connection that has just been closed.
    reject(error);
  }
  return promise.finally(() => {
    clearTimeout(timer);
    client.removeListener("close", onClose);
  });
}

/**
 * How it ends may be said in the same breath as that it has begun, by a sudo that refuses, and ssh2 says it once: who
 * listened only after an await would not hear it.
 */
function session(channel: ClientChannel): Session {
  const begun: Session = { channel, exit: undefined };
  channel.on("exit", (status: number | null, signal?: string) => (begun.exit = status ?? signal));
  return begun;
}

/** A stream to another machine's port, as seen from the one that was dialed. */
export function forwarded({ client }: Dialed, host: string, port: number): Promise<Duplex> {
  return new Promise((resolve, reject) => {
    client.forwardOut("127.0.0.1", 0, host, port, (error, channel) => {
      if (error)
        reject(new NotReached(`its way there does not reach ${host} port ${port}: ${error.message}`));
      else resolve(channel);
    });
  });
}

/** Feeds the script in, and gathers what comes back until the channel is closed. */
export function converse(
  { client }: Dialed,
  session: Session,
  script: string,
  limits: Limits,
  where: Where,
): Promise<Output> {
  const { channel } = session;
  return new Promise((resolve, reject) => {
    const listener = new Listener(limits, where, (error) => {
      // Whoever is root's, through sudo, is not ours to signal: it ends when it next prints.
      channel.signal("TERM");
      channel.close();
      client.removeListener("close", onLost);
      reject(error);
    });
    // A status may come before the last of the output: a connection that ends between them lost some of it.
    const onLost = (): void => {
      listener.stop();
      reject(lost(where));
    };
    client.once("close", onLost);
    // All that is left is what cannot be ended, and would keep the channel open.
    const leave = (): void => {
      if (typeof session.exit === "number" && listener.hasLast) channel.close();
    };
    listener.listen(channel, channel.stderr, leave);
    channel.on("exit", leave);
    // A script that ends early takes no more input: its status tells why.
    channel.on("error", () => undefined);
    channel.on("close", () => {
      client.removeListener("close", onLost);
      listener.stop();
      const { exit } = session;
      if (typeof exit === "number") resolve(listener.output(exit));
      else if (exit !== undefined) reject(failed(where, "transportFailed", `a script was ended by ${exit}`));
      else reject(lost(where));
    });
    // Not ended by us: only an open channel carries a signal.
    channel.write(`${script}\nexit\n`);
  });
}

function lost(where: Where): ShareError {
  const what =
    "the connection broke while a script ran there: it may have been carried out in part, or go on to its end";
  const remedy = "run pulumi up again: it looks first, and does what is left to do";
  return failed(where, "connectionLost", what, { remedy });
}
