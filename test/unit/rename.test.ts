import { mkdirSync } from "node:fs";
import * as lifecycle from "../../provider/lifecycle";
import type { Properties } from "../../provider/state";
import type { Machines } from "../../provider/reconcile/observe";
import { Sandbox } from "./reconcile/sandbox";

/** The calls of one `up` over the sandbox. What a process has created it remembers: each test has its own. */

let box: Sandbox;
/** The address that the machine is known under; undefined: its first. */
let over: string | undefined;
jest.mock("../../provider/reconcile/machines", () => ({
  machinesOf: (_spec: unknown, knownUuid: string): Machines => {
    const machines = box.machines();
    return { ...machines, knownUuid, key: over ?? machines.key };
  },
}));

const newProcess = (): typeof lifecycle => {
  let fresh: typeof lifecycle | undefined;
  jest.isolateModules(() => {
    fresh = jest.requireActual<typeof lifecycle>("../../provider/lifecycle");
  });
  if (!fresh) throw new Error("not loaded");
  return fresh;
};
const inputsOf = (args: Properties = {}): Properties =>
  lifecycle.check({
    source: box.path("srv/a"),
    domain: "web1",
    tag: "foobar",
    selinux: { manage: "never" },
    guest: { mountPoint: box.path("guest/mnt/a") },
    power: "restart",
    ...args,
  }).inputs;

let said: string;
beforeEach(() => {
  box = new Sandbox();
  mkdirSync(box.path("srv/a"));
  said = "";
  jest.spyOn(process.stderr, "write").mockImplementation((text) => {
    said += String(text);
    return true;
  });
});
afterEach(() => {
  jest.restoreAllMocks();
  box.remove();
});

test("renamed without an alias, created and then deleted in one process: all stays in place", async () => {
  const before = box.snapshot();
  const first = await newProcess().create(inputsOf());
  const shared = box.snapshot();

  const up = newProcess();
  const renamed = await up.create(inputsOf());
  await up.remove(first.outputs);
  expect(box.snapshot()).toEqual(shared);
  expect(said).toBe(
    "foobar: warning: foobar of web1 was created anew in this same operation, as foobar: only what that one does not want is given back\n",
  );

  said = "";
  await newProcess().remove(renamed.outputs);
  expect([box.snapshot(), said]).toEqual([before, ""]);
}, 20_000);

test("created over another address of the same machine, then deleted over the former: all stays in place", async () => {
  const first = await newProcess().create(inputsOf());
  const shared = box.snapshot();
  const up = newProcess();
  over = "another address";
  await up.create(inputsOf());
  over = undefined;
  await up.remove(first.outputs);
  expect(box.snapshot()).toEqual(shared);
}, 20_000);

test("created on another machine: the delete is carried out here", async () => {
  const before = box.snapshot();
  const first = await newProcess().create(inputsOf());
  const here = box;
  const up = newProcess();
  box = new Sandbox();
  try {
    over = "another machine";
    mkdirSync(box.path("srv/a"));
    await up.create(inputsOf());
    const there = box.snapshot();
    const moved = box;
    [box, over] = [here, undefined];
    await up.remove(first.outputs);
    expect([box.snapshot(), moved.snapshot()]).toEqual([before, there]);
    box = moved;
  } finally {
    box.remove();
    box = here;
  }
}, 20_000);

test("another tag is another share: its delete is carried out", async () => {
  const { create, remove } = newProcess();
  const before = box.snapshot();
  const old = await newProcess().create(inputsOf());
  const next = await create(
    inputsOf({ tag: "next", otherWriters: "allow", guest: { mountPoint: box.path("guest/mnt/b") } }),
  );
  await remove(old.outputs);
  expect([box.has("persistent/foobar"), box.has("persistent/next")]).toEqual([false, true]);
  expect(said).toMatch(/directory .* is left as it is, for .*\/next still has it/);
  await newProcess().remove(next.outputs);
  expect(box.snapshot()).toEqual(before);
}, 20_000);

test("a create that failed before its first change claims nothing", async () => {
  const { create, remove } = newProcess();
  const before = box.snapshot();
  const shared = await newProcess().create(inputsOf());
  const refused = create(inputsOf({ source: box.path("srv/nowhere/x") }));
  await expect(refused).rejects.toMatchObject({ name: "ShareError" });
  await remove(shared.outputs);
  expect([box.snapshot(), said]).toEqual([before, ""]);
}, 20_000);
