import { rmSync } from "node:fs";
import { ConfinedHost } from "../e2e/support/confined-host";
import { Stack } from "../e2e/support/stack";

/** A guest with SELinux enforcing: what lets its services use a share. It is reached over SSH, for its agent is confined. */
describe("a guest with SELinux enforcing", () => {
  const guest = new ConfinedHost("selinux-guest", "selinux");
  const stack = new Stack();
  const base = "/srv/v9p-selinux-guest";
  const share = (name: string, more: object = {}): Record<string, object> => ({
    [name]: {
      source: `${base}-${name}`,
      domain: guest.domain,
      power: "restart",
      guest: {
        connection: guest.connection,
        mountPoint: `/mnt/${name}`,
        selinuxBooleans: ["httpd_use_nfs"],
        ...more,
      },
    },
  });
  const value = async (name: string): Promise<string> => (await guest.sh(`getsebool ${name}`)).trim();

  beforeAll(async () => {
    await Promise.all([stack.open(), guest.boot()]);
  });

  afterAll(async () => {
    await guest.remove();
    stack.close();
    for (const name of ["one", "two"]) rmSync(`${base}-${name}`, { recursive: true, force: true });
  });

  it("a boolean that its policy does not have is refused, with the nearest name", async () => {
    stack.declare(share("one", { selinuxBooleans: ["httpd_use_nsf"] }));
    const refused = await stack.pulumi("up");
    expect(refused.stdout).toMatch(
      /no boolean httpd_use_nsf \[unknownBoolean\][^]*did you mean httpd_use_nfs\?/,
    );
  });

  it("is set so that it outlives a boot, and the files have the context that was asked for", async () => {
    expect(await value("httpd_use_nfs")).toBe("httpd_use_nfs --> off");
    const options = { context: "system_u:object_r:httpd_sys_content_t:s0" };
    stack.declare({ ...share("one", { options }), ...share("two") });
    await stack.must("up");
    expect(await stack.share("one")).toMatchObject({ status: "active", layers: { guestBooleans: "ok" } });
    expect(await value("httpd_use_nfs")).toBe("httpd_use_nfs --> on");
    expect(await guest.sh("semanage export 2>/dev/null")).toMatch(/^boolean -m -1 httpd_use_nfs$/m);
    expect(await guest.sh("stat -c %C /mnt/one /mnt/two")).toBe(
      "system_u:object_r:httpd_sys_content_t:s0\nsystem_u:object_r:nfs_t:s0\n",
    );
  });

  it("drift is seen and repaired", async () => {
    await guest.sh("setsebool httpd_use_nfs off");
    expect((await stack.must("refresh")).stdout).toMatch(/httpd_use_nfs is off in the guest/);
    await stack.must("up");
    expect(await value("httpd_use_nfs")).toBe("httpd_use_nfs --> on");
  });

  it("stays as long as a share of the domain wants it, and is given back with the last", async () => {
    stack.declare(share("two"));
    await stack.must("up");
    expect(await value("httpd_use_nfs")).toBe("httpd_use_nfs --> on");
    stack.declare({});
    await stack.must("up");
    expect(await value("httpd_use_nfs")).toBe("httpd_use_nfs --> off");
  });
});
