import { mkdirSync, rmSync } from "node:fs";
import { directory, Guest, records } from "./support/lab";
import { CountedShell } from "./support/counted-shell";
import { output } from "./support/run";
import { Stack } from "./support/stack";
import { via } from "./support/via";

/**
 * The whole life of one share in a guest with systemd, by the real engine. Every commit is tested with it: what changes
 * on the way is in systemd-changes.test.ts.
 */
describe("a share in a guest with systemd", () => {
  // The ways run beside each other.
  const guest = new Guest(`first-${via}`, "systemd");
  const stack = new Stack();
  const shell = new CountedShell();
  const base = `/srv/${guest.domain}`;
  const source = `${base}/foo/bar`;
  const share = {
    source,
    tag: "foobar",
    domain: guest.domain,
    accessMode: "mapped",
    power: "restart",
    guest: { mountPoint: "/mnt/foobar" },
  };
  let before: Record<string, string>;

  const machine = async (): Promise<Record<string, string>> => ({
    directory: await directory(source),
    definition: await guest.definition(),
    guest: await guest.touched(),
  });

  beforeAll(async () => {
    rmSync(base, { recursive: true, force: true });
    mkdirSync(source, { recursive: true, mode: 0o755 });
    await Promise.all([stack.open(), guest.boot()]);
    before = await machine();
    stack.declare({ foobar: share });
  });

  afterAll(async () => {
    await guest.remove();
    stack.close();
    shell.remove();
    rmSync(base, { recursive: true, force: true });
  });

  it("is there after one up, with at most seven remote commands", async () => {
    await stack.must("up", [], { path: shell.folder });
    expect(await stack.share("foobar")).toMatchObject({
      status: "active",
      statusReason: "asDeclared",
      domainName: guest.domain,
      directoryOwner: "64055:64055",
      layers: {
        directory: "ok",
        device: "ok",
        modules: "ok",
        fstab: "ok",
        mount: "ok",
        guestOwnership: "unmanaged",
      },
    });
    expect(shell.count()).toBeLessThanOrEqual(7);
    await output("sh", ["-c", `echo from the host > ${source}/hello`]);
    expect(await guest.sh("cat /mnt/foobar/hello")).toBe("from the host\n");
    expect(await guest.sh("grep foobar /etc/fstab")).toBe(
      "foobar    /mnt/foobar    9p   trans=virtio,version=9p2000.L,_netdev,nofail,nodev,msize=131072 0 0\n",
    );
  });

  it("finds nothing to do in a second up, a refresh and a preview of both", async () => {
    shell.reset();
    await stack.must("up", ["--expect-no-changes"], { path: shell.folder });
    expect(shell.count()).toBe(0);
    await stack.must("refresh", ["--expect-no-changes"], { path: shell.folder });
    expect(shell.count()).toBeLessThanOrEqual(2);
    await stack.must("preview", ["--refresh", "--expect-no-changes"]);
  });

  it("keeps the guest's owners in attributes, and the host's where they are", async () => {
    const host = await output("stat", ["-c", "%u:%g %a", source]);
    await guest.sh("chown root:root /mnt/foobar && chmod 750 /mnt/foobar");
    expect(await guest.sh("stat -c '%U:%G %a' /mnt/foobar")).toBe("root:root 750\n");
    expect(await output("stat", ["-c", "%u:%g %a", source])).toBe(host);
    expect(await directory(source)).toContain(
      "user.virtfs.gid=0x00000000\nuser.virtfs.mode=0xe8410000\nuser.virtfs.uid=0x00000000",
    );
  });

  it("mounts at the guest's own boot", async () => {
    await guest.virsh("shutdown");
    await output("sh", [
      "-c",
      `for i in $(seq 120); do [ "$(virsh domstate ${guest.domain})" = 'shut off' ] && exit; sleep 0.5; done; exit 1`,
    ]);
    await output(`${__dirname}/../lab/lab`, ["boot", guest.domain]);
    expect(
      await guest.sh(
        "for i in 1 2 3 4 5 6 7 8 9 10; do cat /mnt/foobar/hello 2>/dev/null && break; sleep 1; done",
      ),
    ).toBe("from the host\n");
    expect(
      await guest.sh(
        "systemctl is-failed --quiet '*' && systemctl list-units --failed --plain --no-legend; :",
      ),
    ).toBe("");
  });

  it("gives back all that was there before, and keeps no record", async () => {
    await output("rm", [`${source}/hello`]);
    await stack.must("destroy");
    expect(await machine()).toEqual(before);
    expect(await records(source)).toEqual([]);
  });
});
