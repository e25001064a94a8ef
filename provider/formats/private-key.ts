import { createPrivateKey, type KeyObject } from "node:crypto";

/** A private key of a form or a kind that cannot be used here, with what to do about it. */
export class UnusableKey extends Error {
  override readonly name = "UnusableKey";
  constructor(
    message: string,
    readonly remedy: string,
  ) {
    super(message);
  }
}

const makeAnother = "make another key (ssh-keygen -t ed25519), and let it in there (ssh-copy-id)";

/**
 * A private key in a form that every SSH implementation reads: what is PKCS #8 (`BEGIN PRIVATE KEY`, as
 * `tls.PrivateKey` gives Ed25519 keys) in that of its kind; everything else as it is, with one line end.
 *
 * Throws {@link UnusableKey}, or what node:crypto says, which never holds the key or its password. Source: RFC 5958;
 * OpenSSH 9.2 PROTOCOL.key; PuTTY 0.75 manual, appendix C.
 */
export function portableKey(text: string, password: string | undefined): string {
  const pem = `${text.trim().replaceAll("\r\n", "\n")}\n`;
  if (pem.startsWith("PuTTY-User-Key-File-3")) {
    throw new UnusableKey(
      "it is in PuTTY's format 3",
      "give it in OpenSSH's: puttygen KEY.ppk -O private-openssh -o KEY",
    );
  }
  if (pem.startsWith("-----BEGIN OPENSSH PRIVATE KEY-----")) refuseUnusable(pem);
  if (!/^-----BEGIN (ENCRYPTED )?PRIVATE KEY-----/.test(pem)) return pem;
  const key = decrypted(pem, password);
  const kind = key.asymmetricKeyType ?? "unknown";
  if (kind === "rsa") return key.export({ format: "pem", type: "pkcs1" }).toString();
  if (kind === "ec") return key.export({ format: "pem", type: "sec1" }).toString();
  if (kind === "ed25519") return openssh(key);
  throw new UnusableKey(
    kind === "dsa"
      ? "it is a DSA key in PKCS #8, and OpenSSH takes no DSA keys by default since 7.0"
      : `it is a key of the kind ${kind}, which SSH does not have`,
    makeAnother,
  );
}

function decrypted(pem: string, password: string | undefined): KeyObject {
  try {
    return createPrivateKey({ key: pem, ...(password === undefined ? {} : { passphrase: password }) });
  } catch (error) {
    if (!pem.startsWith("-----BEGIN ENCRYPTED")) throw error;
    throw new UnusableKey(
      password === undefined ? "it is encrypted" : "privateKeyPassword does not decrypt it",
      "give its password as privateKeyPassword",
    );
  }
}

/** Of OpenSSH's own format what the SSH library cannot use, though it begins to read it. */
function refuseUnusable(pem: string): void {
  const bytes = Buffer.from(pem.replace(/-----[^-]+-----/g, ""), "base64").toString("latin1");
  // Each text is behind its length in four bytes: the cipher comes first, the types of public keys further on.
  const cipher = /^openssh-key-v1.{5}([\w@.-]+)/s.exec(bytes)?.[1] ?? "";
  const token = /(?<=\0{3}.)sk-[\w-]+@openssh\.com/s.exec(bytes)?.[0];
  if (token !== undefined) {
    throw new UnusableKey(
      `it is the handle of a security token (${token}), which only an agent can use`,
      "add it to an agent (ssh-add), and give agentSocketPath in its place",
    );
  }
  if (cipher.startsWith("chacha20")) {
    throw new UnusableKey(
      `it is encrypted with ${cipher}, which cannot be decrypted here`,
      "encrypt it with another cipher: ssh-keygen -p -Z aes256-ctr -f KEY",
    );
  }
}

/** An Ed25519 key as ssh-keygen(1) writes it, without a password of its own: it never reaches a disk. */
function openssh(key: KeyObject): string {
  const jwk = key.export({ format: "jwk" });
  const [secret, point] = [jwk.d, jwk.x].map((part) => Buffer.from(part ?? "", "base64url"));
  const kind = field(Buffer.from("ssh-ed25519"));
  const shown = field(point ?? Buffer.alloc(0));
  // Twice the same number, by which a reader knows that it has decrypted well; then seed and point as one field.
  const both = field(Buffer.concat([secret ?? Buffer.alloc(0), point ?? Buffer.alloc(0)]));
  const inner = Buffer.concat([Buffer.alloc(8), kind, shown, both, field(Buffer.alloc(0))]);
  const padding = Buffer.from([1, 2, 3, 4, 5, 6, 7].slice(0, (8 - (inner.length % 8)) % 8));
  const none = field(Buffer.from("none"));
  const one = Buffer.from([0, 0, 0, 1]);
  const bytes = Buffer.concat([
    Buffer.from("openssh-key-v1\0"),
    ...[none, none, field(Buffer.alloc(0)), one],
    field(Buffer.concat([kind, shown])),
    field(Buffer.concat([inner, padding])),
  ]);
  const body = bytes.toString("base64").replace(/.{70}/g, "$&\n");
  return `-----BEGIN OPENSSH PRIVATE KEY-----\n${body}\n-----END OPENSSH PRIVATE KEY-----\n`;
}

/** Bytes behind their length (RFC 4251, 5: string). */
function field(bytes: Buffer): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length);
  return Buffer.concat([length, bytes]);
}
