import type { PowerPlan } from "../concerns/domain-power";
import { type Bindings, recordIn } from "../engine/binding";
import type { ErrorCode, Problem } from "../errors";
import type { Call } from "./calls";
import type { Machines, Observation } from "./observe";
import type { Request } from "./plans";

/** What no plan can be made for, known before the first change. Pure. */

/** Two resources that are one share would each take down the other's. */
export function twins(machines: Machines, call: Call, { info }: Observation): Problem[] {
  const twin = call.twin();
  const { name = "", spec } = call.work;
  if (!twin || !spec) return [];
  return [
    {
      code: "shareClaimed",
      layer: "device",
      machine: machines.host.transport.machine,
      what: `the resources ${name} and ${twin.work.name ?? ""} are one share: ${spec.tag} of the domain ${info?.name ?? spec.domain}`,
      remedy: "take one of them out, or give it another tag",
    },
  ];
}

const neverReached: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  "guestAgentMissing",
  "guestAgentRefusesExec",
  "guestIsAnother",
  "guestUnidentified",
]);

/** A guest that can never be reached is an error; one that cannot be now is a status, unless it is to be unmounted. */
export function refusals(
  machines: Machines,
  request: Request,
  bindings: Bindings,
  { guestState, info, host }: Observation,
  power: PowerPlan,
): { readonly problems: readonly Problem[]; readonly warnings: readonly string[] } {
  const nothing = { problems: [], warnings: [] };
  if (guestState.kind === "off" && info && request.guestGoes === true && power.kind !== "start") {
    const left = bindings.release.some(
      (one) =>
        one.concern.place === "guest" &&
        (recordIn(one, host) !== undefined || (request.before[one.name] ?? null) !== null),
    );
    return left ? { ...nothing, problems: [noWayBack(machines, info)] } : nothing;
  }
  if (guestState.kind !== "unreachable") return nothing;
  const { problem } = guestState;
  const never = neverReached.has(problem.code);
  const mustUnmount = bindings.release.some((binding) => binding.concern.beforeHost);
  if (never || mustUnmount) return { ...nothing, problems: [forFormer(problem, request, machines)] };
  return { ...nothing, warnings: [`${problem.what}: the guest is left as it is until the next up`] };
}

/** A guest that is off keeps what it has until it runs again; without its connection there is then no way there. */
function noWayBack({ guest }: Machines, info: { readonly uuid: string; readonly name: string }): Problem {
  return {
    code: "guestUnreachable",
    layer: "guest",
    machine: guest(info).transport.machine,
    what: `${info.name} is off, and what the share has in it can only be taken out over its connection, which goes from the program with guest`,
    remedy: `start ${info.name} first, or leave guest in until it runs`,
  };
}

/** Of a guest that is declared no more the state has no connection either: an update that failed may have lost it. */
function forFormer(problem: Problem, { spec, olds }: Request, { guestBy }: Machines): Problem {
  const declared = (spec ?? olds[0])?.guest !== undefined;
  if (declared || guestBy === "ssh") return problem;
  const overSsh =
    "if the share reached it over SSH before, put guest with its connection back into the program, run pulumi up, and take it out then";
  return { ...problem, remedy: problem.remedy === undefined ? overSsh : `${problem.remedy}; ${overSsh}` };
}
