import { mkdirSync, rmSync } from "node:fs";
import { directory, Guest, records } from "./support/lab";
import { output } from "./support/run";
import { Stack } from "./support/stack";

/** What people do with Pulumi beside up and destroy: after each, machine and state agree. */
describe("a share in the flows of Pulumi", () => {
  const guest = new Guest("flows", "small");
  const stack = new Stack();
  const folder = "/srv/v9p-flows";
  const of = (name: string, more: object = {}) => ({
    source: `${folder}/${name}`,
    domain: guest.domain,
    power: "restart",
    guest: { mountPoint: `/mnt/${name}` },
    ...more,
  });
  let before: object;

  const machine = async (): Promise<object> => ({
    a: await directory(`${folder}/a`),
    b: await directory(`${folder}/b`),
    definition: await guest.definition(),
    guest: await guest.touched(),
    records: [...(await records(folder)), ...(await records((await guest.virsh("domuuid")).trim()))],
  });

  /** The state and the machine say the same, and the program too. */
  const expectAgreed = async (): Promise<void> => {
    await stack.must("preview", ["--refresh", "--expect-no-changes"]);
  };

  const expectGivenBack = async (): Promise<void> => {
    await stack.must("destroy");
    expect(await machine()).toEqual(before);
  };

  beforeAll(async () => {
    await stack.open();
  });

  beforeEach(async () => {
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(folder, { mode: 0o755 });
    await guest.boot();
    before = await machine();
  });

  afterEach(async () => {
    await stack.pulumi("destroy");
  });

  afterAll(async () => {
    await guest.remove();
    stack.close();
    rmSync(folder, { recursive: true, force: true });
  });

  it("renamed without an alias, its tag and mount point written out: the same share under the new name", async () => {
    stack.declare({ old: of("a", { tag: "a" }) });
    await stack.must("up");
    const run = await guest.virsh("domid");
    const whole = await machine();
    stack.declare({ new: of("a", { tag: "a" }) });
    await stack.must("up");
    expect(await machine()).toEqual(whole);
    expect(await guest.virsh("domid")).toBe(run);
    expect(await stack.share("new")).toMatchObject({ status: "active", tag: "a" });
    expect(await stack.urn("old")).toBe("");
    await expectAgreed();
    await expectGivenBack();
  });

  it("renamed without an alias, its tag the name: refused by name, for the mount point is the old one's", async () => {
    stack.declare({ old: of("a") });
    await stack.must("up");
    const whole = await machine();
    stack.declare({ new: of("a") });
    const up = await stack.pulumi("up");
    expect(up.code).not.toBe(0);
    expect(up.stdout + up.stderr).toMatch(/\/mnt\/a.*old.*\[mountPointTaken\]/);
    expect(await machine()).toEqual(whole);
    expect(await stack.urn("new")).toBe("");
    // The way out that costs nothing: say that it is the same one.
    stack.declare({ new: of("a", { tag: "old", __options: { aliases: [await stack.urn("old")] } }) });
    await stack.must("up");
    expect(await machine()).toEqual(whole);
    await expectAgreed();
    await expectGivenBack();
  });

  it("renamed with an alias, no tag written: the same share, and nothing is changed", async () => {
    stack.declare({ old: of("a") });
    await stack.must("up");
    const run = await guest.virsh("domid");
    const whole = await machine();
    stack.declare({ new: of("a", { __options: { aliases: [await stack.urn("old")] } }) });
    await stack.must("up", ["--expect-no-changes"]);
    expect(await stack.share("new")).toMatchObject({ status: "active", tag: "old" });
    expect([await machine(), await guest.virsh("domid")]).toEqual([whole, run]);
    await expectAgreed();
    await expectGivenBack();
  });

  it("taken out of the state and up again: adopted, and destroy still knows what was there before", async () => {
    stack.declare({ a: of("a") });
    await stack.must("up");
    const whole = await machine();
    await stack.must("state", ["delete", await stack.urn("a")]);
    await stack.must("up");
    expect(await machine()).toEqual(whole);
    expect(await stack.share("a")).toMatchObject({ status: "active" });
    await expectAgreed();
    await expectGivenBack();
  });

  it("retained on delete: all stays, and is adopted when it is declared again", async () => {
    stack.declare({ a: of("a", { __options: { retainOnDelete: true } }) });
    await stack.must("up");
    const whole = await machine();
    stack.declare({});
    await stack.must("up");
    expect(await stack.urn("a")).toBe("");
    expect(await machine()).toEqual(whole);
    await expectAgreed();
    stack.declare({ a: of("a") });
    await stack.must("up");
    expect(await machine()).toEqual(whole);
    await expectAgreed();
    await expectGivenBack();
  });

  it("one of two as the target of up and of destroy: the other is left as it is", async () => {
    stack.declare({ a: of("a"), b: of("b") });
    const urnOf = (name: string): string =>
      `urn:pulumi:lab::e2e::pulumi-nodejs:dynamic/virtio9p:Virtio9pShare::${name}`;
    await stack.must("up", ["--target", urnOf("a")]);
    expect(await stack.share("a")).toMatchObject({ status: "active" });
    const onlyA = await machine();
    expect(onlyA).toMatchObject({ b: "missing\n" });
    await stack.must("up");
    expect(await stack.share("b")).toMatchObject({ status: "active" });
    await expectAgreed();
    await stack.must("destroy", ["--target", await stack.urn("b")]);
    expect(await machine()).toEqual(onlyA);
    stack.declare({ a: of("a") });
    await expectAgreed();
    await expectGivenBack();
  });

  it("destroyed with a refresh first, over what drifted: all is given back", async () => {
    stack.declare({ a: of("a") });
    await stack.must("up");
    await output("chown", ["root:root", `${folder}/a`]);
    await guest.sh("sed -i s/nofail,// /etc/fstab");
    await stack.must("destroy", ["--refresh"]);
    expect(await machine()).toEqual(before);
  });

  it("its domain undefined: refresh says so, and destroy cleans the host", async () => {
    stack.declare({ a: of("a") });
    await stack.must("up");
    const uuid = (await guest.virsh("domuuid")).trim();
    await guest.virsh("destroy");
    await guest.virsh("undefine");
    const refresh = await stack.must("refresh");
    expect(await stack.share("a")).toMatchObject({
      status: "domainMissing",
      statusReason: "domainMissing",
    });
    expect(refresh.stdout).not.toMatch(/\n\s+at .*\.js:\d+/);
    await stack.must("destroy");
    expect(await directory(`${folder}/a`)).toBe("missing\n");
    expect([...(await records(folder)), ...(await records(uuid))]).toEqual([]);
    expect(await stack.urn("a")).toBe("");
  });
});
