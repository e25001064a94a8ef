import { waitsForCycle } from "../power/plan";
import { type Problem, printable } from "../errors";
import type { ShareSpec } from "../spec/spec";
import type { Machines } from "./observe";

/** What is said of a share besides its plans' own warnings. */

/** A switched-off check is said at each run. */
export function unverifiedKeys({ unverified }: Machines): string[] {
  return unverified.map(
    (name) =>
      `the host key of ${name} is not verified (verifyHostKey: false): whoever answers there gets the credentials`,
  );
}

export function leftInGuest([first]: readonly ShareSpec[]): string {
  return `${first?.domain ?? ""} is off, and its guest cannot be edited: what ${first?.tag ?? ""} had there, ${first?.guest?.mountPoint ?? "and its line"} in fstab too, is taken out by the first up that finds it running`;
}

/** Of a share that is destroyed. */
export function staysInGuest(domain: string, left: readonly string[]): string {
  return `${domain} is off, and its guest cannot be edited: there stay ${left.join("; ")}`;
}

export function secondCycle(domain: string): string {
  return `${domain} was power-cycled a second time in this operation, for its shares did not come together: pulumi up --parallel 64 lets them share one cycle, and so does not chaining them with dependsOn`;
}

/** A fact that could not be looked up, and that the rest goes on without. */
export function notLookedAt({ tried, machine, what, returned = "" }: Problem): string {
  const answer = returned === "" ? "" : `: ${printable(returned)}`;
  return `could not ${tried ?? "look at all"} on ${machine}: ${what}${answer}`;
}

/** What waits for a power cycle, and what to do when somebody has made it. */
export function withNextStep(
  { says, reason }: { readonly says: string; readonly reason: string },
  domain = "the domain",
): string {
  return waitsForCycle(reason)
    ? `${says}; when ${domain} has been power-cycled, run pulumi up --refresh`
    : says;
}
