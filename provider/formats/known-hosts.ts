import { createHmac } from "node:crypto";

/**
 * known_hosts: which keys a host may show. Source: sshd(8) of OpenSSH 9.2, SSH_KNOWN_HOSTS FILE FORMAT.
 *
 * Sample lines:
 *
 * ```
 * kvm1.example,10.0.0.5 ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI...
 * [kvm2.example]:2222 ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNo...
 * |1|JfKTdBh7rNbXkVAQCRp4OQoPfmI=|USECr3SWf1JUPsms5AqfD5QfxkM= ssh-rsa AAAAB3NzaC1yc2E...
 * @revoked * ssh-rsa AAAAB5W...
 * ```
 */
export interface KnownHostLine {
  readonly marker: "cert-authority" | "revoked" | undefined;
  /** Patterns as they are written: names with `*`, `?` and `!`, or one hashed name. */
  readonly patterns: string;
  readonly key: Buffer;
}

/** What the files say of one host. */
export interface KnownHost {
  readonly keys: readonly Buffer[];
  /** Those of its name without a port, where none are known for this port, which is another than 22. */
  readonly portless: readonly Buffer[];
  readonly revoked: readonly Buffer[];
  /** Whether a certificate authority vouches for it: keys that are signed by one are not supported here. */
  readonly byAuthority: boolean;
}

/** The bytes of a key as authorized_keys and `ssh-keyscan` have it, with or without a comment; undefined: it is none. */
export function parseHostKey(text: string): Buffer | undefined {
  const [type = "", base64 = ""] = text.trim().split(/\s+/);
  const bytes = Buffer.from(base64, "base64");
  return type !== "" && hostKeyType(bytes) === type ? bytes : undefined;
}

/** `ssh-ed25519 AAAAC3Nz...`: the value for `hostKey`. */
export function formatHostKey(bytes: Buffer): string {
  return `${hostKeyType(bytes)} ${bytes.toString("base64")}`;
}

/** A key's first field is its type, behind its length (RFC 4253, 6.6). */
export function hostKeyType(bytes: Buffer): string {
  return bytes.length < 8 ? "" : bytes.toString("latin1", 4, 4 + bytes.readUInt32BE(0));
}

/** All lines of a file that say something of a host; what cannot be read is left out, as ssh(1) does. */
export function parseKnownHosts(text: string): KnownHostLine[] {
  return text.split("\n").flatMap((line) => {
    const words = line.trim().split(/\s+/);
    const marker = /^@(cert-authority|revoked)$/.exec(words[0] ?? "")?.[1] as KnownHostLine["marker"];
    const [patterns = "", ...rest] = marker === undefined ? words : words.slice(1);
    const key = patterns === "" || patterns.startsWith("#") ? undefined : parseHostKey(rest.join(" "));
    return key ? [{ marker, patterns, key }] : [];
  });
}

/**
 * What lines say of a host that is reached under this name at this port. As ssh(1), a host at another port than 22 that
 * has no line of its own is looked up without the port (OpenSSH 9.2 and 9.9, sshconnect.c `check_host_key`).
 */
export function knownHost(lines: readonly KnownHostLine[], host: string, port: number): KnownHost {
  const name = host.toLowerCase();
  const named = (one: string): KnownHostLine[] => lines.filter(({ patterns }) => isFor(patterns, one));
  const keysOf = (of: readonly KnownHostLine[], marker?: "revoked"): Buffer[] =>
    of.filter((line) => line.marker === marker).map(({ key }) => key);
  const ours = named(port === 22 ? name : `[${name}]:${port}`);
  const keys = keysOf(ours);
  const others = port === 22 || keys.length > 0 ? [] : named(name);
  const all = [...ours, ...others];
  return {
    keys,
    portless: keysOf(others),
    revoked: keysOf(all, "revoked"),
    byAuthority: all.some(({ marker }) => marker === "cert-authority"),
  };
}

/** A negated pattern that matches keeps the whole line out, whatever else matches. */
function isFor(patterns: string, name: string): boolean {
  if (patterns.startsWith("|")) return isHashOf(patterns, name);
  const matching = patterns
    .toLowerCase()
    .split(",")
    .filter((pattern) => matches(pattern.replace(/^!/, ""), name));
  return matching.length > 0 && !matching.some((pattern) => pattern.startsWith("!"));
}

/** `|1|SALT|HASH`: HMAC-SHA1 of the name (OpenSSH 9.2, hostfile.c host_hash). */
function isHashOf(pattern: string, name: string): boolean {
  const [, version, salt = "", hash] = pattern.split("|");
  if (version !== "1") return false;
  return createHmac("sha1", Buffer.from(salt, "base64")).update(name).digest("base64") === hash;
}

/** `*` is any text and `?` any character; both sides are in lower case. Linear, whatever the pattern. */
function matches(pattern: string, name: string): boolean {
  let [at, star, resume] = [0, -1, 0];
  for (let index = 0; index < name.length;) {
    if (pattern[at] === "*") {
      star = at++;
      resume = index;
    } else if (pattern[at] === "?" || pattern[at] === name[index]) {
      at += 1;
      index += 1;
    } else if (star !== -1) {
      at = star + 1;
      index = ++resume;
    } else return false;
  }
  while (pattern[at] === "*") at += 1;
  return at === pattern.length;
}
