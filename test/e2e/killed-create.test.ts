import { rmSync } from "node:fs";
import { CountedShell, type Fault } from "./support/counted-shell";
import { directory, Guest, records } from "./support/lab";
import { Stack } from "./support/stack";

/**
 * The first create, ended at every one of its remote commands: the next operation leaves all as it was
 * before, or the share whole.
 */
describe("a create that is ended in the middle", () => {
  const guest = new Guest("killed", "small");
  const stack = new Stack();
  const source = "/srv/v9p-killed";
  const share = {
    source,
    domain: guest.domain,
    power: "restart",
    guest: { mountPoint: "/mnt/share", mode: "0750" },
  };
  let before: string[];

  const machine = async (): Promise<string[]> => [
    await directory(source),
    await guest.definition(),
    await guest.touched(),
  ];

  const faults: Fault[] = [1, 2, 3, 4, 5, 6, 7].flatMap((at) => [
    { at, when: "before" as const },
    { at, when: "after" as const },
    { at, when: "during" as const, afterMs: 60 },
    { at, when: "during" as const, afterMs: 250 },
  ]);

  beforeAll(async () => {
    await Promise.all([stack.open(), guest.boot()]);
    before = await machine();
  });

  afterAll(async () => {
    await guest.remove();
    stack.close();
    rmSync(source, { recursive: true, force: true });
  });

  it.each(faults)("$when command $at ($afterMs ms): up and destroy give back all", async (fault) => {
    const shell = new CountedShell(fault);
    stack.declare({ share });
    await stack.pulumi("up", [], { path: shell.folder });
    shell.remove();
    // The guest must be able to boot whatever was left; a power job may still be at work.
    await guest.settle();
    await stack.must("up");
    expect(await stack.share("share")).toMatchObject({ status: "active" });
    await stack.must("destroy");
    expect(await machine()).toEqual(before);
    expect(await records(source)).toEqual([]);
  });

  const recorded = faults.filter(({ when, at }) => when === "during" && at > 2);
  it.each(recorded)("$when command $at ($afterMs ms): destroy alone gives back all", async (fault) => {
    const shell = new CountedShell(fault);
    stack.declare({ share });
    await stack.pulumi("up", [], { path: shell.folder });
    shell.remove();
    await guest.settle();
    await stack.must("destroy");
    expect(await machine()).toEqual(before);
  });
});
