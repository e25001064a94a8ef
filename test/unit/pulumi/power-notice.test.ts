import { deviceArguments, wantedDevice } from "../../../provider/drivers/ninep/device";
import { createNotice, replaceNotice, updateNotice } from "../../../provider/pulumi/power-notice";
import { unknownValue } from "../../../provider/spec/spec";
import type { Properties } from "../../../provider/pulumi/state";
import { specOf } from "../sample";

const args = (more: Record<string, unknown> = {}): Properties => ({
  ...(JSON.parse(JSON.stringify(specOf(more))) as Properties),
  ...more,
});
const outputs = (more: Properties = {}): Properties => ({
  ...args(),
  status: "active",
  layers: { device: "ok", fstab: "ok" },
  __former: [],
  ...more,
});

test("the arguments of the device are those that it is made of", () => {
  expect([...deviceArguments].sort()).toEqual(Object.keys(wantedDevice(specOf())).sort());
});

test.each([
  ["never", undefined],
  ["start", "this create may start web1 (power: start): it may be off"],
  ["restart", "this create may shut down and start the guest of web1 (power: restart): a new device"],
  [
    "force",
    "this create may shut down, or cut the power of, and start the guest of web1 (power: force): a new device",
  ],
  [
    unknownValue,
    "this create may shut down and start the guest of web1 (power: not known yet): a new device",
  ],
])("a create with power %s", (power, text) => {
  expect(createNotice({ ...args(), power })).toBe(text);
});

test("a domain that is not known yet", () => {
  expect(createNotice({ ...args(), domain: unknownValue, power: "restart" })).toContain(
    "the guest of a domain that is not known yet (power: restart)",
  );
});

const cycle = (why: string) =>
  `this update may shut down and start the guest of web1 (power: restart): ${why}`;
const starts = (power: string) =>
  `this update may start web1 (power: ${power}): it was off, or not seen, at the last look`;
const seen = "the running QEMU may not have the device";
test.each<[string, Properties, Record<string, unknown>, string, string | undefined]>([
  ["a source", {}, { source: "/b" }, "restart", cycle("device changed: source")],
  ["a source, only started", {}, { source: "/b" }, "start", undefined],
  ["a source, never", {}, { source: "/b" }, "never", undefined],
  ["two", {}, { readOnly: true, tag: "b" }, "restart", cycle("device changed: tag, readOnly")],
  ["not known yet", {}, { source: unknownValue }, "restart", cycle("device changed: source")],
  ["nothing of the device", {}, { otherWriters: "allow" }, "restart", undefined],
  ["options of the guest", {}, { guest: { mountPoint: "/mnt/a" } }, "restart", undefined],
  ["a layer of the guest", { layers: { device: "ok", fstab: "missing" } }, {}, "force", undefined],
  ["a device that is gone", { layers: { device: "missing" } }, {}, "restart", cycle(seen)],
  ["pending", { status: "pendingPowerCycle" }, {}, "restart", cycle(seen)],
  ["pending, only started", { status: "pendingPowerCycle" }, {}, "start", undefined],
  ["failed", { status: "incomplete" }, {}, "restart", cycle(seen)],
  ["failed, only started", { status: "incomplete" }, {}, "start", starts("start")],
  ["off", { status: "off" }, { guest: { mountPoint: "/mnt/a" } }, "start", starts("start")],
  ["off, restart", { status: "off" }, {}, "restart", starts("restart")],
  ["off, never", { status: "off" }, { source: "/b" }, "never", undefined],
  [
    "left over",
    { __former: [args({ source: "/b" })] },
    {},
    "restart",
    cycle("the running QEMU may have a former device"),
  ],
])("an update: %s", (_, olds, news, power, text) => {
  const present = Object.values(news).includes(unknownValue) ? { ...args(), ...news } : args(news);
  expect(updateNotice(outputs(olds), { ...present, power })).toBe(text);
});

test.each([
  ["active", "start", undefined],
  [
    "active",
    "restart",
    "this replacement may shut down and start the guest of web1 (power: restart): the device goes",
  ],
  ["off", "restart", undefined],
])("a replacement, %s, power %s", (status, power, text) => {
  expect(replaceNotice(outputs({ status, power }))).toBe(text);
});
