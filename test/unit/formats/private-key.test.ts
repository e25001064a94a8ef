import { execFileSync } from "node:child_process";
import { generateKeyPairSync } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { utils } from "ssh2";
import { portableKey, UnusableKey } from "../../../provider/formats/private-key";

/** What ssh-keygen makes of a private key: `ssh-ed25519 AAAA...`. */
function publicPart(text: string): string {
  const folder = mkdtempSync(join(tmpdir(), "virtio9p-key-"));
  try {
    writeFileSync(join(folder, "key"), text, { mode: 0o600 });
    return execFileSync("ssh-keygen", ["-y", "-P", "", "-f", join(folder, "key")], {
      encoding: "utf8",
    }).trim();
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const encrypted = { type: "pkcs8", format: "pem", cipher: "aes-256-cbc", passphrase: "pass word" } as const;
const plain = { type: "pkcs8", format: "pem" } as const;
const kinds = {
  ed25519: (encoding: typeof encrypted | typeof plain) =>
    generateKeyPairSync("ed25519", {
      privateKeyEncoding: encoding,
      publicKeyEncoding: { type: "spki", format: "der" },
    }),
  rsa: (encoding: typeof encrypted | typeof plain) =>
    generateKeyPairSync("rsa", {
      modulusLength: 2048,
      privateKeyEncoding: encoding,
      publicKeyEncoding: { type: "spki", format: "der" },
    }),
  ec: (encoding: typeof encrypted | typeof plain) =>
    generateKeyPairSync("ec", {
      namedCurve: "P-256",
      privateKeyEncoding: encoding,
      publicKeyEncoding: { type: "spki", format: "der" },
    }),
};

test.each(Object.entries(kinds))(
  "PKCS #8, %s: what ssh-keygen takes, and of the same public key",
  (_, make) => {
    for (let turn = 0; turn < 5; turn++) {
      const { privateKey, publicKey } = make(plain);
      const shown = Buffer.from(publicPart(portableKey(privateKey, undefined)).split(" ")[1] ?? "", "base64");
      // The last bytes of both forms are those of the point, but for an RSA key's, whose exponent comes last in one.
      const point = make === kinds.rsa ? publicKey.subarray(-261, -5) : publicKey.subarray(-32);
      expect(shown.includes(point)).toBe(true);
    }
  },
);

test("encrypted PKCS #8 needs its password, and nothing secret is said without", () => {
  const { privateKey } = kinds.ed25519(encrypted);
  expect(publicPart(portableKey(privateKey, "pass word"))).toMatch(/^ssh-ed25519 /);
  for (const word of [undefined, "other"]) {
    expect(() => portableKey(privateKey, word)).toThrow(/^(?!.*(pass word|BEGIN)).*$/s);
  }
});

test.each([
  ["-----BEGIN OPENSSH PRIVATE KEY-----\r\nabc\r\n-----END OPENSSH PRIVATE KEY-----", "abc"],
  ["no key at all", "no key"],
])("anything else is left as it is, with one line end: %j", (text, part) => {
  const portable = portableKey(text, undefined);
  expect([portable.includes(part), portable.includes("\r"), portable.endsWith("\n")]).toEqual([
    true,
    false,
    true,
  ]);
});

test.each([
  ["x25519", () => generateKeyPairSync("x25519"), "it is a key of the kind x25519, which SSH does not have"],
  [
    "dsa",
    () => generateKeyPairSync("dsa", { modulusLength: 1024, divisorLength: 160 }),
    "it is a DSA key in PKCS #8, and OpenSSH takes no DSA keys by default since 7.0",
  ],
] as const)("PKCS #8 with a key that is of no use is refused by name: %s", (_, make, says) => {
  const pem = make().privateKey.export({ type: "pkcs8", format: "pem" }).toString();
  expect(unusable(pem)).toEqual([says, expect.stringContaining("ssh-keygen -t ed25519")]);
});

/** What is said of a key that cannot be used, and what to do. */
function unusable(text: string, password?: string): readonly string[] {
  try {
    portableKey(text, password);
  } catch (error) {
    if (error instanceof UnusableKey) return [error.message, error.remedy];
    throw error;
  }
  return [];
}

/** Ciphers that ssh-keygen(1) of OpenSSH 9.2 encrypts a key with. */
test.each([
  ["chacha20-poly1305@openssh.com", false],
  ["aes256-gcm@openssh.com", true],
  ["aes256-ctr", true],
  ["aes128-cbc", true],
  ["3des-cbc", true],
])("a key that is encrypted with %s is read, or refused by that name", (cipher, isRead) => {
  const folder = mkdtempSync(join(tmpdir(), "virtio9p-key-"));
  try {
    const file = join(folder, "key");
    execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "word", "-Z", cipher, "-f", file]);
    const text = readFileSync(file, "utf8");
    const says = [
      `it is encrypted with ${cipher}, which cannot be decrypted here`,
      "encrypt it with another cipher: ssh-keygen -p -Z aes256-ctr -f KEY",
    ];
    expect(unusable(text, "word")).toEqual(isRead ? [] : says);
    if (isRead) {
      expect(utils.parseKey(portableKey(text, "word"), "word")).toMatchObject({ type: "ssh-ed25519" });
      return;
    }
    execFileSync("ssh-keygen", ["-q", "-p", "-Z", "aes256-ctr", "-P", "word", "-N", "word", "-f", file]);
    expect(unusable(readFileSync(file, "utf8"), "word")).toEqual([]);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("the handle of a security token is refused by name", () => {
  const text = (value: string): Buffer => {
    const length = Buffer.alloc(4);
    length.writeUInt32BE(value.length);
    return Buffer.concat([length, Buffer.from(value)]);
  };
  const kind = "sk-ssh-ed25519@openssh.com";
  const bytes = Buffer.concat([
    Buffer.from("openssh-key-v1\0"),
    ...[text("none"), text("none"), text(""), Buffer.from([0, 0, 0, 1])],
    text(`${text(kind).toString("latin1")}rest`),
  ]);
  const pem = `-----BEGIN OPENSSH PRIVATE KEY-----\n${bytes.toString("base64")}\n-----END OPENSSH PRIVATE KEY-----`;
  expect(unusable(pem)).toEqual([
    `it is the handle of a security token (${kind}), which only an agent can use`,
    expect.stringContaining("agentSocketPath"),
  ]);
});

test("PuTTY's newest format is refused by name", () => {
  expect(unusable("PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\n")).toEqual([
    "it is in PuTTY's format 3",
    expect.stringContaining("puttygen"),
  ]);
});
