import { rmSync } from "node:fs";
import { ConfinedHost } from "../e2e/support/confined-host";
import { Stack } from "../e2e/support/stack";

/** A guest with SELinux enforcing: what lets its services use a share. It is reached over SSH, for its agent is confined. */
describe("a guest with SELinux enforcing", () => {
  const guest = new ConfinedHost("selinux-guest", "selinux");
  const stack = new Stack();
  const base = "/srv/v9p-selinux-guest";
  const share = (name: string, selinuxBooleans: readonly string[], options: object = {}): object => ({
    [name]: {
      source: `${base}-${name}`,
      domain: guest.domain,
      power: "start",
      guest: { connection: guest.connection, mountPoint: `/mnt/${name}`, selinuxBooleans, options },
    },
  });
  const context = "system_u:object_r:httpd_sys_content_t:s0";
  const one = (booleans = ["httpd_use_nfs"]): object => share("one", booleans, { context });
  const two = (booleans = ["httpd_use_nfs"]): object => share("two", booleans);
  const value = async (): Promise<string> => (await guest.sh("getsebool httpd_use_nfs")).trim();
  const [on, off] = ["httpd_use_nfs --> on", "httpd_use_nfs --> off"];

  beforeAll(async () => {
    await Promise.all([stack.open(), guest.define()]);
  });

  afterAll(async () => {
    await guest.remove();
    stack.close();
    for (const name of ["one", "two"]) rmSync(`${base}-${name}`, { recursive: true, force: true });
  });

  it("a boolean is set so that it outlives a boot, and the files have the context that was asked for", async () => {
    stack.declare({ ...one(), ...two() });
    await stack.must("up", ["--parallel", "64"]);
    expect(await stack.share("one")).toMatchObject({ status: "active", layers: { guestBooleans: "ok" } });
    expect(await value()).toBe(on);
    expect(await guest.sh("semanage export 2>/dev/null")).toMatch(/^boolean -m -1 httpd_use_nfs$/m);
    expect((await guest.sh("stat -c %C /mnt/one")).trim()).toBe(context);
    // The policy of Debian 12 does not know 9p; Fedora's says nfs_t.
    expect((await guest.sh("stat -c %C /mnt/two")).trim()).toBe("system_u:object_r:unlabeled_t:s0");
  });

  it("one that its policy does not have is refused, with the names that are near, and nothing is changed", async () => {
    stack.declare({ ...one(), ...two(["httpd_use_nfs", "httpd_use_nsf"]) });
    expect((await stack.pulumi("up")).stdout).toMatch(
      /no boolean httpd_use_nsf \[unknownBoolean\][^]*did you mean httpd_use_nfs, or /,
    );
    expect(await value()).toBe(on);
  });

  it("drift is seen and repaired", async () => {
    await guest.sh("setsebool httpd_use_nfs off");
    stack.declare({ ...one(), ...two() });
    expect((await stack.must("refresh")).stdout).toMatch(/httpd_use_nfs is off in the guest/);
    await stack.must("up");
    expect(await value()).toBe(on);
  });

  it("stays as long as a share of the domain wants it, and is given back with the last", async () => {
    stack.declare({ ...one([]), ...two() });
    await stack.must("up");
    expect(await value()).toBe(on);
    stack.declare({});
    await stack.must("up", ["--parallel", "64"]);
    expect(await value()).toBe(off);
  });
});
