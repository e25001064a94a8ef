import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { homedir } from "node:os";
import { isAbsolute, join } from "node:path";
import type { ShareError } from "../../errors";
import {
  formatHostKey,
  hostKeyType,
  knownHost,
  parseHostKey,
  parseKnownHosts,
} from "../../formats/known-hosts";
import { failed, type Where } from "../transport";

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
  const ofSystem = "/etc/ssh/ssh_known_hosts";
  try {
    const home = homedir();
    return isAbsolute(home) ? [join(home, ".ssh/known_hosts"), ofSystem] : [ofSystem];
  } catch {
    // A user who is in no passwd, in a container, has none.
    return [ofSystem];
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

async function byFiles({ host, port }: Verification, where: Where, files: readonly string[]): Promise<Judge> {
  const texts = await Promise.all(files.map((file) => textOf(file, where)));
  const { keys, portless, revoked, byAuthority } = knownHost(texts.flatMap(parseKnownHosts), host, port);
  const name = port === 22 ? host : `[${host}]:${port}`;
  return {
    prefer: [...keys, ...portless].flatMap(algorithmsOf),
    judge: (shown) => {
      const isShown = (key: Buffer): boolean => key.equals(shown);
      const hostKey = `"${formatHostKey(shown)}"`;
      if (revoked.some(isShown)) {
        const remedy = "give the machine a new key; a revoked one proves nothing";
        return mismatch(shown, where, ", which known_hosts has as revoked", remedy);
      }
      if ([...keys, ...portless].some(isShown)) return undefined;
      if (keys.length > 0) {
        const remedy = `${findOut}take the old one out (ssh-keygen -R '${name}') and hostKey is ${hostKey}`;
        return mismatch(shown, where, `, and known_hosts has ${listed(keys)} for ${name}`, remedy);
      }
      const others = portless.length > 0 ? `, and for ${host} without a port it has ${listed(portless)}` : "";
      const authority = byAuthority
        ? " (known_hosts has a certificate authority for it: those are not supported)"
        : "";
      const what = `its key is not known: ${listed([shown])}; hostKey is not given, and ${files[0] ?? ""} has no line for ${name}${others}${authority}`;
      const remedy = `compare the fingerprint at the machine itself (ssh-keygen -lf /etc/ssh/ssh_host_${fileOf(shown)}_key.pub); if it is the same, set hostKey to ${hostKey}`;
      return failed(where, "hostKeyUnknown", what, { remedy });
    },
  };
}

/** No file is no line. */
async function textOf(file: string, where: Where): Promise<string> {
  try {
    return await readFile(file, "utf8");
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ENOTDIR") return "";
    const what = `known_hosts cannot be read: ${message}`;
    throw failed(where, "hostKeyUnknown", what, { remedy: "let this user read it, or give hostKey" });
  }
}

function byArgument(text: string, where: Where): Judge {
  const keys = text.split("\n").flatMap((line) => parseHostKey(line) ?? []);
  return {
    prefer: keys.flatMap(algorithmsOf),
    judge: (shown) => {
      if (keys.some((key) => key.equals(shown))) return undefined;
      return mismatch(
        shown,
        where,
        `, and hostKey has ${keys.map(fingerprint).join(", ") || "none that can be read"}`,
        `${findOut}hostKey is "${formatHostKey(shown)}"`,
      );
    },
  };
}

const findOut = "find out why: it may be another machine, or one between. If it got a new key, ";

function mismatch(shown: Buffer, where: Where, instead: string, remedy: string): ShareError {
  return failed(where, "hostKeyMismatch", `it shows the key ${listed([shown])}${instead}`, { remedy });
}

/** Sample: `SHA256:... (ssh-ed25519), SHA256:... (ssh-rsa)`. */
function listed(keys: readonly Buffer[]): string {
  return keys.map((key) => `${fingerprint(key)} (${hostKeyType(key)})`).join(", ");
}

/** As ssh-keygen(1) prints it: `SHA256:` and base64 without padding. */
function fingerprint(key: Buffer): string {
  const hash = createHash("sha256").update(key).digest("base64");
  return `SHA256:${hash.replace(/=+$/, "")}`;
}

/** Signature algorithms of a key: an RSA key signs in three ways (RFC 8332). */
function algorithmsOf(key: Buffer): string[] {
  const type = hostKeyType(key);
  return type === "ssh-rsa" ? ["rsa-sha2-512", "rsa-sha2-256", "ssh-rsa"] : [type];
}

/** How sshd names the file of a key of this type. */
function fileOf(key: Buffer): string {
  const type = hostKeyType(key);
  return type.startsWith("ecdsa") ? "ecdsa" : type.replace("ssh-", "");
}
