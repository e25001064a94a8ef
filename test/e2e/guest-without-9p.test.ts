import { Guest, records } from "./support/lab";
import { run } from "./support/run";
import { Stack } from "./support/stack";

/** A real guest whose kernel has no 9p at all: Debian's cloud kernel. */
describe("a guest whose kernel has no 9p", () => {
  const guest = new Guest("cloud", "cloud");
  const stack = new Stack();
  const source = "/srv/v9p-cloud";

  beforeAll(async () => {
    await Promise.all([stack.open(), guest.boot()]);
  });

  afterAll(async () => {
    await guest.remove();
    stack.close();
  });

  it("is refused by name, with the package to install, and the host is untouched", async () => {
    const before = [await guest.definition(), await guest.touched(), await records(source)];
    stack.declare({
      share: { source, domain: guest.domain, power: "restart", guest: { mountPoint: "/mnt/share" } },
    });
    const up = await stack.pulumi("up");
    expect(up.code).not.toBe(0);
    const said = up.stdout + up.stderr;
    expect(said).toMatch(
      /modules on guest v9p-cloud: kernel \S+-cloud-amd64 has no 9p over virtio \[guestKernelLacks9p\]/,
    );
    expect(said).toMatch(/to do: install the package linux-image-amd64/);
    expect(said).not.toMatch(/\n\s+at .*\.js:\d+/);
    expect([await guest.definition(), await guest.touched(), await records(source)]).toEqual(before);
    expect((await run("test", ["-e", source])).code).toBe(1);
    expect(await guest.state()).toBe("running");
  });
});
