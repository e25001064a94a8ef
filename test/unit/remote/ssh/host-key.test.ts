import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { judgeFor, type Verification } from "../../../../provider/remote/ssh/host-key";

/** Which keys are let through, and what the others are told; the files are the test's. */

const bytesOf = (byte: number, type = "ssh-ed25519"): Buffer => {
  const head = Buffer.alloc(4);
  head.writeUInt32BE(type.length);
  return Buffer.concat([head, Buffer.from(type), Buffer.from([0, 0, 0, 32]), Buffer.alloc(32, byte)]);
};
const line = (byte: number, type = "ssh-ed25519"): string =>
  `${type} ${bytesOf(byte, type).toString("base64")}`;
const where = { layer: "host", machine: "root@kvm1" } as const;

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "virtio9p-known-"));
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});

async function judged(shown: Buffer, asked: Partial<Verification>, known = "", system = "") {
  const files = ["user", "system"].map((name) => join(folder, name));
  if (known !== "") writeFileSync(files[0] ?? "", known);
  if (system !== "") writeFileSync(files[1] ?? "", system);
  const { prefer, judge } = await judgeFor({ host: "kvm1", port: 22, verify: true, ...asked }, where, files);
  const refused = judge(shown);
  return { prefer, code: refused?.code, message: refused?.message ?? "" };
}

test.each<[string, Partial<Verification>, string, string]>([
  ["hostKey", { hostKey: line(1) }, "", ""],
  ["hostKey, with others", { hostKey: `${line(2)}\n${line(1)} comment` }, "", ""],
  ["hostKey, whatever known_hosts has", { hostKey: line(1) }, `kvm1 ${line(2)}`, ""],
  ["the user's known_hosts", {}, `kvm1 ${line(1)}`, ""],
  ["the system's", {}, "", `kvm1 ${line(1)}`],
  ["one of several keys", {}, `kvm1 ${line(2)}\nkvm1 ${line(1)}`, ""],
  ["nothing, for it is switched off", { verify: false }, `kvm1 ${line(2)}`, ""],
])("let through by %s", async (_, asked, known, system) => {
  expect((await judged(bytesOf(1), asked, known, system)).code).toBeUndefined();
});

test.each<[string, Partial<Verification>, string, string, RegExp]>([
  [
    "no file",
    {},
    "",
    "hostKeyUnknown",
    /its key is not known: SHA256:\S{43} \(ssh-ed25519\).*set hostKey to "ssh-ed25519 AAAA/s,
  ],
  [
    "a line for another port",
    { port: 2222 },
    `[kvm1]:2223 ${line(1)}`,
    "hostKeyUnknown",
    /has no line for \[kvm1\]:2222 \[/,
  ],
  [
    "another key without a port",
    { port: 2222 },
    `kvm1 ${line(2)}`,
    "hostKeyUnknown",
    /no line for \[kvm1\]:2222, and for kvm1 without a port it has SHA256:\S{43} \(ssh-ed25519\) \[/,
  ],
  [
    "an authority",
    {},
    `@cert-authority * ${line(1)}`,
    "hostKeyUnknown",
    /authority for it: those are not supported/,
  ],
  [
    "another key",
    {},
    `kvm1 ${line(2)}`,
    "hostKeyMismatch",
    /known_hosts has SHA256:\S{43} \(ssh-ed25519\) for kvm1.*ssh-keygen -R 'kvm1'/s,
  ],
  ["a revoked key", {}, `kvm1 ${line(1)}\n@revoked * ${line(1)}`, "hostKeyMismatch", /has as revoked/],
  [
    "another hostKey",
    { hostKey: line(2) },
    `kvm1 ${line(1)}`,
    "hostKeyMismatch",
    /hostKey has SHA256:\S{43}/,
  ],
])("refused for %s", async (_, asked, known, code, message) => {
  const refused = await judged(bytesOf(1), asked, known);
  expect([refused.code, refused.message]).toEqual([code, expect.stringMatching(message)]);
});

test("the machine is asked for a key that is known", async () => {
  const known = `kvm1 ${line(1, "ssh-rsa")}\nkvm1 ${line(1, "ecdsa-sha2-nistp256")}`;
  expect((await judged(bytesOf(1, "ssh-rsa"), {}, known)).prefer).toEqual([
    "rsa-sha2-512",
    "rsa-sha2-256",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
  ]);
});
