import { domainInfo, libvirt, type DomainInfo, liveDomain } from "../layers/shared/domain";
import { powerFacts } from "../power/plan";
import { type ErrorCode, type Problem, ShareError } from "../errors";
import { type Bindings, factsOf } from "../engine/binding";
import { type Snapshot, type Machine, problemOn, valueIn } from "../engine/requests";
import { refuse } from "../engine/layer";
import { look } from "../engine/batcher";

/** The two machines of a share. */
export interface Machines {
  /** Tells the libvirt of one host from another, whoever asks it. */
  readonly key: string;
  readonly host: Machine;
  /** The domain's UUID as the state has it; empty: not known yet. */
  readonly knownUuid: string;
  /** The guest can be reached only once its domain is known. */
  readonly guest: (domain: { uuid: string; name: string; systemUuid?: string }) => Machine;
  readonly guestBy: "agent" | "ssh";
  /** Waits for a guest that boots, where nothing on the host can see it: over SSH. */
  readonly guestReady: (withinMs: number) => Promise<void>;
  /** Machines on the way there whose keys are not looked at, because the program says so. */
  readonly unverified: readonly string[];
}

/** What was found on both, or why the guest could not be looked at. */
export interface Observation {
  readonly host: Snapshot;
  readonly guest: Snapshot | undefined;
  readonly guestState: GuestState;
  readonly info: DomainInfo | undefined;
}

export type GuestState =
  | { readonly kind: "notAsked" | "off" | "seen" }
  | { readonly kind: "unreachable"; readonly problem: Problem };

/** Looks at the host, and then at the guest if a binding asks for it: at most two remote commands. */
export async function observe(machines: Machines, bindings: Bindings): Promise<Observation> {
  const host = await look({ machine: machines.host, facts: hostFacts(bindings) });
  return observeGuest(machines, bindings, host);
}

/** The guest's half, over a host that has been looked at already. */
export async function observeGuest(
  machines: Machines,
  bindings: Bindings,
  host: Snapshot,
): Promise<Observation> {
  const info = infoIn(host);
  const facts = factsOf(bindings, "guest");
  const unseen = (guestState: GuestState): Observation => ({ host, info, guest: undefined, guestState });
  if (facts.size === 0) return unseen({ kind: "notAsked" });
  const reached = reach(machines, host, info);
  if (!reached) return unseen({ kind: "off" });
  if ("code" in reached) return unseen({ kind: "unreachable", problem: reached });
  try {
    return { host, info, guest: await look({ machine: reached, facts }), guestState: { kind: "seen" } };
  } catch (error) {
    const problem = error instanceof ShareError ? error.problems[0] : undefined;
    // A guest that reboots while it is looked at is one that is not reachable now.
    const lost = problem?.layer === "guest" && problem.code === "connectionLost";
    if (!problem || !(lost || outOfReach.has(problem.code))) throw error;
    return unseen({ kind: "unreachable", problem });
  }
}

/** With these the guest is as good as not there. */
const outOfReach: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  "guestUnreachable",
  "guestFrozen",
  "guestAgentRefusesExec",
  "guestIsAnother",
  "guestUnidentified",
]);

function infoIn(host: Snapshot): DomainInfo | undefined {
  const [info, live] = [valueIn(host, domainInfo), valueIn(host, liveDomain)];
  return info && live ? { ...info, systemUuid: live.systemUuid } : info;
}

/** Whether the running QEMU has a directory. */
export function isLive(host: Snapshot, source: string): boolean {
  return valueIn(host, liveDomain)?.devices9p.some((device) => device.source === source) === true;
}

/** Every fact of the host that a share needs, its domain's and libvirt's included. */
export function hostFacts(bindings: Bindings) {
  const { job, ...others } = powerFacts;
  // What else libvirt does with the domain counts only for who may restart it.
  const mayRestart = [...bindings.ensure, ...bindings.release].some(
    ({ spec: { power } }) => power === "restart" || power === "force",
  );
  return factsOf(bindings, "host", [libvirt, ...Object.values(others), ...(mayRestart ? [job] : [])]);
}

/** The guest; why it cannot be reached; undefined: it is off. */
function reach(
  machines: Machines,
  host: Snapshot,
  info: DomainInfo | undefined,
): Machine | Problem | undefined {
  const live = valueIn(host, liveDomain);
  if (!info || !live) return undefined;
  const machine = machines.guest(info);
  const unreachable = (...refusal: Parameters<typeof refuse>): Problem =>
    problemOn(machine, refuse(...refusal)[0]);
  if (info.state !== "running")
    return unreachable("guestUnreachable", `${info.name} is ${info.state}`, "resume it");
  if (machines.guestBy === "ssh") return machine;
  if (live.agentChannel === "absent") {
    return unreachable(
      "guestAgentMissing",
      `${info.name} has no channel for the QEMU guest agent`,
      "add <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel> to the domain, and install qemu-guest-agent in the guest",
    );
  }
  if (live.agentChannel === "disconnected") {
    return unreachable(
      "guestUnreachable",
      "the QEMU guest agent is not connected",
      "see that the guest is up and that qemu-guest-agent is installed and running in it",
    );
  }
  return machine;
}
