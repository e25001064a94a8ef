import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FarNetwork } from "./support/far-network";
import { directory, Guest } from "./support/lab";
import { output } from "./support/run";
import { freePort } from "./support/ssh-server";
import { Stack } from "./support/stack";
import { type ConnectionArgs, letInto, SshHost } from "./support/via";

/** A guest that has no agent, over SSH. */
describe("a guest over SSH", () => {
  const guest = new Guest("sshguest", "systemd");
  const other = new Guest("sshother", "small");
  const stack = new Stack();
  const host = new SshHost();
  const far = new FarNetwork();
  const keys = mkdtempSync(join(tmpdir(), "virtio9p-guest-"));
  const base = "/srv/v9p-sshguest";
  const source = `${base}/tree`;
  const mountPoint = "/mnt/tree";
  let door: ConnectionArgs;
  let before: string;
  let touched: string;

  const share = (connection: object = {}, more: object = {}, args: object = {}): object => ({
    source,
    domain: guest.domain,
    tag: "tree",
    power: "restart",
    guest: { mountPoint, connection: { ...door, ...connection }, ...more },
    ...args,
  });
  /** The host as the far network reaches it. */
  const at = (): object => ({ host: { connection: { ...host.connection, host: far.address } } });
  /** The guest by way of it. */
  const behind = (): object => ({ proxy: { ...host.connection, host: far.address } });
  /** With the machine's own client: the guest's agent is gone. */
  const inGuest = (script: string): Promise<string> =>
    output(
      "ssh",
      [
        ...["-i", join(keys, "key"), "-p", String(door.port), "-o", "BatchMode=yes"],
        ...["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"],
        ...["admin@127.0.0.1", "sudo -n sh -s"],
      ],
      { input: script },
    );
  const booted = async (): Promise<void> => {
    for (let left = 120; ; left--) {
      try {
        await inGuest("until systemctl is-active multi-user.target; do sleep 1; done >/dev/null");
        return;
      } catch (error) {
        if (left === 0) throw error;
      }
      await new Promise((resolve) => setTimeout(resolve, 1000));
    }
  };

  beforeAll(async () => {
    rmSync(base, { recursive: true, force: true });
    mkdirSync(source, { recursive: true });
    await far.open();
    const port = await freePort();
    await Promise.all([
      stack.open(),
      host.open([`ListenAddress ${far.address}`]),
      guest.define("--ssh", String(port)).then(() => guest.bootDefined()),
      other.define().then(() => other.bootDefined()),
    ]);
    door = await letInto(port, (script) => guest.sh(script));
    writeFileSync(join(keys, "key"), door.privateKey, { mode: 0o600 });
    guest.sh = inGuest;
    await inGuest("systemctl mask --now qemu-guest-agent");
    before = await directory(source);
    touched = await guest.touched();
  });
  afterAll(async () => {
    await host.close();
    await far.close();
    await Promise.all([guest.remove(), other.remove()]);
    stack.close();
    rmSync(keys, { recursive: true });
    rmSync(base, { recursive: true, force: true });
  });

  it("is refused where another machine answers at its address, before anything is changed there", async () => {
    stack.declare({ share: share({}, {}, { domain: other.domain }) });
    const { code, stdout, stderr } = await stack.pulumi("up");
    expect(code).not.toBe(0);
    expect(stdout + stderr).toMatch(
      /what answers there is not the domain v9p-sshother: its system has the UUID \S+, and the domain's \S+ \[guestIsAnother\]/,
    );
    expect([await directory(source), await guest.touched()]).toEqual([before, touched]);
  });

  it("is refused where it does not show which machine it is, before anything is changed there", async () => {
    const uuid = "/sys/class/dmi/id/product_uuid";
    stack.declare({ share: share() });
    // Cannot be read at its beginning: nothing is mapped there.
    await inGuest(`mount --bind /proc/1/mem ${uuid}`);
    const { code, stdout, stderr } = await stack.pulumi("up");
    await inGuest(`umount ${uuid}`);
    expect(code).not.toBe(0);
    expect(stdout + stderr).toMatch(
      /does not show the UUID of its system, so nothing tells that it is the domain v9p-sshguest \[guestUnidentified\]/,
    );
    expect(stdout + stderr).toMatch(/answer: unreadable: cat: \S*product_uuid: Input\/output error/);
    expect([await directory(source), await guest.touched()]).toEqual([before, touched]);
  });

  it("takes part in a power cycle, and has it all", async () => {
    stack.declare({ share: share() });
    await stack.must("up");
    expect(await stack.share("share")).toMatchObject({
      status: "active",
      layers: { mount: "ok", fstab: "ok" },
    });
    expect(await inGuest(`findmnt -no FSTYPE ${mountPoint}`)).toBe("9p\n");
    await stack.must("refresh", ["--expect-no-changes"]);
    await stack.must("up", ["--expect-no-changes"]);
  });

  it("through its host alone, from where only that is reached", async () => {
    stack.declare({});
    await stack.must("up");
    stack.declare({ share: share(behind(), {}, at()) });
    const logins = host.server.logins;
    await stack.must("up", [], { path: far.path });
    // As the host, and as the way to the guest.
    expect(host.server.logins - logins).toBe(2);
    expect(await stack.share("share")).toMatchObject({ status: "active", layers: { mount: "ok" } });
    await stack.must("refresh", ["--expect-no-changes"], { path: far.path });
  });

  it("straight, where it is not reached, it is pending and says why", async () => {
    // Another way there alone asks no machine.
    stack.declare({ share: share({ dialErrorLimit: 0 }, { mode: "0750" }, at()) });
    const straight = await stack.must("up", [], { path: far.path });
    expect(straight.stdout).toMatch(
      /admin@127\.0\.0\.1:\d+ does not answer: the guest is left as it is until the next up/,
    );
    expect(await stack.share("share")).toMatchObject({ status: "pendingGuest" });
    stack.declare({ share: share(behind(), {}, at()) });
    await stack.must("up", [], { path: far.path });
    expect(await stack.share("share")).toMatchObject({ status: "active" });
  });

  it("keys that are wrong are errors, and change nothing", async () => {
    const wrong = share({ ...behind(), hostKey: host.server.hostKey() }, { mode: "0711" }, at());
    stack.declare({ share: wrong });
    const { code, stdout, stderr } = await stack.pulumi("up", [], { path: far.path });
    expect([code !== 0, (stdout + stderr).includes("[hostKeyMismatch]")]).toEqual([true, true]);
    expect(await inGuest(`stat -c %a ${mountPoint}`)).not.toBe("711\n");
  });

  it("a guest that is off keeps what it has, so its connection cannot go from the program", async () => {
    stack.declare({ share: share(behind(), {}, at()) });
    await stack.must("up", [], { path: far.path });
    await guest.shutDown();
    const without = { ...share({}, {}, at()), guest: undefined, power: "never" };
    stack.declare({ share: without });
    const { code, stdout, stderr } = await stack.pulumi("up", [], { path: far.path });
    expect(code).not.toBe(0);
    expect(stdout + stderr).toContain("start v9p-sshguest first, or leave guest in until it runs");
    await guest.virsh("start");
    await booted();
    await stack.must("up", [], { path: far.path });
    expect(await guest.touched()).toBe(touched);
    stack.declare({ share: share(behind(), {}, at()) });
    await stack.must("up", [], { path: far.path });
  });

  it("is given back all that it had", async () => {
    await stack.must("destroy", [], { path: far.path });
    expect([await directory(source), await guest.touched()]).toEqual([before, touched]);
  });
});
