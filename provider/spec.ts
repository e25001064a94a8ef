import * as v from "valibot";
import { formatFstabEntry, maxFstabLineBytes } from "./formats/fstab";
import { nearest } from "./formats/nearest";
import { formatMountOptions } from "./mount-options";
import { share } from "./schema";

/**
 * The arguments of one share, checked once and total: every default filled in, every form canonical.
 *
 * Past this file nothing is `"770"`, relative or misspelt. It is also what Pulumi stores as inputs.
 */
export type ShareSpec = v.InferOutput<typeof share>;

/** An argument that cannot be, and why. `property` is a dotted path: `guest.options.cache`. */
export interface Failure {
  readonly property: string;
  readonly reason: string;
}

/** What {@link parseSpec} found: a spec, or everything that is wrong with it. */
export type Parsed =
  { readonly spec: ShareSpec; readonly failures?: never } | { readonly failures: readonly Failure[] };

/** What the Node SDK sends for a value that is not known yet (@pulumi/pulumi 3.259, runtime/rpc.ts unknownValue). */
export const unknownValue = "04da6b54-80e4-46f7-96ec-b56ff0331ba9";

/**
 * Arguments to spec, with everything that is wrong said at once, each under its own property.
 *
 * Pure. A value that is not known yet ({@link unknownValue}) fails nothing; then there may be no spec,
 * and no failure either: `canonical` of {@link checkArguments} has what is known.
 */
export function parseSpec(args: unknown): Parsed {
  const failures = failuresOf(args);
  if (failures.length > 0) return { failures };
  return { spec: withDependentDefaults(v.parse(share, args)) };
}

/**
 * The same for Pulumi's check, with values in it that are not known yet: they fail nothing, and where
 * there are any the arguments go back as they were given.
 */
export function checkArguments(args: Record<string, unknown>): {
  readonly canonical: Record<string, unknown>;
  readonly failures: readonly Failure[];
} {
  const unknowns = unknownPaths(args);
  const failures = failuresOf(args).filter(
    ({ property }) => !unknowns.some((path) => touches(path, property)),
  );
  if (failures.length > 0 || unknowns.length > 0) return { canonical: args, failures };
  const spec = withDependentDefaults(v.parse(share, args));
  return { canonical: withoutUndefined(spec) as Record<string, unknown>, failures };
}

/** What stands in for arguments that are wrong or missing, so that the others can be held against each other. */
const placeholders = { source: "/placeholder/source", domain: "placeholder", tag: "placeholder" };

/** Everything that is wrong: misspelt names, values that cannot be, and values that cannot be together. */
function failuresOf(args: unknown): Failure[] {
  const names = misspelt(share, args, []);
  const result = v.safeParse(share, args);
  const values = (result.issues ?? []).filter((issue) => !isUnknownName(issue)).map(toFailure);
  const wrong = [...names, ...values];
  const sound = wrong.reduce(withoutProperty, args);
  const rest = v.safeParse(share, typeof sound === "object" ? { ...placeholders, ...sound } : sound);
  return [...wrong, ...(rest.success ? contradictions(withDependentDefaults(rest.output)) : [])];
}

/** Valibot ends at the first unknown name of an object; these are all, in every object. */
function misspelt(schema: unknown, value: unknown, path: readonly string[]): Failure[] {
  const entries = (unwrapped(schema) as { entries?: Record<string, unknown> } | undefined)?.entries;
  if (!entries || typeof value !== "object" || value === null) return [];
  const known = Object.keys(entries);
  return Object.entries(value).flatMap(([key, item]) => {
    if (known.includes(key)) return misspelt(entries[key], item, [...path, key]);
    const near = nearest(key, known);
    const hint = near === undefined ? ` (there are: ${known.join(", ")})` : `: did you mean ${near}?`;
    return [{ property: [...path, key].join("."), reason: `is not an argument${hint}` }];
  });
}

/** A copy of the arguments without one property, by dotted path; a list goes as a whole. */
function withoutProperty(args: unknown, failure: Failure): unknown {
  const remove = (value: unknown, [key, ...rest]: readonly string[]): unknown => {
    if (typeof value !== "object" || value === null || Array.isArray(value) || key === undefined)
      return undefined;
    const inner = rest.length > 0 ? remove((value as Record<string, unknown>)[key], rest) : undefined;
    const others = Object.entries(value).filter(([name]) => name !== key);
    return Object.fromEntries(inner === undefined ? others : [...others, [key, inner]]);
  };
  return remove(args, failure.property.split("."));
}

/** Whether a value, or anything in it, is not known yet. */
export function hasUnknown(value: unknown): boolean {
  return unknownPaths(value).length > 0;
}

/** The same without keys that are undefined, which Pulumi's state cannot hold. */
export function withoutUndefined(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutUndefined);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, item]) => item !== undefined)
      .map(([key, item]) => [key, withoutUndefined(item)]),
  );
}

/** The line of fstab; empty where the guest is left alone. */
function lineOf({ guest, tag, readOnly }: ShareSpec): string {
  if (!guest) return "";
  const options = formatMountOptions(guest.options, readOnly);
  return formatFstabEntry({
    source: tag,
    mountPoint: guest.mountPoint,
    type: "9p",
    options,
    dump: 0,
    pass: 0,
  });
}

/** Owner and group are QEMU's where it is to write and the guest's own owners are kept in attributes. */
export function withDependentDefaults(spec: ShareSpec): ShareSpec {
  const takesOver = spec.accessMode === "mapped" && !spec.readOnly;
  const owner = spec.directory.owner ?? (takesOver ? "qemu" : undefined);
  const group = spec.directory.group ?? (takesOver ? "qemu" : undefined);
  const managed = owner !== undefined || group !== undefined;
  return {
    ...spec,
    directory: {
      ...spec.directory,
      owner,
      group,
      keepOwners: spec.directory.keepOwners ?? (spec.accessMode === "mapped" && managed),
    },
  };
}

/** What each argument alone allows and two together do not, and what this release cannot do yet. */
function contradictions(spec: ShareSpec): Failure[] {
  const mapped = spec.accessMode === "mapped";
  const writable = mapped && !spec.readOnly;
  const rules: readonly [boolean, string, string][] = [
    [spec.fileMode !== undefined && !mapped, "fileMode", "goes with accessMode mapped only"],
    [spec.directoryMode !== undefined && !mapped, "directoryMode", "goes with accessMode mapped only"],
    [
      spec.directory.keepOwners === true && !mapped,
      "directory.keepOwners",
      "goes with accessMode mapped only: only there does the guest see owners that are kept in attributes",
    ],
    [
      spec.directory.links === "map" && !(mapped && spec.directory.recursive === true),
      "directory.links",
      "is map with accessMode mapped and directory.recursive true only",
    ],
    [
      spec.guest?.owner !== undefined && !writable,
      "guest.owner",
      "needs accessMode mapped and readOnly false",
    ],
    [
      spec.guest?.group !== undefined && !writable,
      "guest.group",
      "needs accessMode mapped and readOnly false",
    ],
    [spec.guest?.mode !== undefined && !writable, "guest.mode", "needs accessMode mapped and readOnly false"],
    [
      spec.guest?.mount === "boot" && (spec.guest.owner ?? spec.guest.group ?? spec.guest.mode) !== undefined,
      "guest.mount",
      "must be now where guest.owner, guest.group or guest.mode are given: they are set through the mount",
    ],
    [
      Buffer.byteLength(lineOf(spec)) > maxFstabLineBytes,
      "guest.mountPoint",
      `makes a line in fstab of ${Buffer.byteLength(lineOf(spec))} bytes, with the tag and guest.options: the boot reads no more than ${maxFstabLineBytes}`,
    ],
    [
      spec.guest?.throughHost === true && spec.guest.connection === undefined,
      "guest.connection",
      "must be given where guest.throughHost is true: without one the guest is reached through its agent",
    ],
    [
      spec.selinux.manage === "never" &&
        (spec.selinux.type !== undefined || spec.selinux.newFiles !== "auto"),
      "selinux.manage",
      "must not be never where selinux.type or selinux.newFiles is given: labels are left alone then",
    ],
    [
      spec.selinux.manage === "always" && spec.host.libvirtUri === "qemu:///session",
      "selinux.manage",
      "cannot be always with qemu:///session: rules and labels are root's",
    ],
  ];
  return rules.filter(([wrong]) => wrong).map(([, property, reason]) => ({ property, reason }));
}

function isUnknownName(issue: v.BaseIssue<unknown>): boolean {
  return issue.type === "strict_object" && issue.expected === "never";
}

function toFailure(issue: v.BaseIssue<unknown>): Failure {
  const property = (issue.path ?? []).map((item) => String(item.key)).join(".");
  if (issue.type !== "strict_object") return { property, reason: issue.message };
  return { property, reason: issue.expected === "Object" ? "must be an object" : "is required" };
}

/** The schema of a value that may be left out. */
export function unwrapped(schema: unknown): unknown {
  return (schema as { wrapped?: unknown } | undefined)?.wrapped ?? schema;
}

function unknownPaths(value: unknown, path = ""): string[] {
  if (value === unknownValue) return [path];
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([key, item]) =>
    unknownPaths(item, path === "" ? key : `${path}.${key}`),
  );
}

function touches(a: string, b: string): boolean {
  return a === b || a.startsWith(`${b}.`) || b.startsWith(`${a}.`);
}

/** Who a KVM host is, and by which other machine it is reached: two bastions may each have a host of one address. */
export function hostOnItsWay(host: unknown): string {
  const { connection } = (host ?? {}) as { readonly connection?: { readonly proxy?: unknown } };
  const proxy = connection?.proxy as { readonly host?: unknown; readonly port?: unknown } | undefined;
  const through = proxy ? [String(proxy.host).toLowerCase(), proxy.port ?? 22] : [];
  return JSON.stringify([hostIdentity(host), ...through]);
}

/**
 * Who a KVM host is, whatever the way there and the credentials: an address and a port, and whose libvirt.
 *
 * `qemu:///session` is the connecting user's own. Takes arguments too, where values may be unknown.
 */
export function hostIdentity(host: unknown): string {
  const { connection, libvirtUri = "qemu:///system" } = (host ?? {}) as {
    readonly connection?: { readonly host?: unknown; readonly port?: unknown; readonly user?: unknown };
    readonly libvirtUri?: unknown;
  };
  const at = connection
    ? [
        String(connection.host).toLowerCase(),
        connection.port ?? 22,
        libvirtUri === "qemu:///session" ? (connection.user ?? "root") : "",
      ]
    : [];
  return JSON.stringify([libvirtUri, ...at]);
}
