import { ConfinedHost } from "../e2e/support/confined-host";
import { Stack } from "../e2e/support/stack";

/** A host whose QEMU is confined by AppArmor: what docs/apparmor.md says of it. */
describe("a host with AppArmor", () => {
  const host = new ConfinedHost("apparmor", "apparmor");
  const stack = new Stack();
  const share = (name: string, more: object = {}): object => ({
    source: `/srv/odd ${name}`,
    domain: "nested",
    tag: name,
    host: { connection: host.connection },
    power: "restart",
    timeouts: { bootMs: 900_000 },
    guest: { mountPoint: `/mnt/${name}` },
    ...more,
  });
  let uuid = "";

  beforeAll(async () => {
    await Promise.all([stack.open(), host.boot()]);
    uuid = await host.defineGuest("nested");
  });

  afterAll(async () => {
    await host.remove();
    stack.close();
  });

  it("libvirt's profile allows what is shared, and the guest reads and writes, confined", async () => {
    stack.declare({ writes: share("writes"), reads: share("reads", { readOnly: true }) });
    await stack.must("up", ["--parallel", "64"]);
    expect(await stack.share("writes")).toMatchObject({ status: "active", layers: { selinux: "ok" } });
    expect(await host.sh("cat /sys/kernel/security/apparmor/profiles")).toContain(
      `libvirt-${uuid} (enforce)`,
    );
    expect(await host.sh("cat /proc/$(pgrep -f qemu-system | head -n 1)/attr/current")).toContain(
      `libvirt-${uuid} (enforce)`,
    );
    expect(
      await host.guestSh(
        "nested",
        "echo a > /mnt/writes/a && ln /mnt/writes/a /mnt/writes/b && mv /mnt/writes/b /mnt/writes/c && mkdir /mnt/writes/d && ln -s a /mnt/writes/l && mkfifo /mnt/writes/f && chmod 4755 /mnt/writes/a && chown 7:7 /mnt/writes/a && cat /mnt/writes/c",
      ),
    ).toBe("a\nstatus 0\n");
    expect(await host.denials()).not.toContain(`libvirt-${uuid}`);
  });

  it("its rules are those of the definition: a directory and all in it, to be written or read", async () => {
    const rules = await host.sh(`cat /etc/apparmor.d/libvirt/libvirt-${uuid}.files`);
    expect(rules).toMatch(/"\/srv\/odd writes\/?" rwl,/);
    expect(rules).toMatch(/"\/srv\/odd writes\/\*\*" rwl,/);
    expect(rules).toMatch(/"\/srv\/odd reads\/\*\*" [rR],/);
  });

  it("what is bound into the tree from elsewhere is denied", async () => {
    await host.sh(`mkdir -p "/srv/odd writes/elsewhere" /srv/elsewhere
ln -s /srv/elsewhere "/srv/odd writes/link"`);
    expect(await host.guestSh("nested", "ls /mnt/writes/link/")).not.toMatch(/status 0/);
  });
});
