import type { PowerPlan } from "../power/plan";
import { type Binding, type Bindings, recordIn } from "../engine/binding";
import { problemOn } from "../engine/requests";
import { refuse } from "../engine/layer";
import { type ErrorCode, type Problem, withRemedy } from "../errors";
import type { Call } from "../power/coordinator";
import type { Machines, Observation } from "./observe";
import type { Request } from "./plans";

/** What no plan can be made for, known before the first change. Pure. */

/** Two resources that are one share would each take down the other's. */
export function twins(machines: Machines, call: Call, { info }: Observation): Problem[] {
  const twin = call.twin();
  const { name = "", spec } = call.work;
  if (!twin || !spec) return [];
  const [claimed] = refuse(
    "shareClaimed",
    `the resources ${name} and ${twin.work.name ?? ""} are one share: ${spec.tag} of the domain ${info?.name ?? spec.domain}`,
    "take one of them out, or give it another tag",
  );
  return [problemOn(machines.host, claimed, "device")];
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
  if (guestState.kind === "unreachable") {
    const { problem } = guestState;
    const mustUnmount = bindings.release.some(({ layer }) => layer.beforeHost);
    return neverReached.has(problem.code) || mustUnmount
      ? { problems: [forFormer(problem, request, machines)], warnings: [] }
      : { problems: [], warnings: [`${problem.what}: the guest is left as it is until the next up`] };
  }
  const isLeft = (one: Binding): boolean =>
    recordIn(one, host) !== undefined || (request.baseline[one.name] ?? null) !== null;
  const stranded =
    guestState.kind === "off" &&
    request.guestGoes === true &&
    power.kind !== "start" &&
    bindings.release.some((one) => one.layer.place === "guest" && isLeft(one));
  return { problems: stranded && info ? [noWayBack(machines, info)] : [], warnings: [] };
}

/** A guest that is off keeps what it has until it runs again; without its connection there is then no way there. */
function noWayBack({ guest }: Machines, info: { readonly uuid: string; readonly name: string }): Problem {
  const [unreachable] = refuse(
    "guestUnreachable",
    `${info.name} is off, and what the share has in it can only be taken out over its connection, which goes from the program with guest`,
    `start ${info.name} first, or leave guest in until it runs`,
  );
  return problemOn(guest(info), unreachable);
}

/** Of a guest that is declared no more the state has no connection either: an update that failed may have lost it. */
function forFormer(problem: Problem, { spec, olds }: Request, { guestBy }: Machines): Problem {
  const declared = (spec ?? olds[0])?.guest !== undefined;
  if (declared || guestBy === "ssh") return problem;
  return withRemedy(
    problem,
    "if the share reached it over SSH before, put guest with its connection back into the program, run pulumi up, and take it out then",
  );
}
