import { rmSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { CountedShell } from "./support/counted-shell";
import { directory, Guest, records } from "./support/lab";
import type { Ended } from "./support/run";
import { Stack } from "./support/stack";
import { guestBySsh } from "./support/via";

/**
 * Ctrl-C, as a terminal does it: SIGINT to the whole process group of `pulumi`. Once, and Pulumi waits for
 * the calls in flight; twice, and it ends the provider (Pulumi CLI 3.259).
 */
describe("a create that is interrupted", () => {
  const guest = new Guest("interrupt", "small");
  const stack = new Stack();
  const source = "/srv/v9p-interrupt";
  const share = { source, domain: guest.domain, power: "restart", guest: { mountPoint: "/mnt/share" } };
  let before: string[];
  let clean = true;
  let shell: CountedShell | undefined;

  const machine = async (): Promise<string[]> => [
    await directory(source),
    await guest.definition(),
    await guest.touched(),
  ];

  /** An `up` in a process group of its own, and its Ctrl-C. */
  const start = (path?: string): { ended: Promise<Ended>; interrupt: () => void } => {
    let group = 0;
    const onStart = (pid: number): void => {
      group = pid;
    };
    const ended = stack.pulumi("up", [], {
      ownGroup: true,
      onStart,
      ...(path === undefined ? {} : { path }),
    });
    return { ended, interrupt: () => process.kill(-group, "SIGINT") };
  };

  /** Two that are closer than a second would be one to a person, but are two to Pulumi. */
  const betweenMs = 1000;

  const press = async (times: Times, interrupt: () => void): Promise<void> => {
    interrupt();
    await sleep(betweenMs);
    if (times === "twice") interrupt();
  };

  /** For Pulumi both end with an error; only where the provider is killed the state does not know the share. */
  const expectEnd = async (times: Times, { code, stdout, stderr }: Ended): Promise<void> => {
    expect(stdout + stderr).toMatch(times === "once" ? /update canceled/ : /\^C received; terminating/);
    // Exit codes of Pulumi CLI 3.259.
    expect(code).toBe(times === "once" ? 1 : 8);
    const { status } = await stack.share("share");
    expect(status).toBe(times === "once" ? "active" : undefined);
  };

  /** The guest runs, the next up makes the share whole, once, and destroy gives back all. */
  const expectRepaired = async (times: Times): Promise<void> => {
    await guest.settle();
    const again = await stack.must("up", times === "once" ? ["--expect-no-changes"] : []);
    expect(/warning: Attempting to deploy .* pending operations/.test(again.stdout)).toBe(times === "twice");
    expect(await stack.share("share")).toMatchObject({ status: "active", layers: { mount: "ok" } });
    expect(await guest.sh("grep -c '^share ' /etc/fstab; grep -c ' 9p ' /proc/self/mountinfo")).toBe(
      "1\n1\n",
    );
    expect((await guest.virsh("dumpxml", "--inactive")).split("<target dir='share'/>")).toHaveLength(2);
    // Needed for nothing but Pulumi's own warning, which it takes away.
    await stack.must("refresh", ["--clear-pending-creates", "--expect-no-changes"]);
    expect((await stack.must("up", ["--expect-no-changes"])).stdout).not.toMatch(/warning/);
    await stack.must("destroy");
    expect(await machine()).toEqual(before);
    expect(await records(source)).toEqual([]);
    expect(await guest.state()).toBe("running");
    clean = true;
  };

  type Times = "once" | "twice";
  // A guest over SSH is looked at past the host's shell, where scripts are counted and held.
  const hostWrite = guestBySsh ? 2 : 3;
  const writes = [
    {
      during: "the host's write, before its first step",
      at: hostWrite,
      when: "heldBefore",
      device: false,
      line: false,
    },
    {
      during: "the host's write, after its last step",
      at: hostWrite,
      when: "heldAfter",
      device: true,
      line: false,
    },
    {
      during: "the guest's write, before its first step",
      at: 4,
      when: "heldBefore",
      device: true,
      line: false,
    },
    { during: "the guest's write, after its last step", at: 4, when: "heldAfter", device: true, line: true },
  ] as const;
  if (guestBySsh)
    process.stderr.write(
      "interrupt: the guest's write is left out: what holds a script stands before the host's shell, and it goes past that\n",
    );
  const held = writes.filter(({ at }) => at === hostWrite || !guestBySsh);
  const rows = (["once", "twice"] as const).flatMap((times) => held.map((one) => ({ times, ...one })));

  beforeAll(async () => {
    await stack.open();
  });

  beforeEach(async () => {
    await guest.boot();
    before = await machine();
    stack.declare({ share });
    clean = false;
  });

  // Of a case that failed in the middle: an up first, for the state may know nothing of what is there.
  afterEach(async () => {
    shell?.remove();
    if (clean) return;
    await guest.settle();
    await stack.must("up");
    await stack.must("destroy");
    await stack.must("refresh", ["--clear-pending-creates"]);
  });

  afterAll(async () => {
    await guest.remove();
    stack.close();
    rmSync(source, { recursive: true, force: true });
  });

  it.each(rows)("$times, in $during", async (row) => {
    shell = new CountedShell({ at: row.at, when: row.when });
    const { ended, interrupt } = start(shell.folder);
    await shell.held();
    expect((await guest.virsh("dumpxml", "--inactive")).includes("<target dir='share'/>")).toBe(row.device);
    expect((await guest.touched()).includes("/mnt/share")).toBe(row.line);
    await press(row.times, interrupt);
    if (row.times === "twice") await ended;
    await shell.release();
    await expectEnd(row.times, await ended);
    await expectRepaired(row.times);
  });

  it.each([{ times: "once" }, { times: "twice" }] as const)(
    "$times, while the guest shuts down for it",
    async ({ times }) => {
      // Long enough for Pulumi to end the provider meanwhile: 5 s after the second Ctrl-C.
      await guest.sh(
        "mv /sbin/shutdown /sbin/shutdown.real; printf '#!/bin/sh\\nsleep 10\\nexec /sbin/shutdown.real \"$@\"\\n' > /sbin/shutdown; chmod +x /sbin/shutdown",
      );
      const { ended, interrupt } = start();
      await guest.shutdownBegins();
      await press(times, interrupt);
      await expectEnd(times, await ended);
      await expectRepaired(times);
    },
  );
});
