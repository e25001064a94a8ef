import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  formatHostKey,
  knownHost,
  parseHostKey,
  parseKnownHosts,
} from "../../../provider/formats/known-hosts";

/** A key of a kind whose point is all one byte. */
function key(byte: number, type = "ssh-ed25519"): Buffer {
  const head = Buffer.alloc(4);
  head.writeUInt32BE(type.length);
  return Buffer.concat([head, Buffer.from(type), Buffer.from([0, 0, 0, 32]), Buffer.alloc(32, byte)]);
}
const [one, two, three] = [key(1), key(2), key(3, "ssh-rsa")].map(formatHostKey) as [string, string, string];

/** The keys that a file has for a host, by their last byte. */
function found(text: string, host: string, port = 22): number[] {
  return knownHost(parseKnownHosts(text), host, port).keys.map((bytes) => bytes.at(-1) ?? 0);
}

test.each<[string, string, number, number[]]>([
  [`kvm1 ${one}`, "kvm1", 22, [1]],
  [`kvm1 ${one}`, "kvm10", 22, []],
  [`KVM1.Example ${one}`, "kvm1.example", 22, [1]],
  [`kvm1,10.0.0.5 ${one} a comment`, "10.0.0.5", 22, [1]],
  [`  kvm1\t${one}`, "kvm1", 22, [1]],
  [`kvm1 ${one}\r`, "kvm1", 22, [1]],
  [`# kvm1 ${one}`, "kvm1", 22, []],
  ["kvm1 ssh-ed25519 garbage", "kvm1", 22, []],
  ["kvm1", "kvm1", 22, []],
  [`kvm1 ${one}\nkvm1 ${three}\nkvm2 ${two}`, "kvm1", 22, [1, 3]],
  [`kvm1 ${one}`, "kvm1", 2222, []],
  [`[kvm1]:2222 ${one}`, "kvm1", 2222, [1]],
  [`[kvm1]:2222 ${one}`, "kvm1", 22, []],
  [`[::1]:2222 ${one}`, "::1", 2222, [1]],
  [`::1 ${one}`, "::1", 22, [1]],
  [`*.example ${one}`, "kvm1.example", 22, [1]],
  [`*.example ${one}`, "example", 22, []],
  [`kvm?.example ${one}`, "kvm1.example", 22, [1]],
  [`kvm?.example ${one}`, "kvm12.example", 22, []],
  [`*.example,!kvm1.example ${one}`, "kvm1.example", 22, []],
  [`*.example,!kvm1.example ${one}`, "kvm2.example", 22, [1]],
  [`!kvm1.example ${one}`, "kvm2.example", 22, []],
  [`*a*a*a*a*a*a*a*a*a*a*b ${one}`, "a".repeat(200), 22, []],
])("%j for %s at port %i", (text, host, port, keys) => {
  expect(found(text, host, port)).toEqual(keys);
});

test("revoked keys and certificate authorities are told apart from the host's own", () => {
  const text = `kvm1 ${one}\n@revoked * ${two}\n@cert-authority *.example ${three}\n@other kvm1 ${two}`;
  const lines = parseKnownHosts(text);
  expect(knownHost(lines, "kvm1", 22)).toEqual({
    keys: [key(1)],
    portless: [],
    revoked: [key(2)],
    byAuthority: false,
  });
  expect(knownHost(lines, "kvm2.example", 22)).toMatchObject({ keys: [], byAuthority: true });
});

test("what ssh-keygen -H hashed is found by name, and by name and port", () => {
  const folder = mkdtempSync(join(tmpdir(), "virtio9p-known-"));
  try {
    const file = join(folder, "known_hosts");
    writeFileSync(file, `kvm1.example ${one}\n[kvm2.example]:2222 ${two}\n`);
    execFileSync("ssh-keygen", ["-q", "-H", "-f", file], { stdio: "ignore" });
    const text = readFileSync(file, "utf8");
    expect(text).toMatch(/^\|1\|.*\n\|1\|/);
    expect([
      found(text, "kvm1.example"),
      found(text, "kvm2.example", 2222),
      found(text, "kvm2.example"),
    ]).toEqual([[1], [2], []]);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test.each([
  "",
  "ssh-ed25519",
  "ssh-ed25519 AAAA",
  `ssh-rsa ${key(1).toString("base64")}`,
  "-----BEGIN PUBLIC KEY-----",
])("%j is no key", (text) => {
  expect(parseHostKey(text)).toBeUndefined();
});

test("a key is the same with and without a comment, and without the padding of its base64", () => {
  expect(parseHostKey(` ${one} root@kvm1\n`)).toEqual(key(1));
  expect(parseHostKey(one.replace(/=+$/, ""))).toEqual(key(1));
  expect(parseHostKey(two)).not.toEqual(key(1));
});
