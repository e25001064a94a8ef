import { rmSync } from "node:fs";
import { Guest } from "./support/lab";
import { Stack } from "./support/stack";

/** What `power` allows, on a real domain that is off or that runs. */
describe("power", () => {
  const guest = new Guest("policy", "small");
  const stack = new Stack();
  const source = "/srv/v9p-policy";
  const declare = (power: string, more: object = {}): void => {
    stack.declare({
      share: { source, domain: guest.domain, power, guest: { mountPoint: "/mnt/share" }, ...more },
    });
  };

  beforeAll(async () => {
    await stack.open();
  });

  beforeEach(async () => {
    await guest.define();
  });

  afterEach(async () => {
    await stack.must("destroy");
  });

  afterAll(async () => {
    await guest.remove();
    stack.close();
    rmSync(source, { recursive: true, force: true });
  });

  it("never: a domain that is off stays off, without a difference, and says so", async () => {
    declare("never");
    const up = await stack.must("up");
    expect(up.stdout).toMatch(/warning: share: v9p-policy is off/);
    expect(await stack.share("share")).toMatchObject({
      status: "off",
      statusReason: "domainOff",
      layers: { directory: "ok", device: "ok", fstab: "unknown", mount: "unknown" },
    });
    await stack.must("up", ["--expect-no-changes"]);
    await stack.must("refresh", ["--expect-no-changes"]);
    expect(await guest.state()).toBe("shut off");
  });

  it("start: a domain that is off is started, and the share is there", async () => {
    declare("start");
    await stack.must("up");
    expect(await stack.share("share")).toMatchObject({
      status: "active",
      layers: { fstab: "ok", mount: "ok" },
    });
    expect(await guest.state()).toBe("running");
  });

  it("start: a running domain is left running, and the share waits", async () => {
    await guest.boot();
    declare("start");
    await stack.must("up");
    expect(await stack.share("share")).toMatchObject({
      status: "pendingPowerCycle",
      statusReason: "deviceNotLive",
    });
    await stack.must("up", ["--expect-no-changes"]);
  });

  it("restart: a guest that does not stop in time is an error, and it goes on running", async () => {
    await guest.boot();
    await guest.sh(
      "rm -f /sbin/shutdown; printf '#!/bin/sh\\nexit 0\\n' > /sbin/shutdown; chmod +x /sbin/shutdown",
    );
    declare("restart", { timeouts: { shutdownMs: 3000 } });
    const up = await stack.pulumi("up");
    expect(up.code).not.toBe(0);
    expect(up.stdout).toMatch(/did not shut down within 3 s; it still runs.*\[shutdownTimedOut\]/);
    expect(await stack.share("share")).toMatchObject({
      status: "incomplete",
      statusReason: "shutdownTimedOut",
    });
    expect(await guest.state()).toBe("running");
    declare("force", { timeouts: { shutdownMs: 3000 } });
    await stack.must("up");
    expect(await stack.share("share")).toMatchObject({ status: "active" });
  });

  it("restart: a paused domain is not touched, and the reason is named", async () => {
    await guest.boot();
    await guest.virsh("suspend");
    stack.declare({ share: { source, domain: guest.domain, power: "restart" } });
    const up = await stack.must("up");
    expect(up.stdout).toMatch(/it was not restarted, for it is paused/);
    expect(await stack.share("share")).toMatchObject({
      status: "pendingPowerCycle",
      statusReason: "domainPaused",
    });
    await stack.must("up", ["--expect-no-changes"]);
    expect(await guest.state()).toBe("paused");
  });
});
