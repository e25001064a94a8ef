import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { directory, Guest } from "./support/lab";
import { Stack } from "./support/stack";
import { SshHost } from "./support/via";

/**
 * The life of a share on a host over SSH: who the host is, and what it costs. Every commit is tested with it: keys,
 * bastions and secrets are in ssh-keys.test.ts.
 */
describe("a host over SSH", () => {
  const guest = new Guest("overssh", "small");
  const stack = new Stack();
  const host = new SshHost();
  const base = "/srv/v9p-overssh";
  const source = `${base}/tree`;
  let before: string;
  const share = (connection: object, more: object = {}): void => {
    const at = { ...host.connection, ...connection };
    stack.declare({
      share: { source, domain: guest.domain, tag: "tree", host: { connection: at, ...more } },
    });
  };

  beforeAll(async () => {
    rmSync(base, { recursive: true, force: true });
    mkdirSync(source, { recursive: true });
    await Promise.all([stack.open(), guest.define(), host.open()]);
  });
  afterAll(async () => {
    await host.close();
    await guest.remove();
    stack.close();
    rmSync(base, { recursive: true, force: true });
  });

  it("is refused before anything is changed while its key is not known; known_hosts, hashed, will do", async () => {
    before = await directory(source);
    const home = mkdtempSync(join(tmpdir(), "virtio9p-home-"));
    try {
      share({ hostKey: undefined });
      const refused = await stack.pulumi("up", [], { env: { HOME: home } });
      const said = refused.stdout + refused.stderr;
      expect(refused.code).not.toBe(0);
      expect(said).toMatch(
        /host on \S+@127\.0\.0\.1:\d+: its key is not known: SHA256:\S+ .*\[hostKeyUnknown\]/,
      );
      expect(await directory(source)).toBe(before);
      mkdirSync(join(home, ".ssh"));
      const file = join(home, ".ssh/known_hosts");
      writeFileSync(file, `[127.0.0.1]:${host.server.port} ${host.server.hostKey()}\n`);
      execFileSync("ssh-keygen", ["-q", "-H", "-f", file], { stdio: "ignore" });
      await stack.must("up", [], { env: { HOME: home } });
      expect(await stack.share("share")).toMatchObject({ status: "off", layers: { device: "ok" } });
      // What comes next has no such file.
      share({});
      await stack.must("up");
    } finally {
      rmSync(home, { recursive: true });
    }
  });

  it("one login an operation, and none where nothing is to do", async () => {
    share({});
    await stack.must("up");
    const before = host.server.logins;
    await stack.must("refresh");
    expect(host.server.logins - before).toBe(1);
    await stack.must("up", ["--expect-no-changes"]);
    expect(host.server.logins - before).toBe(1);
  });

  it("a host that is gone: destroy names the way out and loses nothing; when it is back, all is given back", async () => {
    share({ dialErrorLimit: 0 });
    await stack.must("up");
    await host.server.stop();
    const refused = await stack.pulumi("destroy");
    expect(refused.code).not.toBe(0);
    expect(refused.stdout + refused.stderr).toMatch(
      /it does not answer \[hostUnreachable\][^]*to give it up without touching the host: pulumi state delete 'urn:/,
    );
    await host.server.resume();
    await stack.must("destroy");
    expect(await directory(source)).toBe(before);
    expect(await guest.definition()).not.toContain("<filesystem");
  });
});
