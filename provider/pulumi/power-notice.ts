import { deviceArguments } from "../drivers/ninep/device";
import { clears, type Power } from "../power/plan";
import { canonicalText, pendingCleanupIn, type Properties } from "./state";
import { unknownValue } from "../spec/spec";

/**
 * What a preview says of the guest's power, which Pulumi's own output cannot: by state and program alone, for a preview
 * looks at no machine. So it says "may". Pure.
 */

/** Of a share that is new. Undefined: its `power` allows nothing. */
export function createNotice(args: Properties): string | undefined {
  return notice("this create", args, "a new device", "may be off");
}

/** Of a share that goes because another takes its place: QEMU has to let go of its device. */
export function replaceNotice(outputs: Properties): string | undefined {
  if (outputs["status"] === "off") return undefined;
  return notice("this replacement", outputs, "the device goes", undefined);
}

/** Of an update. Undefined too where it can need no power cycle: a guest's options, a time-out. */
export function updateNotice(outputs: Properties, args: Properties): string | undefined {
  const device = (outputs["layers"] as { device?: unknown } | undefined)?.device;
  const status = String(outputs["status"]);
  const changed = deviceArguments.filter(
    (name) => canonicalText(outputs[name]) !== canonicalText(args[name]),
  );
  const maybeWithout =
    device !== "ok" || ["pendingPowerCycle", "domainMissing", "incomplete"].includes(status);
  const reasons: readonly [boolean, string][] = [
    [changed.length > 0, `device changed: ${changed.join(", ")}`],
    [maybeWithout, "the running QEMU may not have the device"],
    [pendingCleanupIn(outputs).length > 0, "the running QEMU may have a former device"],
  ];
  const why = reasons.find(([applies]) => applies)?.[1];
  const off = ["off", "domainMissing", "incomplete", "undefined"].includes(status)
    ? "was off, or not seen, at the last look"
    : undefined;
  return notice("this update", args, why, off);
}

/**
 * `cycle`: why a guest that runs would be restarted, if it may have to be; `off`: what is known of a domain that is not
 * seen to run. Sample: `this update may shut down and start the guest of web1 (power: restart): device changed: source`.
 */
function notice(what: string, args: Properties, cycle: string | undefined, off: string | undefined) {
  const power = args["power"] as Power | typeof unknownValue | undefined;
  const name = args["domain"] === unknownValue ? "a domain that is not known yet" : String(args["domain"]);
  const by = `(power: ${power === unknownValue ? "not known yet" : (power ?? "never")})`;
  if (power === undefined || power === "never") return undefined;
  if (cycle !== undefined && (power === unknownValue || clears(power, "deviceDiffersLive"))) {
    const how = power === "force" ? "shut down, or cut the power of, and start" : "shut down and start";
    return `${what} may ${how} the guest of ${name} ${by}: ${cycle}`;
  }
  return off === undefined ? undefined : `${what} may start ${name} ${by}: it ${off}`;
}
