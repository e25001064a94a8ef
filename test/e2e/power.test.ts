import { rmSync } from "node:fs";
import { Guest } from "./support/lab";
import { Stack } from "./support/stack";

/** A guest that does not shut down when it is told to; what else `power` allows is in power-table.test.ts. */
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

  it("restart: a guest that does not stop in time is an error, and it goes on running", async () => {
    await guest.boot();
    await guest.ignoreShutdown();
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
});
