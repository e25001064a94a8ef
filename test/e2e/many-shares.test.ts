import { rmSync } from "node:fs";
import { CountedShell } from "./support/counted-shell";
import { Guest, records } from "./support/lab";
import { output } from "./support/run";
import { Stack } from "./support/stack";

/** Many shares of one domain in one operation: one power cycle, and scripts that serve all of a wave. */
describe("many shares of one domain", () => {
  const guest = new Guest("many", "small");
  const stack = new Stack();
  const shell = new CountedShell();
  const base = "/srv/v9p-many";
  const share = (index: number, more: object = {}): Record<string, object> => ({
    [`s${index}`]: {
      source: `${base}-${index}`,
      domain: guest.domain,
      power: "restart",
      guest: { mountPoint: `/mnt/s${index}` },
      ...more,
    },
  });
  const shares = (count: number, more: object = {}): Record<string, object> =>
    Object.assign({}, ...Array.from({ length: count }, (_, index) => share(index, more))) as Record<
      string,
      object
    >;

  /** How often libvirt has started the domain, by QEMU's log. */
  const starts = async (): Promise<number> =>
    Number(
      await output("sh", [
        "-c",
        `grep -c 'starting up libvirt' /var/log/libvirt/qemu/${guest.domain}.log || :`,
      ]),
    );

  beforeAll(async () => {
    await Promise.all([stack.open(), guest.boot()]);
  });

  afterEach(async () => {
    stack.declare({});
    await stack.must("up", ["--parallel", "64"]);
  });

  afterAll(async () => {
    await guest.remove();
    stack.close();
    shell.remove();
    await output("sh", ["-c", `rm -rf ${base}-*`]);
    rmSync(base, { recursive: true, force: true });
  });

  it.each([{ count: 3 }, { count: 20 }])(
    "$count in one up take one cycle, and so does their destroy",
    async ({ count }) => {
      const [before, touched] = [await starts(), await guest.touched()];
      stack.declare(shares(count));
      const up = await stack.must("up", ["--parallel", "64"]);
      expect((await starts()) - before).toBe(1);
      expect(up.stdout).not.toMatch(/power-cycled a second time/);
      for (let index = 0; index < count; index += 1)
        expect(await stack.share(`s${index}`)).toMatchObject({ status: "active" });
      expect((await guest.sh("grep -c ' 9p ' /proc/self/mountinfo")).trim()).toBe(String(count));
      await stack.must("preview", ["--refresh", "--expect-no-changes"]);
      stack.declare({});
      await stack.must("up", ["--parallel", "64"]);
      expect((await starts()) - before).toBe(2);
      expect(await guest.touched()).toBe(touched);
      expect(await records(base)).toEqual([]);
    },
  );

  it("ones that come one after another take a cycle each, and a warning says how to avoid it", async () => {
    const before = await starts();
    stack.declare(shares(2));
    const up = await stack.must("up", ["--parallel", "1"]);
    expect((await starts()) - before).toBe(2);
    expect(up.stdout).toMatch(/was power-cycled a second time in this operation.*--parallel 64/);
  });

  it("ten of the host alone are looked at and written in two scripts a wave, and refreshed in one", async () => {
    await output("virsh", ["-q", "-c", "qemu:///system", "destroy", guest.domain]);
    stack.declare(shares(10, { power: "never", guest: undefined }));
    shell.reset();
    await stack.must("up", ["--parallel", "64"], { path: shell.folder });
    // On a busy machine the engine may hand them in in two waves, or in three.
    expect(shell.count()).toBeLessThanOrEqual(3 * 2);
    shell.reset();
    await stack.must("refresh", ["--expect-no-changes", "--parallel", "64"], { path: shell.folder });
    expect(shell.count()).toBeLessThanOrEqual(3);
  });
});
