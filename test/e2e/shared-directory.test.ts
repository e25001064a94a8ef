import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { directory, Guest, records } from "./support/lab";
import { output } from "./support/run";
import { Stack } from "./support/stack";

/** Which of two nested shares is made first and goes first. */
const nested = (["outer", "inner"] as const).flatMap((firstMade) =>
  (["outer", "inner"] as const).map((firstGone) => ({ firstMade, firstGone })),
);

const orders = [{ early: "one" }, { early: "two" }] as const;

/** Two stacks on one host: what was there before comes back exactly once, when the last of them is gone. */
describe("two shares of one directory, from two stacks", () => {
  const [first, second] = [new Guest("shared-a", "small"), new Guest("shared-b", "small")];
  const [one, two] = [new Stack(), new Stack()];
  const base = "/srv/v9p-shared";
  const source = `${base}/tree`;
  const shares = {
    one: { source, domain: first.domain, tag: "tree", otherWriters: "allow", directory: { mode: "0770" } },
    two: { source, domain: second.domain, tag: "tree", otherWriters: "allow" },
  };

  beforeAll(async () => {
    await Promise.all([one.open(), two.open(), first.define(), second.define()]);
  });

  beforeEach(async () => {
    rmSync(base, { recursive: true, force: true });
    mkdirSync(source, { recursive: true });
    writeFileSync(`${source}/kept`, "kept\n");
    await output("chown", ["64055:64055", `${source}/kept`]);
    await output("chown", ["1234:5678", source]);
    await output("chmod", ["2710", source]);
  });

  afterEach(async () => {
    one.declare({});
    two.declare({});
    await Promise.all([one.pulumi("up"), two.pulumi("up")]);
  });

  afterAll(async () => {
    await Promise.all([first.remove(), second.remove()]);
    one.close();
    two.close();
    rmSync(base, { recursive: true, force: true });
  });

  const ownerOf = (path: string): Promise<string> => output("stat", ["-c", "%u:%g", path]);

  it.each(orders)("destroyed in either order, $early first", async ({ early }) => {
    const before = await directory(source);
    one.declare({ share: shares.one });
    two.declare({ share: shares.two });
    await one.must("up");
    await two.must("up");
    const [former, late] = early === "one" ? [one, two] : [two, one];
    const destroyed = await former.must("destroy");
    expect(destroyed.stdout).toMatch(/warning: .*directory \/srv\/v9p-shared\/tree is left as it is/);
    expect(await ownerOf(source)).toBe("64055:64055\n");
    await late.must("preview", ["--refresh", "--expect-no-changes"]);
    await late.must("destroy");
    expect(await directory(source)).toBe(before);
    expect(await records(source)).toEqual([]);
  });

  it.each(nested)(
    "nested, the $firstMade one first made and the $firstGone one first gone: each gives its own back",
    async ({ firstMade, firstGone }) => {
      const inner = `${source}/inner`;
      // QEMU has to get to the inner one.
      await output("chmod", ["2711", source]);
      mkdirSync(inner);
      await output("chown", ["64055:777", inner]);
      // A list of the outer one has the inner one in it.
      const now = async () => ({
        outer: (await directory(source)).replace(/^inner .*\n/m, ""),
        inner: await directory(inner),
      });
      const before = await now();
      one.declare({
        share: { source, domain: first.domain, otherWriters: "allow", directory: { recursive: false } },
      });
      two.declare({ share: { source: inner, domain: second.domain, otherWriters: "allow" } });
      const stacks = { outer: one, inner: two };
      await stacks[firstMade].must("up");
      await stacks[firstMade === "outer" ? "inner" : "outer"].must("up");
      const held = await now();
      const rest = firstGone === "outer" ? "inner" : "outer";
      await stacks[firstGone].must("destroy");
      expect(await now()).toEqual({ ...before, [rest]: held[rest] });
      await stacks[rest].must("preview", ["--refresh", "--expect-no-changes"]);
      await stacks[rest].must("destroy");
      expect(await now()).toEqual(before);
      expect(await records(base)).toEqual([]);
    },
  );

  it("one that would change owners in a tree that another has taken over is refused, and so is the other way round", async () => {
    const inner = `${source}/inner`;
    await output("chmod", ["2711", source]);
    mkdirSync(inner);
    const taking = { source, domain: first.domain, otherWriters: "allow", directory: { recursive: true } };
    const small = { source: inner, domain: second.domain, otherWriters: "allow" };
    one.declare({ share: taking });
    two.declare({ share: small });
    await one.must("up");
    const held = await directory(inner);
    const refused = await two.pulumi("up");
    expect(refused.code).not.toBe(0);
    expect(refused.stdout).toContain(`${inner} lies in ${source}, which another share has taken over`);
    expect(await directory(inner)).toBe(held);
    two.declare({ share: { ...small, readOnly: true } });
    await two.must("up");
    await two.must("destroy");
    expect(await directory(inner)).toBe(held);
    await one.must("destroy");
    two.declare({ share: small });
    await two.must("up");
    // Without it there would be nothing to take over.
    writeFileSync(`${source}/of-others`, "");
    const other = await one.pulumi("up");
    expect(other.code).not.toBe(0);
    expect(other.stdout).toContain(`${source} holds ${inner}, of which other shares have changed the owners`);
  });

  it("two ups at the same moment: both succeed, and both records stand", async () => {
    one.declare({ share: shares.one });
    two.declare({ share: shares.two, more: { ...shares.two, source: `${base}/more`, tag: "more" } });
    const before = await directory(source);
    await Promise.all([one.must("up"), two.must("up")]);
    for (const guest of [first, second]) expect(await guest.definition()).toContain("<target dir='tree'/>");
    await Promise.all([one.must("destroy"), two.must("destroy")]);
    expect(await directory(source)).toBe(before);
    expect(await directory(`${base}/more`)).toBe("missing\n");
    expect(await records(base)).toEqual([]);
  });

  it("under another path, through a bind mount, it is refused by the first one's path", async () => {
    const bound = `${base}/bound`;
    mkdirSync(bound);
    await output("mount", ["--bind", source, bound]);
    try {
      const before = await directory(source);
      one.declare({ share: shares.one });
      two.declare({ share: { ...shares.two, source: bound, readOnly: true } });
      await one.must("up");
      const held = [await directory(source), await second.definition()];
      const refused = await two.pulumi("up");
      expect(refused.code).not.toBe(0);
      expect(refused.stdout).toContain(
        `${bound} is ${source} by another path, through a mount, and a share has it under that one [sourceIsLink]`,
      );
      expect([await directory(source), await second.definition()]).toEqual(held);
      await one.must("destroy");
      expect(await directory(source)).toBe(before);
    } finally {
      await output("umount", [bound]);
    }
  });

  it("a lost state: the record says what was there before", async () => {
    const before = await directory(source);
    one.declare({ share: shares.one });
    await one.must("up");
    await one.must("state", ["delete", await one.urn("share")]);
    await one.must("up");
    await one.must("destroy");
    expect(await directory(source)).toBe(before);
    expect(await records(source)).toEqual([]);
  });

  it("a directory that was moved away, or whose file system is not mounted, is an error and not drift", async () => {
    one.declare({ share: { ...shares.one, accessMode: "passthrough", directory: { owner: "64055" } } });
    await one.must("up");
    await output("mv", [source, `${source}-away`]);
    expect((await one.pulumi("up", ["--refresh"])).stdout).toMatch(/\[sourceVanished\]/);
    mkdirSync(source);
    expect((await one.pulumi("up", ["--refresh"])).stdout).toMatch(/\[sourceMoved\]/);
    expect(await ownerOf(source)).toBe("0:0\n");
    await output("rmdir", [source]);
    await output("mv", [`${source}-away`, source]);
    await output("mount", ["-t", "tmpfs", "none", source]);
    expect((await one.pulumi("up", ["--refresh"])).stdout).toMatch(/\[sourceMoved\]/);
    await output("umount", [source]);
    await one.must("up", ["--refresh"]);
    await one.must("preview", ["--refresh", "--expect-no-changes"]);
  });

  it("one that the share made and that is gone later is an error too, and never made anew", async () => {
    const made = `${base}/made`;
    one.declare({ share: { ...shares.one, source: made } });
    await one.must("up");
    await output("rmdir", [made]);
    expect((await one.pulumi("up", ["--refresh"])).stdout).toMatch(/\[sourceVanished\]/);
    expect(await directory(made)).toBe("missing\n");
    await one.must("destroy");
    expect(await records(made)).toEqual([]);
  });
});
