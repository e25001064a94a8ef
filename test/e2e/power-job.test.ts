import { rmSync } from "node:fs";
import { Guest } from "./support/lab";
import { output } from "./support/run";
import { Stack } from "./support/stack";

/** A power cycle runs to its end on the host, whoever dies meanwhile. */
describe("a power cycle", () => {
  const guest = new Guest("power", "small");
  const stack = new Stack();
  const source = "/srv/v9p-power";
  const share = { source, domain: guest.domain, power: "restart", guest: { mountPoint: "/mnt/share" } };

  beforeAll(async () => {
    await stack.open();
  });

  beforeEach(async () => {
    await guest.boot();
    stack.declare({ share });
  });

  afterEach(async () => {
    stack.declare({});
    await stack.pulumi("refresh", ["--clear-pending-creates"]);
    await stack.pulumi("up");
  });

  afterAll(async () => {
    await guest.remove();
    stack.close();
    rmSync(source, { recursive: true, force: true });
  });

  it("ends with the guest running and the share live, when the provider is killed as it begins", async () => {
    const up = stack.pulumi("up");
    await guest.shutdownBegins();
    expect(await stack.killProvider()).toBeGreaterThan(0);
    expect((await up).code).not.toBe(0);
    await guest.settle();
    expect(await guest.virsh("dumpxml")).toContain("<target dir='share'/>");
    const again = await stack.pulumi("up");
    expect(again).toMatchObject({ code: 0 });
    expect(await stack.share("share")).toMatchObject({ status: "active", layers: { mount: "ok" } });
  });

  it("runs the guest without the device, and says so, when the source is gone at its start", async () => {
    const up = stack.pulumi("up");
    await guest.shutdownBegins();
    await output("mv", [source, `${source}-away`]);
    const { code, stdout, stderr } = await up;
    await output("mv", [`${source}-away`, source]);
    expect(code).not.toBe(0);
    expect(stdout + stderr).toMatch(
      /did not start with share, and runs again without it.*\[startedWithoutDevice\]/,
    );
    expect(await guest.state()).toBe("running");
    expect(await guest.virsh("dumpxml", "--inactive")).not.toContain("<target dir='share'/>");
    expect(await stack.share("share")).toMatchObject({
      status: "incomplete",
      statusReason: "startedWithoutDevice",
    });
    await stack.must("up");
    expect(await stack.share("share")).toMatchObject({ status: "active" });
  });
});
