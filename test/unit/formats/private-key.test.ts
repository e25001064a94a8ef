import { execFileSync } from "node:child_process";
import { generateKeyPairSync } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { portableKey } from "../../../provider/formats/private-key";

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

test("a key of a kind that SSH does not have is refused by name", () => {
  const { privateKey } = generateKeyPairSync("x25519", {
    privateKeyEncoding: plain,
    publicKeyEncoding: { type: "spki", format: "pem" },
  });
  expect(() => portableKey(privateKey, undefined)).toThrow("a key of the kind x25519 is none of SSH");
});
