import { createHash } from "node:crypto";
import { type Connection, SshConnection } from "./connection";
import { nameOf } from "./login";
import type { Where } from "../transport";

/** A connection's machine, and what is between. */
export interface Way {
  readonly connection: Connection;
  readonly verifyHostKey: boolean;
  readonly where: Where;
}

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
      where: { layer: way.where.layer, machine: nameOf(proxy) },
    });
  const made = new SshConnection(key, connection, way.verifyHostKey, through, way.where);
  connections.set(key, made);
  return made;
}

/** Other credentials are another connection. A hash: keys of a map end up in heap dumps. */
function keyOf({ connection, verifyHostKey, where }: Way): string {
  const text = JSON.stringify([connection, verifyHostKey, where.layer, where.machine]);
  return createHash("sha256").update(text).digest("hex");
}
