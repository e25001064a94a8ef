import { Guest } from "./support/lab";
import { output } from "./support/run";
import { Stack } from "./support/stack";

/** Two shares of which one is mounted inside the mount point of the other, and no dependsOn between them. */
describe("a share inside the mount point of another one", () => {
  const guest = new Guest("nested", "small");
  const stack = new Stack();
  const base = "/srv/v9p-nestedmounts";
  type Name = "outer" | "inner";
  const points = { outer: "/mnt/out", inner: "/mnt/out/in" } as const;
  const declare = (names: readonly Name[], power = "never"): void => {
    stack.declare(
      Object.fromEntries(
        names.map((name) => [
          name,
          { source: `${base}-${name}`, domain: guest.domain, power, guest: { mountPoint: points[name] } },
        ]),
      ),
    );
  };
  const orders = [
    ["outer", "inner"],
    ["inner", "outer"],
  ] as const;

  /** Both are seen, each shows its own directory, and fstab has them in order. */
  const expectBothMounted = async (): Promise<void> => {
    for (const name of ["outer", "inner"] as const) {
      expect(await stack.share(name)).toMatchObject({
        status: "active",
        layers: { fstab: "ok", mount: "ok" },
      });
      await guest.sh(`echo ${name} > ${points[name]}/mark`);
      expect(await output("cat", [`${base}-${name}/mark`])).toBe(`${name}\n`);
      await guest.sh(`rm ${points[name]}/mark`);
    }
    const lines = (await guest.sh("awk '$3 == \"9p\" { print $2 }' /etc/fstab")).trim().split("\n");
    expect(lines).toEqual(["/mnt/out", "/mnt/out/in"]);
  };

  let untouched: string;
  beforeAll(async () => {
    await Promise.all([stack.open(), guest.boot()]);
    untouched = await guest.touched();
  });

  afterAll(async () => {
    await guest.remove();
    stack.close();
    await output("sh", ["-c", `rm -rf ${base}-*`]);
  });

  it("shares one power cycle with it", async () => {
    declare(["inner", "outer"], "restart");
    await stack.must("up");
    await expectBothMounted();
    await stack.must("preview", ["--refresh", "--expect-no-changes"]);
    declare(["inner", "outer"]);
    await stack.must("up");
  });

  // The devices stay in the running QEMU: what follows needs no power cycle.
  it("is not taken away with its tree: the outer one alone is refused, and nothing is changed", async () => {
    const before = await guest.touched();
    declare(["inner"]);
    const ended = await stack.pulumi("up");
    expect(ended.code).not.toBe(0);
    expect(ended.stdout).toMatch(
      /\/mnt\/out is in use in the guest by inner \(9p\), which is mounted on \/mnt\/out\/in/,
    );
    expect(await guest.touched()).toBe(before);
    await expectBothMounted();
  });

  it.each(
    orders.flatMap((order) => [1, 2, 3, 4, 5].map((round) => [order.join(", "), round, order] as const)),
  )("goes before it and comes behind it: %s, %d", async (_, __, order) => {
    declare([]);
    await stack.must("up");
    expect(await guest.touched()).toBe(untouched);
    declare(order);
    await stack.must("up");
    await expectBothMounted();
  });

  it.each(orders)("%s first, one after the other", async (first, second) => {
    declare([]);
    await stack.must("up");
    declare([first]);
    await stack.must("up");
    declare([first, second]);
    await stack.must("up");
    await expectBothMounted();
    declare(["outer"]);
    await stack.must("up");
    expect(await guest.sh("grep -c ' 9p ' /proc/self/mountinfo")).toBe("1\n");
    declare([]);
    await stack.must("up");
    expect(await guest.touched()).toBe(untouched);
    expect(await output("sh", ["-c", `find ${base}-* -mindepth 1 2>/dev/null; :`])).toBe("");
  });
});
