import { rmSync } from "node:fs";
import { directory, records } from "./support/lab";
import { minimalDomain, uuidOf } from "./support/minimal-domain";
import { output } from "./support/run";
import { Stack } from "./support/stack";

/** Which domain a share belongs to: by name, by UUID, after it was renamed or defined anew. */
describe("the domain of a share", () => {
  const uuid = "6f6f2d5a-51a1-4a8f-9c0e-0d5d5f6f3b11";
  const web = minimalDomain("v9p-web", uuid);
  const moved = minimalDomain("v9p-web-moved");
  const other = minimalDomain("v9p-web-other");
  const stack = new Stack();
  const source = "/srv/v9p-web";
  const share = { source, domain: "v9p-web", tag: "web" };
  const virsh = (...args: string[]): Promise<string> =>
    output("virsh", ["-q", "-c", "qemu:///system", ...args]);
  const definition = (domain: string): Promise<string> => virsh("dumpxml", "--inactive", domain);

  beforeAll(async () => {
    await stack.open();
  });

  beforeEach(async () => {
    await web.define("");
    stack.declare({ share });
    await stack.must("up");
    expect(await definition("v9p-web")).toContain("<target dir='web'/>");
  });

  afterEach(async () => {
    stack.declare({});
    await stack.must("up");
    await Promise.all([web.remove(), moved.remove(), other.remove()]);
    expect(await directory(source)).toBe("missing\n");
    expect(await records(source)).toEqual([]);
  });

  afterAll(() => {
    stack.close();
    rmSync(source, { recursive: true, force: true });
  });

  it("by name and by UUID is the same", async () => {
    stack.declare({ share: { ...share, domain: uuid.toUpperCase() } });
    await stack.must("up", ["--expect-no-changes"]);
    expect(await stack.share("share")).toMatchObject({ domainUuid: uuid, domainName: "v9p-web" });
  });

  it("another one replaces the share, deleted first", async () => {
    await other.define("");
    stack.declare({ share: { ...share, domain: "v9p-web-other" } });
    const up = await stack.must("up");
    expect(up.stdout).toMatch(/deleted original[^]*created replacement|replaced/);
    expect(await definition("v9p-web")).not.toContain("<target dir='web'/>");
    expect(await definition("v9p-web-other")).toContain("<target dir='web'/>");
    expect(await stack.share("share")).toMatchObject({ domainName: "v9p-web-other" });
  });

  it("renamed is still the one: a refresh says its new name, which then is no change", async () => {
    await virsh("domrename", "v9p-web", "v9p-web-moved");
    const refresh = await stack.must("refresh");
    expect(refresh.stdout).toMatch(/warning: web: the domain v9p-web is called v9p-web-moved now/);
    expect(await stack.share("share")).toMatchObject({
      domainName: "v9p-web-moved",
      layers: { device: "ok" },
    });
    stack.declare({ share: { ...share, domain: "v9p-web-moved" } });
    await stack.must("up", ["--expect-no-changes"]);
    await stack.must("refresh", ["--expect-no-changes"]);
  });

  it("renamed, and its name taken by another: an update is refused with both, and destroy takes the right one", async () => {
    await virsh("domrename", "v9p-web", "v9p-web-moved");
    const third = minimalDomain("v9p-web");
    await third.define("");
    stack.declare({ share: { ...share, readOnly: true } });
    const up = await stack.pulumi("up");
    expect(up.stdout).toMatch(/is called v9p-web-moved now .*and v9p-web is another one .*\[domainRenamed\]/);
    expect(await definition("v9p-web")).not.toContain("<target dir='web'/>");
    stack.declare({});
    await stack.must("up");
    expect(await definition("v9p-web-moved")).not.toContain("<target dir='web'/>");
    await third.remove();
  });

  it("defined anew under its name is repaired by up, and its records go with it", async () => {
    await web.remove();
    const again = minimalDomain("v9p-web");
    await again.define("");
    const preview = await stack.pulumi("preview", ["--refresh", "--expect-no-changes"]);
    expect(preview.code).toBe(7);
    await stack.must("up", ["--refresh"]);
    expect(await definition("v9p-web")).toContain("<target dir='web'/>");
    const now = await stack.share("share");
    expect(now["domainUuid"]).not.toBe(uuid);
    await stack.must("preview", ["--refresh", "--expect-no-changes"]);
    expect(await records(uuid)).toEqual([]);
  });

  it("gone is a status while something is left on the host, and destroy cleans it", async () => {
    await web.remove();
    await stack.must("refresh");
    expect(await stack.share("share")).toMatchObject({ status: "domainMissing" });
    const up = await stack.pulumi("up");
    expect(up.stdout).toMatch(/libvirt has no domain v9p-web \[unknownDomain\]/);
  });

  it("named like the running number of another one is told from it", async () => {
    await other.define("");
    await other.virsh("start", "--paused");
    const number = (await other.virsh("domid")).trim();
    const numbered = minimalDomain(number);
    await numbered.define("");
    stack.declare({ share: { ...share, domain: number } });
    await stack.must("up");
    const named = await uuidOf(number);
    expect(await definition(named)).toContain("<target dir='web'/>");
    expect(await definition("v9p-web-other")).not.toContain("<target dir='web'/>");
    stack.declare({});
    await stack.must("up");
    await virsh("undefine", named);
  });
});
