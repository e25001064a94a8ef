import { mkdirSync, rmSync } from "node:fs";
import { Guest, records } from "./support/lab";
import { output } from "./support/run";
import { Stack } from "./support/stack";
import { via } from "./support/via";

/** A share in a guest with systemd whose arguments change, and that somebody else changes. */
describe("a share in a guest with systemd, later", () => {
  // The ways run beside each other.
  const guest = new Guest(`changes-${via}`, "systemd");
  const stack = new Stack();
  const base = `/srv/${guest.domain}`;
  const source = `${base}/foo/bar`;
  const share = {
    source,
    tag: "foobar",
    domain: guest.domain,
    power: "restart",
    guest: { mountPoint: "/mnt/foobar" },
  };

  beforeAll(async () => {
    rmSync(base, { recursive: true, force: true });
    mkdirSync(source, { recursive: true, mode: 0o755 });
    await Promise.all([stack.open(), guest.boot()]);
    stack.declare({ foobar: share });
    await stack.must("up");
  });

  afterAll(async () => {
    await stack.must("destroy");
    expect(await records(source)).toEqual([]);
    await guest.remove();
    stack.close();
    rmSync(base, { recursive: true, force: true });
  });

  it("mounts with nothing but what 9p needs in its line, when three options are given", async () => {
    stack.declare({
      foobar: {
        ...share,
        guest: { mountPoint: "/mnt/foobar", options: { nofail: false, nodev: false, msizeBytes: 0 } },
      },
    });
    await stack.must("up");
    expect(await guest.sh("grep foobar /etc/fstab")).toBe(
      "foobar    /mnt/foobar    9p   trans=virtio,version=9p2000.L,_netdev 0 0\n",
    );
    // The kernel shows msize only where it is not its own.
    expect((await stack.share("foobar"))["mountOptions"]).not.toMatch(/nodev|msize/);
    stack.declare({ foobar: share });
    await stack.must("up");
  });

  it("names what drifted, by exit code 7, and repairs it", async () => {
    await output("chown", ["root:root", source]);
    await guest.sh("sed -i s/nofail,// /etc/fstab");
    const preview = await stack.pulumi("preview", ["--refresh", "--expect-no-changes", "--diff"]);
    expect(preview.code).toBe(7);
    expect(preview.stdout + preview.stderr).toMatch(/directory\.owner is "root"/);
    expect(preview.stdout + preview.stderr).toMatch(
      /fstab has "foobar {4}\/mnt\/foobar {4}9p {3}trans=virtio,version=9p2000\.L,_netdev,nodev/,
    );
    const refresh = await stack.pulumi("refresh", ["--preview-only", "--expect-no-changes"]);
    expect(refresh.code).toBe(7);
    await stack.must("refresh");
    expect(await stack.share("foobar")).toMatchObject({
      layers: { directory: "differs", fstab: "differs", device: "ok" },
      inputs: { directory: { owner: "root", group: "root" } },
    });
    await stack.must("up");
    expect(await output("stat", ["-c", "%u:%g", source])).toBe("64055:64055\n");
    expect(await guest.sh("grep -c nofail /etc/fstab")).toBe("1\n");
    await stack.must("preview", ["--refresh", "--expect-no-changes"]);
  });
});
