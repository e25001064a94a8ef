import { createPrivateKey, type KeyObject } from "node:crypto";

/**
 * A private key in a form that every SSH implementation reads: what is PKCS #8 (`BEGIN PRIVATE KEY`, as
 * `tls.PrivateKey` gives Ed25519 keys) in that of its kind; everything else as it is, with one line end.
 *
 * Throws what node:crypto says, which never holds the key or its password. Source: RFC 5958; OpenSSH 9.2
 * PROTOCOL.key.
 */
export function portableKey(text: string, password: string | undefined): string {
  const pem = `${text.trim().replaceAll("\r\n", "\n")}\n`;
  if (!/^-----BEGIN (ENCRYPTED )?PRIVATE KEY-----/.test(pem)) return pem;
  const key = createPrivateKey({ key: pem, ...(password === undefined ? {} : { passphrase: password }) });
  const kind = key.asymmetricKeyType;
  if (kind === "rsa") return key.export({ format: "pem", type: "pkcs1" }).toString();
  if (kind === "ec") return key.export({ format: "pem", type: "sec1" }).toString();
  if (kind === "ed25519") return openssh(key);
  throw new TypeError(`a key of the kind ${kind ?? "unknown"} is none of SSH`);
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
