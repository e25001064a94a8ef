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
  const both = () => ({ writes: share("writes"), reads: share("reads", { readOnly: true }) });
  const inGuest = (script: string): Promise<string> => host.guestSh("nested", script);
  let uuid = "";

  beforeAll(async () => {
    await Promise.all([stack.open(), host.boot()]);
    uuid = await host.defineGuest("nested");
  });

  afterAll(async () => {
    await host.remove();
    stack.close();
  });

  it("a path that its profile cannot hold is refused, for the domain would not start", async () => {
    stack.declare({
      glob: share("glob", { source: "/srv/a[b]" }),
      system: share("system", { source: "/library/a" }),
    });
    const refused = (await stack.pulumi("up", ["--parallel", "64"])).stdout;
    expect(refused).toMatch(/cannot name \/srv\/a\[b\], for the \[ in it.*\[appArmorForbids\]/);
    expect(refused).toMatch(/begins with \/lib: with \/library\/a it would not start \[appArmorForbids\]/);
  });

  it("libvirt's profile allows what is shared, and the guest reads and writes, confined", async () => {
    stack.declare(both());
    await stack.must("up", ["--parallel", "64"]);
    expect(await stack.share("writes")).toMatchObject({ status: "active", layers: { selinux: "ok" } });
    expect(await host.sh("cat /proc/$(pgrep -f qemu-system | head -n 1)/attr/current")).toContain(
      `libvirt-${uuid} (enforce)`,
    );
    expect(
      await inGuest(
        "cd /mnt/writes && echo a > a && ln a b && mv b c && mkdir d && ln -s a l && mkfifo f && chmod 4755 a && chown 7:7 a && cat c",
      ),
    ).toBe("a\nstatus 0\n");
    expect(await host.denials()).not.toContain(`libvirt-${uuid}`);
  });

  it("its rules are those of the definition: a directory and all in it, to be written or read", async () => {
    const rules = await host.sh(`cat /etc/apparmor.d/libvirt/libvirt-${uuid}.files`);
    expect(rules).toContain('"/srv/odd writes/**" rwl,');
    expect(rules).toContain('"/srv/odd reads/**" r,');
  });

  it("what is mounted inside is allowed, and what is renamed on the host is not", async () => {
    await host.sh(`mkdir "/srv/odd writes/inside" && mount -t tmpfs none "/srv/odd writes/inside"
chmod 755 "/srv/odd writes/inside" && echo x > "/srv/odd writes/inside/x"`);
    // Read alone: a tmpfs of this kernel takes no attributes, which a mapped share needs for what it makes.
    expect(await inGuest("cat /mnt/writes/inside/x")).toBe("x\nstatus 0\n");
    await host.sh('umount "/srv/odd writes/inside"; mv "/srv/odd writes" /srv/elsewhere');
    expect(await inGuest("echo x > /mnt/writes/new")).toMatch(/Permission denied/);
    await host.sh('mv /srv/elsewhere "/srv/odd writes"');
    expect(await inGuest("echo x > /mnt/writes/new")).toBe("status 0\n");
  });

  it("a denial is in the error", async () => {
    await host.sh(`mkdir -p /etc/apparmor.d/local/abstractions
echo '  audit deny "/srv/odd denied/" r,' >> /etc/apparmor.d/local/abstractions/libvirt-qemu`);
    stack.declare({ ...both(), denied: share("denied") });
    expect((await stack.pulumi("up")).stdout).toMatch(
      /apparmor="DENIED" operation="open".*profile="libvirt-[^]*local\/abstractions\/libvirt-qemu/,
    );
  });
});
