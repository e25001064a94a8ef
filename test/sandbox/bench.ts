import { mkdirSync } from "node:fs";
import { ShareError } from "../../provider/errors";
import type { Outcome } from "../../provider/share/reconcile";
import { driftOf, statusOf } from "../../provider/share/status";
import type { ShareSpec } from "../../provider/spec/spec";
import { Sandbox } from "./sandbox";

/** What the tests of reconcile have in common: a fresh sandbox with two directories for each. */
export let box: Sandbox;
beforeEach(() => {
  box = new Sandbox();
  mkdirSync(box.path("srv/a"));
  mkdirSync(box.path("srv/b"));
});
afterEach(() => {
  box.remove();
});

/** The arguments of a share in the guest, with `more` of them. */
export const guest = (more: Record<string, unknown> = {}) => ({
  guest: { mountPoint: box.path("guest/mnt/a"), ...more },
});

export const status = ({ observation, power, bindings }: Outcome): unknown =>
  statusOf(observation, power, driftOf(bindings, observation)).status;

/** The codes of the refusal that it ends with, or of the failure that its outcome has. */
export const codes = (work: Promise<Outcome>): Promise<unknown> =>
  work.then(
    ({ failure }) => failure?.code ?? "no failure",
    (error: unknown) => (error instanceof ShareError ? error.problems.map(({ code }) => code) : error),
  );

/** The same share again, with what the state has of it. */
export const again = (outcome: Outcome, spec: ShareSpec, next: ShareSpec | undefined = spec) => ({
  spec: next,
  olds: [spec, ...outcome.pendingCleanup],
  baseline: outcome.before,
});

export const undone = (outcome: Outcome, spec: ShareSpec) => ({ ...again(outcome, spec), spec: undefined });
