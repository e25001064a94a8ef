import { ConfinedHost } from "../e2e/support/confined-host";
import { Stack } from "../e2e/support/stack";

// Each case starts guests inside the emulated host two or three times, which takes minutes each.
jest.setTimeout(3_600_000);

/**
 * What confined guests make: who can use it, now and after the next start of a QEMU. libvirt gives each start other
 * categories, and Debian's policy gives a new file those of QEMU.
 */
describe("files that guests make on a host with SELinux enforcing", () => {
  const host = new ConfinedHost("new-files", "selinux");
  const stack = new Stack();
  const share = (domain: string, source: string, newFiles: string): object => ({
    source,
    domain,
    tag: source.split("/").at(-1),
    host: { connection: host.connection },
    power: "restart",
    otherWriters: "allow",
    selinux: { newFiles },
    timeouts: { bootMs: 900_000, commandMs: 300_000 },
    guest: { mountPoint: `/mnt/${source.split("/").at(-1) ?? ""}` },
  });
  const own = () => ({ own: share("second", "/srv/own", "ignore") });
  const shared = () => ({
    first: share("first", "/srv/shared", "inherit"),
    second: share("second", "/srv/shared", "inherit"),
  });
  const labelOf = async (path: string): Promise<string> => (await host.sh(`stat -c %C ${path}`)).trim();
  const categories = /s0:c\d+,c\d+$/;
  /** By the kernel's policy: may a QEMU of another guest read such a file? */
  const othersMayRead = async (label: string): Promise<boolean> =>
    (
      await host.sh(`python3 - <<'ASK'
import selinux
try:
    selinux.selinux_check_access("system_u:system_r:svirt_t:s0:c1001,c1002", "${label}", "file", "read")
    print("yes")
except OSError:
    print("no")
ASK`)
    ).trim() === "yes";

  beforeAll(async () => {
    await Promise.all([stack.open(), host.boot()]);
    for (const name of ["first", "second"]) await host.defineGuest(name);
  });

  afterAll(async () => {
    await host.remove();
    stack.close();
  });

  it("by themselves carry its categories: no other guest can use them, and after a power cycle not this one", async () => {
    stack.declare(own());
    await stack.must("up");
    expect(await host.guestSh("second", "echo made > /mnt/own/made && cat /mnt/own/made")).toBe(
      "made\nstatus 0\n",
    );
    expect(await labelOf("/srv/own/made")).toMatch(categories);
    expect(await othersMayRead(await labelOf("/srv/own/made"))).toBe(false);
    await host.shutDownGuest("second");
    await host.bootGuest("second");
    expect(await host.guestSh("second", "cat /mnt/own/made")).toMatch(/Permission denied/);
  });

  it("with newFiles: inherit have their directory's range: every guest that has the directory can use them", async () => {
    // One after the other: an operation has 15 minutes, and each guest that starts here needs some of them.
    const { first } = shared();
    stack.declare({ ...own(), first });
    await stack.must("up");
    stack.declare({ ...own(), ...shared() });
    await stack.must("up");
    expect(await host.guestSh("first", "echo made > /mnt/shared/made && mkdir /mnt/shared/dir")).toBe(
      "status 0\n",
    );
    expect(
      await host.guestSh(
        "second",
        "cat /mnt/shared/made && echo second >> /mnt/shared/made && touch /mnt/shared/dir/second",
      ),
    ).toBe("made\nstatus 0\n");
    expect(await labelOf("/srv/shared/made")).toBe("system_u:object_r:svirt_image_t:s0");
    // docs/decisions/0012-selinux.md: then nothing but its exports separates a guest from them.
    expect(await othersMayRead("system_u:object_r:svirt_image_t:s0")).toBe(true);
  });

  it("and stay usable over two power cycles, still enforcing", async () => {
    for (const turn of [1, 2]) {
      await host.shutDownGuest("first");
      await host.bootGuest("first");
      expect(
        await host.guestSh(
          "first",
          `cat /mnt/shared/made && echo ${turn} >> /mnt/shared/made && touch /mnt/shared/dir/${turn} && rm /mnt/shared/dir/${turn}`,
        ),
      ).toMatch(/^made\nsecond\n(1\n)?status 0/);
    }
    expect((await host.sh("getenforce")).trim()).toBe("Enforcing");
    expect(await host.sh("ps -eo label,args | grep -c 'svirt_t:s0:c.*[q]emu-system'")).toBe("2\n");
  });

  it("label and policy module stay for who still has them, and go with the last", async () => {
    await Promise.all(["first", "second"].map((name) => host.shutDownGuest(name)));
    const { second } = shared();
    stack.declare({ ...own(), second });
    expect((await stack.must("up")).stdout).toMatch(/selinux \/srv\/shared is left as it is/);
    expect(await labelOf("/srv/shared")).toMatch(/:svirt_image_t:s0$/);
    const modules = (): Promise<string> => host.sh("ls /var/lib/selinux/default/active/modules/400");
    expect(await modules()).toContain("virtio9p_new_files");
    stack.declare(own());
    await stack.must("up");
    expect(await modules()).not.toContain("virtio9p_new_files");
    expect(await host.sh("semanage export 2>/dev/null | grep fcontext || :")).not.toContain("/srv/shared");
    // The guest's files were not there before: they have what the rules say of /srv.
    expect(await labelOf("/srv/shared/made")).toMatch(/:var_t:s0$/);
  });
});
