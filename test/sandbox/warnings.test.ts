import { mkdirSync, rmSync } from "node:fs";
import { guestBooleans } from "../../provider/layers/booleans/index";
import { Life } from "./life";

jest.mock("../../provider/share/machines", () => jest.requireActual<object>("./life-machines"));

/** What a person is told of a share beside its plans' own warnings. */

let life: Life;
beforeEach(() => {
  life = new Life();
  mkdirSync(life.box.path("srv/a"));
});
afterEach(() => {
  life.remove();
});
const mountPoint = (): string => life.box.path("guest/mnt/a");
const args = (more: object = {}) => ({ guest: { mountPoint: mountPoint(), ...more } });
const turnOff = (): void => {
  life.box.write("state", "shut off\n");
  rmSync(life.box.path("live"), { recursive: true });
  mkdirSync(life.box.path("live"));
};

describe("what waits for a power cycle says what comes after it", () => {
  const next = /; when web1 has been power-cycled, run pulumi up --refresh$/;
  const told = (): string[] => life.warnings.filter((text) => next.test(text));

  test("at the first up, at each refresh until then, and never again", async () => {
    await life.create(args());
    expect([life.outputs["status"], told()]).toEqual(["pendingPowerCycle", [expect.stringMatching(next)]]);
    await life.read();
    expect(told()).toHaveLength(1);
    life.box.powerCycle();
    await life.read();
    expect(told()).toEqual([]);
    expect(life.differs(args())).toBe(true);
    await life.update(args());
    expect([life.outputs["status"], told()]).toEqual(["active", []]);
  });

  test("where the running QEMU has another device", async () => {
    await life.create({ ...args(), power: "restart" });
    expect(told()).toEqual([]);
    await life.update({ ...args(), multidevs: "remap" });
    expect([life.outputs["statusReason"], told()]).toEqual([
      "deviceDiffersLive",
      [expect.stringMatching(next)],
    ]);
  });

  test("not where the share is given up: nothing is to be run after that", async () => {
    await life.create({ ...args(), power: "restart" });
    await life.update(args());
    await life.destroy();
    expect(life.warnings.some((text) => text.includes("power cycle"))).toBe(true);
    expect(told()).toEqual([]);
  });

  test("not where the domain is off: it is started, not cycled", async () => {
    turnOff();
    await life.create(args());
    expect([life.outputs["status"], told()]).toEqual(["off", []]);
  });
});

describe("what stays in a guest that is off when its share is destroyed", () => {
  const stays = /^web1 is off, and its guest cannot be edited: there stay (.*)$/;
  const told = (): string[] => life.warnings.flatMap((text) => stays.exec(text)?.[1]?.split("; ") ?? []);
  const line = (options: string): unknown =>
    expect.stringMatching(new RegExp(`^the line "foobar .*" of its fstab${options}$`));

  test.each([
    [{}, ", which is nofail, and harmless"],
    [{ options: { nofail: false } }, ""],
  ])("%j", async (more, options) => {
    await life.create({ ...args(more), power: "restart" });
    turnOff();
    await life.destroy();
    expect(told()).toEqual([
      "/etc/modules-load.d/virtio9p.conf",
      line(options),
      `the mount point ${mountPoint()}`,
    ]);
  });

  test("of a share that never was in it, nothing", async () => {
    await life.create();
    turnOff();
    await life.destroy();
    expect(told()).toEqual([]);
  });

  test("a boolean that the share set on", () => {
    expect(guestBooleans.left?.("httpd_use_nfs", { on: false })).toBe(
      "its SELinux boolean httpd_use_nfs, which is on",
    );
    expect(guestBooleans.left?.("httpd_use_nfs", { on: true })).toBeUndefined();
  });
});
