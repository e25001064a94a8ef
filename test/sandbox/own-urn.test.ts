import { mkdirSync } from "node:fs";
import * as lifecycle from "../../provider/pulumi/lifecycle";
import type { Properties } from "../../provider/pulumi/state";
import type { Machines } from "../../provider/share/observe";
import { Sandbox } from "./sandbox";

/** The URN that the class hands in: every call stores it, for read and delete are given outputs alone. */

let box: Sandbox;
jest.mock("../../provider/share/machines", () => ({ machinesOf: (): Machines => box.machines() }));

beforeEach(() => {
  box = new Sandbox();
  mkdirSync(box.path("srv/a"));
  jest.spyOn(process.stderr, "write").mockReturnValue(true);
});
afterEach(() => {
  jest.restoreAllMocks();
  box.remove();
});

const inputsOf = (args: Properties): Properties =>
  lifecycle.check({
    source: box.path("srv/a"),
    domain: "web1",
    tag: "foobar",
    selinux: { manage: "never" },
    ...args,
  }).inputs;
/** What one process has made it remembers, and the engine starts one for each operation. */
const newProcess = (): typeof lifecycle => {
  let fresh: typeof lifecycle | undefined;
  jest.isolateModules(() => {
    fresh = jest.requireActual<typeof lifecycle>("../../provider/pulumi/lifecycle");
  });
  if (!fresh) throw new Error("not loaded");
  return fresh;
};
const first = { __logUrn: "urn:pulumi:a" };
const second = { __logUrn: "urn:pulumi:b" };

test("create, read and update repeat the URN that they were given", async () => {
  const { id, outputs } = await lifecycle.create(inputsOf(first));
  expect(outputs).toMatchObject(first);
  expect(await lifecycle.read(outputs)).toMatchObject({ outputs: first, inputs: first });
  const renaming = newProcess();
  const readOnly = await renaming.update(id, outputs, inputsOf({ ...second, readOnly: true }));
  expect(readOnly).toMatchObject({ ...second, readOnly: true });
  const timeouts = inputsOf({ ...first, readOnly: true, timeouts: { bootMs: 1000 } });
  expect(await renaming.update(id, readOnly, timeouts)).toMatchObject(first);
}, 20_000);

test("a partial failure does too", async () => {
  box.killBefore = { place: "host", step: 2 };
  const failure: unknown = await lifecycle.create(inputsOf(first)).catch((error: unknown) => error);
  expect(failure).toBeInstanceOf(lifecycle.PartialFailure);
  expect((failure as lifecycle.PartialFailure).outputs).toMatchObject({ ...first, status: "incomplete" });
}, 20_000);

test("a state without it: nothing to do, nothing invented, and the next update stores it", async () => {
  const { id, outputs } = await lifecycle.create(inputsOf({}));
  expect(Object.keys(outputs)).not.toContain("__logUrn");
  expect(lifecycle.diff(outputs, inputsOf(first)).changes).toBe(false);
  const found = await lifecycle.read(outputs);
  expect(Object.keys({ ...found?.inputs, ...found?.outputs })).not.toContain("__logUrn");
  expect(lifecycle.diff(found?.outputs ?? {}, inputsOf(first)).changes).toBe(false);
  const next = await lifecycle.update(id, outputs, inputsOf({ ...first, readOnly: true }));
  expect(next).toMatchObject(first);
  expect(lifecycle.diff(next, inputsOf({ readOnly: true })).changes).toBe(false);
}, 20_000);
