import { rmSync } from "node:fs";
import { CountedShell } from "./support/counted-shell";
import { Guest } from "./support/lab";
import { Stack } from "./support/stack";
import { guestBySsh } from "./support/via";

/** How many remote commands an operation takes; a remote command is one process started through a transport. */
describe("remote commands", () => {
  const guest = new Guest("counts", "small");
  const stack = new Stack();
  const shell = new CountedShell();
  const source = "/srv/v9p-counts";
  const share = (power: string) => ({
    share: { source, domain: guest.domain, power, guest: { mountPoint: "/mnt/share", mode: "0750" } },
  });
  const counted = async (command: string, ...args: string[]): Promise<number> => {
    shell.reset();
    await stack.must(command, args, { path: shell.folder });
    return shell.count();
  };

  beforeAll(async () => {
    await Promise.all([stack.open(), guest.boot()]);
  });

  afterAll(async () => {
    await guest.remove();
    stack.close();
    shell.remove();
    rmSync(source, { recursive: true, force: true });
  });

  it("are at most 4 in a create without a power cycle, which stays pending without an eternal difference", async () => {
    stack.declare(share("never"));
    expect(await counted("up")).toBeLessThanOrEqual(4);
    expect(await stack.share("share")).toMatchObject({
      status: "pendingPowerCycle",
      statusReason: "deviceNotLive",
    });
    expect(await counted("up", "--expect-no-changes")).toBe(0);
    expect(await counted("refresh", "--expect-no-changes")).toBeLessThanOrEqual(2);
    expect(await guest.state()).toBe("running");
  });

  it("are at most 7 in the update that may restart the guest", async () => {
    stack.declare(share("restart"));
    expect(await counted("up")).toBeLessThanOrEqual(7);
    expect(await stack.share("share")).toMatchObject({
      status: "active",
      layers: { mount: "ok", guestOwnership: "ok" },
    });
  });

  it("are none when there is nothing to do, and at most 2 in a refresh", async () => {
    expect(await counted("up", "--expect-no-changes")).toBe(0);
    expect(await counted("refresh", "--expect-no-changes")).toBeLessThanOrEqual(2);
  });

  it("are none when only a time-out changed", async () => {
    stack.declare({ share: { ...share("restart").share, timeouts: { bootMs: 400_000 } } });
    expect(await counted("up")).toBe(0);
    expect(await stack.share("share")).toMatchObject({ timeouts: { bootMs: 400_000 } });
  });

  it("are at most 4 in a create that adopts what is right already, and nothing is written", async () => {
    const urn = await stack.urn("share");
    await stack.must("state", ["delete", urn]);
    // What goes to a guest over SSH passes no shell of this machine.
    expect(await counted("up")).toBe(guestBySsh ? 1 : 2);
    expect(await stack.share("share")).toMatchObject({ status: "active" });
    expect(await counted("destroy")).toBeGreaterThan(0);
  });
});
