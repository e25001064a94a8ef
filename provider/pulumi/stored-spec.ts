import * as v from "valibot";
import { type Problem, ShareError } from "../errors";
import { share } from "../spec/schema";
import { type Failure, type ShareSpec, unwrapped, withDependentDefaults } from "../spec/spec";
import { stateDelete } from "./recovery-hints";

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
  if (failures.length === 0) return withDependentDefaults(spec);
  const machine = "Pulumi's state";
  throw argumentsError(failures, { code: "stateUnreadable", machine, remedy: stateDelete(urn) });
}

/** The error of arguments that cannot be, and of whoever has them. */
export function argumentsError(
  failures: readonly Failure[],
  problem: Pick<Problem, "code" | "machine" | "remedy">,
): ShareError {
  const problemOf = ({ property, reason }: Failure): Problem => ({
    ...problem,
    layer: "arguments",
    what: `${property} ${reason}`,
  });
  const [first = { property: "an argument", reason: "is not known yet" }, ...rest] = failures;
  return new ShareError([problemOf(first), ...rest.map(problemOf)]);
}

interface Node {
  readonly type: string;
  readonly entries?: Readonly<Record<string, v.GenericSchema>>;
  readonly item?: v.GenericSchema;
}

function taken(schema: v.GenericSchema, stored: unknown, path: string, failures: Failure[]): unknown {
  const { type, entries, item } = unwrapped(schema) as Node;
  const value = stored === null || stored === "" ? undefined : stored;
  const fail = (reason: string): void => {
    failures.push({ property: path === "" ? "the state" : path, reason });
  };
  if (entries && value !== undefined) {
    if (typeof value !== "object" || Array.isArray(value)) {
      fail("must be an object");
      return undefined;
    }
    const valueOf = (key: string): unknown => (value as Record<string, unknown>)[key];
    const at = (key: string): string => (path === "" ? key : `${path}.${key}`);
    return Object.fromEntries(
      Object.entries(entries).map(([key, inner]) => [key, taken(inner, valueOf(key), at(key), failures)]),
    );
  }
  if (item && Array.isArray(value))
    return value.flatMap((one: unknown) => taken(v.optional(item), one, path, failures) ?? []);
  const parsed = v.safeParse(schema, value);
  if (parsed.success) return parsed.output;
  // A text, one of several texts, or a text or a number.
  const isText = typeof value === "string" && ["string", "picklist", "union"].includes(type);
  const isPath = path === "source" || path === "guest.mountPoint";
  if (isText && (!isPath || value.startsWith("/"))) return value;
  const usual = v.safeParse(schema, undefined);
  if (!usual.success) fail("is not there in a form that can be used");
  return usual.success ? usual.output : undefined;
}
