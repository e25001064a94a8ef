import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { homedir } from "node:os";
import { isAbsolute, join } from "node:path";
import { type Problem, ShareError } from "../errors";
import {
  formatHostKey,
  type HostKey,
  hostKeyOf,
  type KnownHost,
  knownHost,
  parseHostKey,
  parseKnownHosts,
  sameHostKey,
} from "../formats/known-hosts";
import type { Where } from "./listener";

/** How one machine's key is judged. */
export interface Judge {
  /** Algorithms to ask for first, so that the machine shows a key that we know; in ssh2's names. */
  readonly prefer: readonly string[];
  /** Undefined: it is the right one. Nothing was sent yet that a wrong machine could use. */
  readonly judge: (shown: Buffer) => ShareError | undefined;
}

/** What a connection says of its machine's key, and where it is. */
export interface Verification {
  readonly host: string;
  readonly port: number;
  /** In the form of authorized_keys; undefined: by the user's known_hosts. */
  readonly hostKey?: string | undefined;
  /** False: where no `hostKey` is given, any key will do. */
  readonly verify: boolean;
}

/** The files that ssh(1) reads too, the user's first, where the user has a home (ssh_config(5), OpenSSH 9.2). */
function knownHostsFiles(): string[] {
  const home = homeOf();
  return [...(isAbsolute(home) ? [join(home, ".ssh/known_hosts")] : []), "/etc/ssh/ssh_known_hosts"];
}

/** A user who is in no passwd, in a container, has none. */
function homeOf(): string {
  try {
    return homedir();
  } catch {
    return "";
  }
}

/**
 * By `hostKey` where it is given, else by known_hosts. The error of an unknown key shows the fingerprint and
 * the value that `hostKey` would have: whoever takes it over has to know that it is the right one.
 */
export async function judgeFor(asked: Verification, where: Where, files?: readonly string[]): Promise<Judge> {
  if (asked.hostKey !== undefined) return byArgument(asked.hostKey, where);
  if (!asked.verify) return { prefer: [], judge: () => undefined };
  return byFiles(asked, where, files ?? knownHostsFiles());
}

async function byFiles(asked: Verification, where: Where, files: readonly string[]): Promise<Judge> {
  const texts = await Promise.all(files.map((file) => textOf(file, where)));
  const known = knownHost(texts.flatMap(parseKnownHosts), asked.host, asked.port);
  return {
    prefer: [...known.keys, ...known.portless].flatMap(algorithmsOf),
    judge: (bytes) => byKnownHosts(known, hostKeyOf(bytes), asked, where, files[0] ?? ""),
  };
}

/** No file is no line. */
async function textOf(file: string, where: Where): Promise<string> {
  try {
    return await readFile(file, "utf8");
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ENOTDIR") return "";
    throw refusal(where, "hostKeyUnknown", {
      what: `known_hosts cannot be read: ${message}`,
      remedy: "let this user read it, or give hostKey",
    });
  }
}

function byArgument(text: string, where: Where): Judge {
  const keys = text
    .split("\n")
    .map(parseHostKey)
    .filter((key) => key !== undefined);
  return {
    prefer: keys.flatMap(algorithmsOf),
    judge: (bytes) => {
      const shown = hostKeyOf(bytes);
      if (keys.some((key) => sameHostKey(key, shown))) return undefined;
      return refusal(where, "hostKeyMismatch", {
        what: `it shows the key ${fingerprint(shown)} (${shown.type}), and hostKey has ${keys.map(fingerprint).join(", ") || "none that can be read"}`,
        remedy: `find out why: it may be another machine, or one between. If it got a new key, hostKey is "${formatHostKey(shown)}"`,
      });
    },
  };
}

function byKnownHosts(
  known: KnownHost,
  shown: HostKey,
  { host, port }: Verification,
  where: Where,
  file: string,
): ShareError | undefined {
  const name = port === 22 ? host : `[${host}]:${port}`;
  if (known.revoked.some((key) => sameHostKey(key, shown))) {
    return refusal(where, "hostKeyMismatch", {
      what: `it shows the key ${fingerprint(shown)} (${shown.type}), which known_hosts has as revoked`,
      remedy: "give the machine a new key; a revoked one proves nothing",
    });
  }
  if ([...known.keys, ...known.portless].some((key) => sameHostKey(key, shown))) return undefined;
  if (known.keys.length > 0) {
    return refusal(where, "hostKeyMismatch", {
      what: `it shows the key ${fingerprint(shown)} (${shown.type}), and known_hosts has ${listed(known.keys)} for ${name}`,
      remedy: `find out why: it may be another machine, or one between. If it got a new key, take the old one out (ssh-keygen -R '${name}') and hostKey is "${formatHostKey(shown)}"`,
    });
  }
  const authority = known.byAuthority
    ? ` (known_hosts has a certificate authority for it: those are not supported)`
    : "";
  const portless =
    known.portless.length > 0 ? `, and for ${host} without a port it has ${listed(known.portless)}` : "";
  return refusal(where, "hostKeyUnknown", {
    what: `its key is not known: ${fingerprint(shown)} (${shown.type}); hostKey is not given, and ${file} has no line for ${name}${portless}${authority}`,
    remedy: `compare the fingerprint at the machine itself (ssh-keygen -lf /etc/ssh/ssh_host_${fileOf(shown)}_key.pub); if it is the same, set hostKey to "${formatHostKey(shown)}"`,
  });
}

/** Sample: `SHA256:... (ssh-ed25519), SHA256:... (ssh-rsa)`. */
function listed(keys: readonly HostKey[]): string {
  return keys.map((key) => `${fingerprint(key)} (${key.type})`).join(", ");
}

function refusal(
  where: Where,
  code: "hostKeyMismatch" | "hostKeyUnknown",
  rest: Pick<Problem, "what" | "remedy">,
): ShareError {
  return new ShareError({ ...where, code, ...rest });
}

/** As ssh-keygen(1) prints it: `SHA256:` and base64 without padding. */
function fingerprint({ base64 }: HostKey): string {
  const hash = createHash("sha256").update(Buffer.from(base64, "base64")).digest("base64");
  return `SHA256:${hash.replace(/=+$/, "")}`;
}

/** Signature algorithms of a key: an RSA key signs in three ways (RFC 8332). */
function algorithmsOf({ type }: HostKey): string[] {
  return type === "ssh-rsa" ? ["rsa-sha2-512", "rsa-sha2-256", "ssh-rsa"] : [type];
}

/** How sshd names the file of a key of this type. */
function fileOf({ type }: HostKey): string {
  return type.startsWith("ecdsa") ? "ecdsa" : type.replace("ssh-", "");
}
