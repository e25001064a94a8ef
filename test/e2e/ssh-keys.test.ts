import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Guest, records } from "./support/lab";
import { Relay } from "./support/relay";
import { makeKey, SshServer, Users } from "./support/ssh-server";
import { Stack } from "./support/stack";
import { SshHost } from "./support/via";

/** What gets in to a host over SSH, by which way, and that nothing of it is kept where others read it. */
describe("keys, bastions and secrets of a host over SSH", () => {
  const guest = new Guest("sshkeys", "small");
  const stack = new Stack();
  const host = new SshHost();
  const base = "/srv/v9p-sshkeys";
  const source = `${base}/tree`;
  const share = (connection: object, more: object = {}): void => {
    const at = { ...host.connection, ...connection };
    stack.declare({
      share: { source, domain: guest.domain, tag: "tree", host: { connection: at, ...more } },
    });
  };
  /** A middle line of a key: the first ones of all keys are alike. */
  const secretOf = (key: string): string => key.split("\n")[3] ?? "";

  beforeAll(async () => {
    rmSync(base, { recursive: true, force: true });
    mkdirSync(source, { recursive: true });
    await Promise.all([stack.open(), guest.define(), host.open()]);
    share({});
    await stack.must("up");
  });
  afterAll(async () => {
    await host.close();
    await guest.remove();
    stack.close();
    rmSync(base, { recursive: true, force: true });
  });

  it("says at each run that a key is not verified, where the program says so", async () => {
    share({ hostKey: undefined }, { verifyHostKey: false });
    await stack.must("up");
    const { stdout } = await stack.must("refresh");
    expect(stdout).toMatch(/the host key of \S+@127\.0\.0\.1:\d+ is not verified/);
    share({});
    await stack.must("up");
  });

  it("a rotated key: refresh says what to do, up stores it without asking the machine, and then it is used", async () => {
    const folder = mkdtempSync(join(tmpdir(), "virtio9p-rotated-"));
    try {
      const key = await makeKey(folder, "key", ["-t", "ed25519"]);
      host.server.authorize(host.user, key.publicKey);
      share({ privateKey: key.privateKey });
      const refused = await stack.pulumi("refresh");
      expect(refused.code).not.toBe(0);
      expect(refused.stdout + refused.stderr).toMatch(
        /is not let in \[authenticationFailed\][^]*after a rotation run pulumi up first, without --refresh/,
      );
      const before = host.server.logins;
      await stack.must("up");
      expect(host.server.logins).toBe(before);
      await stack.must("refresh", ["--expect-no-changes"]);
      expect(host.server.logins).toBe(before + 1);
      host.letIn();
      share({});
      await stack.must("up");
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it("a bastion with a user and a key of its own: up stores it without asking anybody, and then it is the way", async () => {
    const bastion = new SshServer();
    const users = new Users();
    const folder = mkdtempSync(join(tmpdir(), "virtio9p-bastion-"));
    const user = `v9p-b${process.pid}`;
    try {
      await users.add(user);
      await bastion.start();
      const key = await makeKey(folder, "gate", ["-t", "ecdsa"]);
      bastion.authorize(user, key.publicKey);
      const own = { user, privateKey: key.privateKey, host: "127.0.0.1", port: bastion.port };
      share({ proxy: { ...own, hostKey: bastion.hostKey() } });
      const before = host.server.logins;
      await stack.must("up");
      expect([bastion.logins, host.server.logins - before]).toEqual([0, 0]);
      await stack.must("refresh", ["--expect-no-changes"]);
      expect([bastion.logins, host.server.logins - before]).toEqual([1, 1]);
      expect(host.server.log).not.toContain(`user ${user}`);
      await bastion.stop();
      share({ proxy: { ...own, hostKey: bastion.hostKey(), dialErrorLimit: 0 } });
      await stack.must("up");
      const refused = await stack.pulumi("refresh");
      expect(refused.stdout + refused.stderr).toContain(
        `${user}@127.0.0.1:${bastion.port}: it does not answer`,
      );
      share({});
      await stack.must("up");
    } finally {
      await bastion.close();
      await users.close();
      rmSync(folder, { recursive: true });
    }
  });

  it("no secret is in the state, its history, a message, the most verbose output or a process list", async () => {
    const folder = mkdtempSync(join(tmpdir(), "virtio9p-secret-"));
    let watch: NodeJS.Timeout | undefined;
    try {
      const word = "pass-word-0815";
      const key = await makeKey(folder, "key", ["-t", "ed25519"], word);
      host.server.authorize(host.user, key.publicKey);
      const own = { privateKey: key.privateKey, privateKeyPassword: word, password: "another-word-4711" };
      share(own);
      const secrets = [secretOf(key.privateKey), word, own.password];
      const listed: string[] = [];
      watch = setInterval(() => {
        listed.push(...processes().filter((line) => secrets.some((secret) => line.includes(secret))));
      }, 20);
      const env = { VIRTIO9P_LOG: "scripts" };
      const said: string[] = [];
      for (const [command, ...args] of [
        ["up"],
        ["refresh"],
        ["preview", "--diff"],
        ["up", "--replace", await stack.urn("share")],
      ] as const) {
        const { stdout, stderr } = await stack.must(command, args, { env });
        said.push(stdout, stderr);
      }
      host.server.authorize(host.user, "");
      const refused = await stack.pulumi("refresh", ["--debug"], { env });
      said.push(refused.stdout, refused.stderr);
      expect(refused.stdout + refused.stderr).toContain("authenticationFailed");
      expect(listed).toEqual([]);
      const kept = readdirSync(join(stack.folder, "state"), { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile())
        .map((entry) => readFileSync(join(entry.parentPath, entry.name), "utf8"));
      // They were looked for where they would be: what is not secret of the share is there.
      expect(kept.filter((text) => text.includes(source)).length).toBeGreaterThan(5);
      for (const secret of secrets) {
        expect(said.filter((text) => text.includes(secret))).toEqual([]);
        expect(kept.filter((text) => text.includes(secret))).toEqual([]);
      }
      host.letIn();
      share({});
      await stack.must("up");
    } finally {
      clearInterval(watch);
      rmSync(folder, { recursive: true });
    }
  });

  it("a refresh costs one handshake, and three round trips a script", async () => {
    await Relay.during(host.server.port, async (relay) => {
      try {
        const at = { ...host.connection, port: relay.port };
        stack.declare({ far: { source: `${base}/far`, domain: guest.domain, host: { connection: at } } });
        await stack.must("up");
        relay.oneWayMs = 100;
        const accepted = relay.accepted;
        relay.trips = 0;
        await stack.must("refresh");
        expect(relay.accepted - accepted).toBe(1);
        process.stderr.write(`ssh-keys: a refresh takes ${relay.trips} round trips, 3 of them its script\n`);
        // Versions, key exchange, its end, the service, the key offered, the key proven, and the script's three.
        expect(relay.trips).toBeLessThan(11);
      } finally {
        relay.oneWayMs = 0;
        stack.declare({});
        await stack.must("up");
        share({});
        await stack.must("up");
      }
    });
  });

  it("destroy leaves nothing", async () => {
    await stack.must("destroy");
    expect(await guest.definition()).not.toContain("<filesystem");
    expect(await records(source)).toEqual([]);
  });
});

/** Command line and environment of each process of this machine but our own. */
function processes(): string[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .flatMap((name) => {
      try {
        return ["cmdline", "environ"].map((file) => readFileSync(`/proc/${name}/${file}`, "latin1"));
      } catch {
        return []; // ended meanwhile
      }
    });
}
