import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { judgeFor } from "../../../../provider/remote/ssh/host-key";

/** Lines of known_hosts, and whether ssh(1) itself goes on to log in by them: a real sshd shows the key. */
const sshd = "/usr/sbin/sshd";
const hasSsh = process.getuid?.() === 0 && existsSync(sshd);
if (!hasSsh) console.log(`not compared with ssh: that takes root, and ${sshd} (test/lab/lab install)`);
const compared = hasSsh ? describe : describe.skip;

compared("as ssh does", () => {
  let folder: string;
  let ours: string;
  let other: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "virtio9p-ssh-"));
    mkdirSync("/run/sshd", { recursive: true });
    const make = (name: string): string => {
      spawnSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", join(folder, name)]);
      return readFileSync(join(folder, `${name}.pub`), "utf8")
        .split(" ")
        .slice(0, 2)
        .join(" ");
    };
    ours = make("ours");
    other = make("other");
    writeFileSync(join(folder, "sshd_config"), `HostKey ${join(folder, "ours")}\nUsePAM no\n`);
  });
  afterAll(() => {
    rmSync(folder, { recursive: true });
  });

  /** Whether ssh believes that it is the right machine: it is then told that nobody is let in. */
  const ssh = (known: string, port: number): boolean => {
    writeFileSync(join(folder, "known_hosts"), known);
    const options = [
      `ProxyCommand=${sshd} -i -f ${join(folder, "sshd_config")}`,
      `UserKnownHostsFile=${join(folder, "known_hosts")}`,
      "GlobalKnownHostsFile=/dev/null",
      "StrictHostKeyChecking=yes",
      "PreferredAuthentications=none",
    ];
    const all = ["-F", "none", "-p", String(port), ...options.flatMap((one) => ["-o", one]), "kvm1", "true"];
    const { stderr } = spawnSync("ssh", all, { encoding: "utf8" });
    if (/Permission denied/.test(stderr)) return true;
    if (/Host key verification failed/.test(stderr)) return false;
    throw new Error(stderr);
  };

  test.each<[string, number]>([
    ["", 22],
    ["kvm1 OURS", 22],
    ["kvm1 OTHER", 22],
    ["[kvm1]:2222 OURS", 22],
    ["kvm1 OURS", 2222],
    ["kvm1 OTHER", 2222],
    ["kvm1 OTHER\nkvm1 OURS", 2222],
    ["KVM? OURS", 2222],
    ["*,!kvm1 OURS", 2222],
    ["[kvm1]:2222 OURS", 2222],
    ["[kvm1]:2222 OTHER\nkvm1 OURS", 2222],
    ["[kvm1]:2222 OURS\nkvm1 OTHER", 2222],
    ["[kvm1]:2223 OTHER\nkvm1 OURS", 2222],
    ["[kvm1]:2223 OURS", 2222],
    ["[kvm1]:22 OURS", 2222],
    ["@revoked * OURS\nkvm1 OURS", 2222],
    ["@revoked kvm1 OURS\nkvm1 OURS", 2222],
    ["@revoked [kvm1]:2222 OURS\nkvm1 OURS", 2222],
    ["@revoked kvm1 OURS\n[kvm1]:2222 OURS", 2222],
    ["@cert-authority [kvm1]:2222 OTHER\nkvm1 OURS", 2222],
  ])("%j at port %i", async (lines, port) => {
    const known = `${lines.replaceAll("OURS", ours).replaceAll("OTHER", other)}\n`;
    const expected = ssh(known, port);
    const where = { layer: "host", machine: "root@kvm1" } as const;
    const asked = { host: "kvm1", port, verify: true };
    const { judge } = await judgeFor(asked, where, [join(folder, "known_hosts")]);
    expect([lines, judge(Buffer.from(ours.split(" ")[1] ?? "", "base64")) === undefined]).toEqual([
      lines,
      expected,
    ]);
  });
});
