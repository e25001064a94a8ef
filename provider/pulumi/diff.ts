import { needsUpdate } from "../share/status";
import { hasUnknown, hostIdentity, type ShareSpec } from "../spec/spec";
import { argumentsIn, canonicalText, type Properties } from "./state";
import { current } from "./state-migrations";

/** What lies between the state and the program. No I/O; unknown values count as changed. */
export interface Difference {
  /**
   * Undefined: an argument differs, and nothing else is to do. Then the engine compares the inputs of the state and of the
   * program itself, and knows the paths that differ, for `replaceOnChanges` and for what it shows; it takes none from a
   * dynamic provider (pulumi/pkg 3.259, resource/deploy/step_generator.go, diffResource).
   */
  readonly changes: boolean | undefined;
  readonly replaces: readonly string[];
  readonly deleteBeforeReplace: boolean;
}

export function diff(stored: Properties, news: Properties): Difference {
  const outputs = current(stored);
  const args = argumentsIn(news);
  const isSameDomain = sameDomain(outputs, args);
  const isSameHost = hostIdentity(outputs["host"]) === hostIdentity(args["host"]);
  // Another domain or another libvirt is another share; a value that is not known yet never replaces.
  const replaces = [...(isSameDomain ? [] : ["domain"]), ...(isSameHost ? [] : ["host"])].filter(
    (name) => !hasUnknown(args[name]),
  );
  const declared = { ...argumentsIn(outputs), ...(isSameDomain && { domain: args["domain"] }) };
  const differs = canonicalText(declared) !== canonicalText(args);
  // A state that no call of ours has written yet (an import) has inputs that may be the program's already.
  const surely =
    replaces.length > 0 ||
    outputs["status"] === undefined ||
    hasWork(outputs, args["power"] as ShareSpec["power"]);
  return {
    changes: surely || (differs ? undefined : false),
    replaces,
    // A share that moves too: its new host may be the same machine under another name, or have the same storage,
    // and then what first contact finds there would be our own work.
    deleteBeforeReplace: true,
  };
}

/** Whether the state shows something that an update by the same arguments would do. */
export function hasWork(outputs: Properties, power: ShareSpec["power"]): boolean {
  const former = outputs["__former"];
  const leftOver = Array.isArray(former) && former.length > 0;
  return needsUpdate(outputs, power) || (leftOver && (power === "restart" || power === "force"));
}

function sameDomain(outputs: Properties, args: Properties): boolean {
  const wanted = String(args["domain"]);
  return (
    wanted === outputs["domain"] ||
    wanted === outputs["domainName"] ||
    wanted.toLowerCase() === outputs["domainUuid"]
  );
}

/**
 * Other time-outs, credentials, proxies: they only have to reach the state, and no machine is asked. Who the
 * host is stays the same, or it would be another share.
 */
export function onlyTheWayThereDiffers(olds: Properties, inputs: Properties): boolean {
  const withoutWay = (args: Properties): string =>
    canonicalText({
      ...args,
      timeouts: undefined,
      host: withoutTheWay(args["host"]),
      guest: withoutTheWay(args["guest"]),
    });
  const [then, now] = [argumentsIn(olds), argumentsIn(inputs)];
  return canonicalText(then) !== canonicalText(now) && withoutWay(then) === withoutWay(now);
}

/** Its address stays: another machine may answer there. */
function withoutTheWay(machine: unknown): unknown {
  if (typeof machine !== "object" || machine === null) return machine;
  const { connection, ...rest } = machine as Properties & { connection?: { host?: unknown; port?: unknown } };
  return {
    ...rest,
    verifyHostKey: undefined,
    connection: connection && [connection.host, connection.port],
  };
}
