import { rmSync } from "node:fs";
import { Guest, records } from "./support/lab";
import { output } from "./support/run";
import { Stack } from "./support/stack";

/** Fifty shares of one domain: in one up, and from three stacks at once while somebody edits fstab and the domain. */
describe("fifty shares of one domain", () => {
  const guest = new Guest("stacks", "small");
  const stacks = [new Stack(), new Stack(), new Stack()];
  const base = "/srv/v9p-stacks";
  const names = Array.from({ length: 50 }, (_, index) => `s${index}`);
  const shares = (some: readonly string[]): Record<string, object> =>
    Object.fromEntries(
      some.map((name) => [
        name,
        { source: `${base}-${name}`, domain: guest.domain, guest: { mountPoint: `/mnt/${name}` } },
      ]),
    );
  const all = (args: readonly string[]): Promise<unknown> =>
    Promise.all(stacks.map((stack) => stack.must("up", args)));
  const lines = async (): Promise<string[]> => (await guest.sh("cat /etc/fstab")).split("\n");
  const devices = async (): Promise<string[]> =>
    [...(await guest.definition()).matchAll(/<target dir='([^']*)'\/>/g)].map(([, tag = ""]) => tag);
  let touched: string;
  let definition: string;

  beforeAll(async () => {
    await Promise.all([...stacks.map((stack) => stack.open()), guest.boot()]);
    [touched, definition] = [await guest.touched(), await guest.definition()];
  });

  afterAll(async () => {
    for (const stack of stacks) stack.declare({});
    await Promise.all(stacks.map((stack) => stack.pulumi("up")));
    await guest.remove();
    for (const stack of stacks) stack.close();
    await output("sh", ["-c", `rm -rf ${base}-*`]);
    rmSync(base, { recursive: true, force: true });
  });

  const expectAllOnce = async (): Promise<void> => {
    const mounted = (await lines()).flatMap((line) => /^(s\d+)\s+(\S+)\s+9p /.exec(line)?.[2] ?? []);
    expect(mounted.sort()).toEqual(names.map((name) => `/mnt/${name}`).sort());
    expect((await devices()).sort()).toEqual([...names].sort());
  };

  it("in one up, all are there once; the destroy of all gives all back", async () => {
    const [stack] = stacks as [Stack, Stack, Stack];
    stack.declare(shares(names));
    await stack.must("up", ["--parallel", "64"]);
    await expectAllOnce();
    await stack.must("preview", ["--refresh", "--expect-no-changes"]);
    stack.declare({});
    await stack.must("up", ["--parallel", "64"]);
    expect([await guest.touched(), await guest.definition()]).toEqual([touched, definition]);
    expect(await records(base)).toEqual([]);
  });

  it("from three stacks at once, beside an editor of fstab and one of the domain: nothing lost, nothing twice", async () => {
    stacks.forEach((stack, at) => {
      stack.declare(shares(names.filter((_, index) => index % stacks.length === at)));
    });
    const editing = { on: true };
    const edited: string[] = [];
    const editor = (async () => {
      while (editing.on) {
        const line = `# edited ${edited.length}`;
        await guest.sh(`echo '${line}' >> /etc/fstab`);
        await guest.virsh("desc", "--config", line);
        edited.push(line);
      }
    })();
    try {
      await all(["--parallel", "64"]);
      await expectAllOnce();
      for (const stack of stacks) await stack.must("preview", ["--refresh", "--expect-no-changes"]);
      for (const stack of stacks) stack.declare({});
      await all(["--parallel", "64"]);
    } finally {
      editing.on = false;
      await editor;
    }
    expect(edited.length).toBeGreaterThan(5);
    expect((await lines()).filter((line) => line.startsWith("# edited "))).toEqual(edited);
    expect(await guest.definition()).toContain(`<description>${edited.at(-1) ?? ""}</description>`);
    await guest.sh("sed -i '/^# edited /d' /etc/fstab");
    await guest.virsh("desc", "--config", "");
    expect([await guest.touched(), await guest.definition()]).toEqual([touched, definition]);
    expect(await records(base)).toEqual([]);
  });
});
