import * as v from "valibot";
import { ShareError } from "./errors";
import { share } from "./schema";
import { type Failure, type ShareSpec, unwrapped, withDependentDefaults } from "./spec";
import { stateDelete } from "./way-out";

/**
 * The arguments of a share as the state has them, whichever release wrote them.
 *
 * What this release would refuse must not keep a share from being refreshed and destroyed: an unknown argument is
 * ignored, a text that is refused today is taken as it is, and any other value that cannot be is its default. Only who
 * the share is (`source`, `domain`, `tag`, `guest.mountPoint`, and the objects that they are in) must be there.
 * Throws `stateUnreadable`.
 */
export function storedSpec(args: Readonly<Record<string, unknown>>, urn?: string): ShareSpec {
  const failures: Failure[] = [];
  const spec = taken(share, args, "", failures) as ShareSpec;
  const [first, ...rest] = failures.map(({ property, reason }) => ({
    code: "stateUnreadable" as const,
    layer: "arguments",
    machine: "Pulumi's state",
    what: `${property === "" ? "the state" : property} ${reason}`,
    remedy: stateDelete(urn),
  }));
  if (first) throw new ShareError([first, ...rest]);
  return withDependentDefaults(spec);
}

interface Node {
  readonly type: string;
  readonly entries?: Readonly<Record<string, v.GenericSchema>>;
  readonly item?: v.GenericSchema;
}

function taken(schema: v.GenericSchema, value: unknown, path: string, failures: Failure[]): unknown {
  const node = unwrapped(schema) as Node;
  if (value === undefined || value === null || value === "") return orDefault(schema, path, failures);
  if (node.entries) {
    if (typeof value !== "object" || Array.isArray(value)) {
      failures.push({ property: path, reason: "must be an object" });
      return undefined;
    }
    return Object.fromEntries(
      Object.entries(node.entries).map(([key, inner]) => {
        const at = path === "" ? key : `${path}.${key}`;
        return [key, taken(inner, (value as Record<string, unknown>)[key], at, failures)];
      }),
    );
  }
  const { item } = node;
  if (item && Array.isArray(value))
    return value.flatMap((one: unknown) => taken(v.optional(item), one, path, failures) ?? []);
  const parsed = v.safeParse(schema, value);
  if (parsed.success) return parsed.output;
  if (typeof value !== "string" || !isText(node)) return orDefault(schema, path, failures);
  const isPath = path === "source" || path === "guest.mountPoint";
  return isPath && !value.startsWith("/") ? orDefault(schema, path, failures) : value;
}

/** A text, one of several texts, or a text or a number. */
function isText({ type }: Node): boolean {
  return ["string", "picklist", "union"].includes(type);
}

function orDefault(schema: v.GenericSchema, path: string, failures: Failure[]): unknown {
  const parsed = v.safeParse(schema, undefined);
  if (parsed.success) return parsed.output;
  failures.push({ property: path, reason: "is not there in a form that can be used" });
  return undefined;
}
