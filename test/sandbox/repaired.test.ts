import { chmodSync, mkdirSync } from "node:fs";
import * as lifecycle from "../../provider/pulumi/lifecycle";
import type { Machines } from "../../provider/share/observe";
import type { Properties } from "../../provider/pulumi/state";
import { Sandbox } from "./sandbox";

/** `pulumi up --refresh`: warnings of the refresh stand in the output, so the update says what it has repaired of them. */

let box: Sandbox;
let said: string[];
jest.mock("../../provider/share/machines", () => ({ machinesOf: (): Machines => box.machines() }));

beforeEach(() => {
  box = new Sandbox();
  mkdirSync(box.path("srv/a"));
  said = [];
  jest.spyOn(process.stderr, "write").mockImplementation((text) => {
    said.push(String(text).trim());
    return true;
  });
});
afterEach(() => {
  jest.restoreAllMocks();
  box.remove();
});

const inputs = (args: Properties = {}): Properties =>
  lifecycle.check({
    source: box.path("srv/a"),
    domain: "web1",
    tag: "foobar",
    directory: { mode: "0750" },
    selinux: { manage: "never" },
    ...args,
  }).inputs;

test("what the update repaired is said once, what it did not is not", async () => {
  const { id, outputs } = await lifecycle.create(inputs());
  chmodSync(box.path("srv/a"), 0o700);
  said = [];
  const found = await lifecycle.read(outputs);
  const warnings = said.map((line) => line.replace("foobar: warning: ", ""));
  const drift = 'directory.mode is "0700" (directory)';
  expect(warnings).toContain(drift);
  said = [];
  const next = await lifecycle.update(id, found?.outputs ?? {}, inputs());
  const repaired = said.filter((line) => line.startsWith("foobar: repaired"));
  expect(repaired).toEqual([expect.stringContaining(drift)]);
  const still = warnings.filter((line) => line.includes("power cycle"));
  expect(still.filter((line) => repaired[0]?.includes(line))).toEqual([]);
  said = [];
  await lifecycle.update(id, next, inputs({ readOnly: true }));
  expect(said.filter((line) => line.startsWith("foobar: repaired"))).toEqual([]);
}, 30_000);

test("an update without a refresh before it has repaired nothing that was said", async () => {
  const { id, outputs } = await lifecycle.create(inputs());
  said = [];
  await lifecycle.update(id, outputs, inputs({ readOnly: true }));
  expect(said.filter((line) => line.includes("repaired"))).toEqual([]);
}, 30_000);
