import { mkdirSync } from "node:fs";
import * as lifecycle from "../../provider/pulumi/lifecycle";
import type { Properties } from "../../provider/pulumi/state";
import type { Machines } from "../../provider/share/observe";
import { Sandbox } from "./sandbox";

/** The calls of one `up` over the sandbox. What a process has created it remembers: each test has its own. */

let box: Sandbox;
jest.mock("../../provider/share/machines", () => ({ machinesOf: (): Machines => box.machines() }));

const newProcess = (): typeof lifecycle => {
  let fresh: typeof lifecycle | undefined;
  jest.isolateModules(() => {
    fresh = jest.requireActual<typeof lifecycle>("../../provider/pulumi/lifecycle");
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
    "foobar: warning: foobar of web1 was created under another name in this same operation, as foobar: only what that one does not want is given back\n",
  );

  said = "";
  await newProcess().remove(renamed.outputs);
  expect([box.snapshot(), said]).toEqual([before, ""]);
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
