import { existsSync, mkdirSync } from "node:fs";
import * as lifecycle from "../../provider/pulumi/lifecycle";
import type { Properties } from "../../provider/pulumi/state";
import { Life } from "./life";

jest.mock("../../provider/share/machines", () => jest.requireActual<object>("./life-machines"));
const mockRefused = new Set<string>();
jest.mock("../../provider/formats/system-path", () => {
  const real = jest.requireActual<{ isSystemPath: (path: string) => boolean }>(
    "../../provider/formats/system-path",
  );
  return { ...real, isSystemPath: (path: string) => mockRefused.has(path) || real.isSystemPath(path) };
});

describe("a share that an earlier release made", () => {
  let life: Life;
  beforeEach(() => {
    life = new Life();
    mkdirSync(life.box.path("srv/a"));
  });
  afterEach(() => {
    mockRefused.clear();
    life.remove();
  });

  test.each<[string, () => Properties]>([
    ["an argument that is gone", () => ({ hotplug: true })],
    ["a value that is gone", () => ({ accessMode: "mapped-file", multidevs: "sometimes" })],
    [
      "no outputs but its arguments",
      () => ({
        status: undefined,
        layers: undefined,
        before: undefined,
        __former: undefined,
        __stood: undefined,
        domainUuid: undefined,
        domainName: undefined,
      }),
    ],
    [
      "outputs of other types",
      () => ({
        status: 5,
        layers: "all",
        before: "b",
        __former: {},
        __stood: null,
        __version: "x",
        domainName: [],
        mountOptions: 1,
      }),
    ],
    ["records of other types in it", () => ({ before: { directory: "x", device: 5, fstab: null } })],
  ])("%s: is refreshed and destroyed", async (_, more) => {
    const before = life.box.snapshot();
    await life.create({ guest: { mountPoint: life.box.path("guest/mnt/a") }, power: "restart" });
    life.outputs = Object.fromEntries(
      Object.entries({ ...life.outputs, ...more() }).filter(([, value]) => value !== undefined),
    );
    mockRefused.add(life.box.path("srv/a"));
    mockRefused.add(life.box.path("guest/mnt/a"));
    expect(lifecycle.check(life.outputs).failures).not.toEqual([]);
    const found = await life.read();
    expect(found?.outputs["layers"]).toMatchObject({ directory: "ok", fstab: "ok" });
    await life.destroy();
    expect(life.box.snapshot()).toEqual(before);
    expect(existsSync(life.box.path("records/host"))).toBe(false);
  });
});
