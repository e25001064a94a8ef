import { later, type Migration, migrated } from "../engine/migration";
import { ShareError } from "../errors";
import { type Properties, urnIn } from "./state";
import { stateDelete } from "./recovery-hints";

/**
 * From each form of the state to the next; a release that renames or re-forms an argument or an output adds one at the
 * end, and snapshots of what it writes (test/upgrade/README.md).
 */
const migrations: readonly Migration<Properties>[] = [
  // 0.1.0 wrote no version; nothing in it had another name or form in the first that did.
  (outputs) => outputs,
  withoutThroughHost,
  withoutTake,
];

/** Other file systems are taken over no more; what was is given back by what the host has of it. */
function withoutTake(outputs: Properties): Properties {
  const directory = outputs["directory"] as Properties | undefined;
  if (directory?.["otherFileSystems"] !== "take") return outputs;
  return { ...outputs, directory: { ...directory, otherFileSystems: "leave" } };
}

/** `guest.throughHost` is a `proxy` of the guest's connection, where that has none of its own. */
function withoutThroughHost(outputs: Properties): Properties {
  const { guest, host } = outputs as { readonly guest?: Properties; readonly host?: Properties };
  if (guest === undefined || !("throughHost" in guest)) return outputs;
  const { throughHost, ...rest } = guest;
  const [through, connection] = [host?.["connection"], rest["connection"]];
  if (throughHost !== true || !through || !connection) return { ...outputs, guest: rest };
  const proxy = Object.fromEntries(Object.entries(through).filter(([key]) => key !== "proxy"));
  return { ...outputs, guest: { ...rest, connection: { proxy, ...connection } } };
}

/** The outputs of the state in the form of this release, with its `__version`. Throws `laterRelease`. */
export function current(outputs: Properties, chain = migrations): Properties {
  const version = outputs["__version"];
  const found = migrated(outputs, typeof version === "number" ? version : 0, chain);
  if (found !== later) return { ...found, __version: chain.length };
  throw new ShareError({
    code: "laterRelease",
    layer: "arguments",
    machine: "Pulumi's state",
    what: `a later release of pulumi-virtio9p wrote the state of this share (form ${String(version)}; this release knows ${chain.length})`,
    remedy: `install that release or a later one; ${stateDelete(urnIn(outputs))}`,
  });
}

/** The form that this release writes. */
export const stateVersion = migrations.length;
