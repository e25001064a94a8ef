import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SimulatedHost } from "./support/simulated-host";
import { makeKey } from "./support/ssh-server";
import { Stack } from "./support/stack";

/** One program for many hosts, with ten shares each, of domains that do not run. */
describe.each([{ count: 3 }, { count: 10 }])("a fleet of $count", ({ count }) => {
  const hosts = Array.from({ length: count }, (_, index) => new SimulatedHost(index));
  const stack = new Stack();
  const hostKeys = new Map<SimulatedHost, string>();
  let key: { privateKey: string; publicKey: string };

  const at = (host: SimulatedHost): object => ({
    connection: {
      host: host.address,
      privateKey: key.privateKey,
      hostKey: hostKeys.get(host),
      dialErrorLimit: 1,
      perDialTimeout: 3,
    },
  });
  const shares = (mode: string): Record<string, object> =>
    Object.fromEntries(
      hosts.flatMap((host) =>
        Array.from({ length: 10 }, (_, index) => [
          `share${host.number}-${index}`,
          {
            source: `/srv/share${index}`,
            domain: `web${index}`,
            tag: "data",
            directory: { mode },
            host: at(host),
          },
        ]),
      ),
    );
  const parallel = ["--parallel", "128"];
  const counts = () => hosts.map(({ counts: { logins, scripts } }) => ({ logins, scripts }));
  /** Runs something, and gives its seconds. */
  const timed = async (work: () => Promise<unknown>): Promise<number> => {
    const began = performance.now();
    await work();
    return (performance.now() - began) / 1000;
  };

  beforeAll(async () => {
    const folder = mkdtempSync(join(tmpdir(), "virtio9p-fleet-"));
    key = await makeKey(folder, "key", ["-t", "ed25519"]);
    rmSync(folder, { recursive: true });
    await Promise.all([
      stack.open(),
      ...hosts.map(async (host) => {
        hostKeys.set(host, await host.start(key.publicKey));
        await host.define(Array.from({ length: 10 }, (_, index) => `web${index}`));
      }),
    ]);
  });
  afterAll(async () => {
    await Promise.all(hosts.map((host) => host.close()));
    stack.close();
  });

  it("ten shares a host: one login a host, two scripts a wave", async () => {
    const nothing = new Stack();
    await nothing.open();
    let idle: number;
    try {
      writeFileSync(join(nothing.folder, "index.js"), doingNothing(10 * count));
      idle = await timed(() => nothing.must("up", parallel));
    } finally {
      nothing.close();
    }
    stack.declare(shares("0750"));
    const seconds = await timed(() => stack.must("up", parallel));
    process.stderr.write(
      `fleet: ${10 * count} shares on ${count} hosts in ${(seconds / idle).toFixed(2)} times what as many resources take that do nothing\n`,
    );
    expect(await stack.share(`share${count - 1}-9`)).toMatchObject({
      status: "off",
      layers: { directory: "ok", device: "ok" },
    });
    process.stderr.write(`fleet: logins and scripts ${JSON.stringify(counts())}\n`);
    for (const { logins, scripts } of counts()) {
      expect(logins).toBe(1);
      // A busy machine hands the ten in in as many as three waves.
      expect(scripts).toBeLessThanOrEqual(6);
    }
  });

  it("one host is dead: the others are done, the error names it, and the next up finishes", async () => {
    const [dead] = hosts.slice(2);
    if (!dead) throw new Error("there is no such host");
    await dead.reachable(false);
    stack.declare(shares("0700"));
    const ended = await stack.pulumi("up", [...parallel, "--continue-on-error"]);
    const said = ended.stdout + ended.stderr;
    expect(ended.code).not.toBe(0);
    expect(said).toContain(`root@${dead.address}: it does not answer`);
    const modes = async (host: SimulatedHost): Promise<string> =>
      (await host.run("stat -c %a /srv/share* | sort | uniq -c")).trim();
    for (const host of hosts) expect(await modes(host)).toBe(host === dead ? "10 750" : "10 700");
    await dead.reachable(true);
    await stack.must("up", parallel);
    expect(await modes(dead)).toBe("10 700");
  });

  it("a share that moves to another host goes from the first, and is made there", async () => {
    const [from, to] = hosts;
    if (!from || !to) throw new Error("there are no such hosts");
    const moving = (host: SimulatedHost): object => ({
      source: "/srv/moving",
      domain: "web0",
      tag: "moving",
      host: at(host),
    });
    stack.declare({ ...shares("0700"), moving: moving(from) });
    await stack.must("up", parallel);
    expect(await from.run("ls /srv/moving; virsh -q -c qemu:///system dumpxml web0")).toContain("'moving'");
    stack.declare({ ...shares("0700"), moving: moving(to) });
    await stack.must("up", parallel);
    expect(await to.run("ls /srv/moving; virsh -q -c qemu:///system dumpxml web0")).toContain("'moving'");
    expect(await from.run("ls /srv; virsh -q -c qemu:///system dumpxml web0")).not.toContain("moving");
  });

  it("all of it goes as it came", async () => {
    await stack.must("destroy", parallel);
    for (const host of hosts) {
      expect(await host.run("ls -A /srv; find /var/lib/virtio9p -name '*.json'")).toBe("");
      expect(await host.run("virsh -q -c qemu:///system dumpxml web3")).not.toContain("<filesystem");
    }
  });
});

/** So many resources of a dynamic provider that does nothing. */
const doingNothing = (count: number): string => `const pulumi = require("@pulumi/pulumi");
const provider = { create: async (inputs) => ({ id: "x", outs: inputs }) };
class Nothing extends pulumi.dynamic.Resource {}
for (let index = 0; index < ${count}; index++) new Nothing(provider, "nothing" + index, { index });
`;
