import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { stateVersion } from "../../provider/pulumi/state-migrations";
import { cases } from "../upgrade/cases";
import { folder, restore, take } from "../upgrade/snapshot";
import { Life } from "./life";
import { Sandbox } from "./sandbox";

jest.mock("../../provider/share/machines", () => jest.requireActual<object>("./life-machines"));

/** Shares that earlier releases made, in the hands of this one: test/upgrade/README.md. */

const snapshots = join(__dirname, "../upgrade");
let life: Life;
beforeEach(() => {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder);
  life = new Life(new Sandbox(folder));
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

const release = process.env["VIRTIO9P_SNAPSHOT"];
if (release !== undefined) {
  test.each(Object.keys(cases))("write the snapshot %s of this release", async (name) => {
    mkdirSync(life.box.path("srv/a"));
    await cases[name]?.make(life);
    mkdirSync(join(snapshots, release), { recursive: true });
    writeFileSync(join(snapshots, release, `${name}.json`), take(life.outputs));
  });
}

const all = readdirSync(snapshots, { withFileTypes: true })
  .filter((entry) => entry.isDirectory())
  .flatMap(({ name }) =>
    readdirSync(join(snapshots, name)).map((file) => [name, file.replace(/\.json$/, "")] as const),
  );

test("there is a snapshot of 0.1.0", () => {
  expect(all.map(([name]) => name)).toContain("0.1.0");
});

describe.each(all)("of release %s the share %s", (of, name) => {
  beforeEach(() => {
    life.outputs = restore(readFileSync(join(snapshots, of, `${name}.json`), "utf8"));
    // What kept the operation of then from its end is gone.
    rmSync(life.box.path("refuse-mount"), { force: true });
  });
  const args = () => cases[name]?.args(life) ?? {};
  const ownerOf = (path: string): number => statSync(life.box.path(path)).uid;
  const nothingIsLeft = () => {
    expect(readdirSync(life.box.path("persistent"))).toEqual([]);
    expect(life.box.read("guest/etc/fstab")).toBe("# the guest's own\nUUID=1 / ext4 defaults 0 1\n");
    expect(readdirSync(life.box.path("guest/mnt"))).toEqual([]);
    expect(ownerOf("srv/a")).toBe(0);
    expect(existsSync(life.box.path("records/host"))).toBe(false);
  };

  test("is refreshed", async () => {
    const before = life.box.snapshot();
    const { status, __version } = life.outputs;
    expect(__version ?? 0).toBeLessThanOrEqual(stateVersion);
    const found = await life.read();
    expect(found?.outputs).toMatchObject({ __version: stateVersion });
    expect(found?.inputs).not.toHaveProperty("__version");
    if (status !== "incomplete") expect(found?.outputs["status"]).toBe(status);
    expect(life.box.snapshot()).toEqual(before);
    expect(life.differs(args())).toBe(status === "incomplete");
  });

  test("is updated, and then given back", async () => {
    const updated = await life.update({ ...args(), multidevs: "remap" });
    expect(updated).toMatchObject({ __version: stateVersion, multidevs: "remap" });
    await life.destroy();
    if (name !== "with-former") nothingIsLeft();
  });

  test("is destroyed", async () => {
    await life.destroy();
    nothingIsLeft();
    if (name === "with-former") expect(ownerOf("srv/b")).toBe(0);
  });

  test("of a later release is left alone", async () => {
    const before = life.box.snapshot();
    life.outputs = { ...life.outputs, __version: stateVersion + 1 };
    for (const call of [() => life.read(), () => life.destroy(), () => life.update(args())])
      await expect(call()).rejects.toMatchObject({ code: "laterRelease" });
    expect(life.box.snapshot()).toEqual(before);
  });
});
