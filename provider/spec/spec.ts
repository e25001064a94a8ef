import * as v from "valibot";
import { formatFstabEntry, type FstabEntry, maxFstabLineBytes } from "../formats/fstab";
import { nearest } from "../formats/nearest";
import { formatMountOptions } from "../drivers/ninep/mount-options";
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

/** What {@link parseSpec} found. */
export interface Parsed {
  /** Everything that is wrong: misspelt names, values that cannot be, and values that cannot be together. */
  readonly failures: readonly Failure[];
  /** Undefined where something is wrong or not known yet. */
  readonly spec: ShareSpec | undefined;
}

/** What the Node SDK sends for a value that is not known yet (@pulumi/pulumi 3.259, runtime/rpc.ts unknownValue). */
export const unknownValue = "04da6b54-80e4-46f7-96ec-b56ff0331ba9";

/** What stands in for arguments that are wrong or missing, so that the others can be held against each other. */
const placeholders = { source: "/placeholder/source", domain: "placeholder", tag: "placeholder" };

/**
 * Arguments to spec, with everything that is wrong said at once, each under its own property.
 *
 * Pure, and never throws, whatever the arguments are. A value that is not known yet ({@link unknownValue}) fails
 * nothing.
 */
export function parseSpec(args: unknown): Parsed {
  const unknowns = new Set<string>();
  const shape: Failure[] = [];
  const known = knownPart(share, args, [], { unknowns, failures: shape });
  if (known === undefined) return { failures: shape, spec: undefined };
  const parsed = v.safeParse(share, known);
  const issues = parsed.issues ?? [];
  const values = issues.map(toFailure).filter(({ property }) => !unknowns.has(property));
  const sound = v.safeParse(share, { ...placeholders, ...without(known, issues) });
  const together = sound.success ? contradictions(withDependentDefaults(sound.output), unknowns) : [];
  const failures = [...shape, ...values, ...together];
  const isWhole = parsed.success && failures.length === 0 && unknowns.size === 0;
  return { failures, spec: isWhole ? withDependentDefaults(parsed.output) : undefined };
}

type Plain = Record<string, unknown>;

/**
 * A copy of a value as far as the schema goes, and so no deeper, however deep the value is. Undefined: none, or one that
 * is not known yet, or no object where one belongs.
 *
 * Valibot ends at the first unknown name of an object, takes a list or a date for an object, and reads what an object
 * inherits; so objects are looked at here.
 */
function knownPart(
  schema: unknown,
  value: unknown,
  path: readonly string[],
  found: { readonly unknowns: Set<string>; readonly failures: Failure[] },
): unknown {
  const property = path.join(".");
  if (value === unknownValue) {
    found.unknowns.add(property);
    return undefined;
  }
  const entries = entriesOf(schema);
  if (!entries) {
    for (const [index, item] of Array.isArray(value) ? value.entries() : [])
      if (item === unknownValue) found.unknowns.add(`${property}.${index}`);
    return value;
  }
  if (value === undefined) return undefined;
  if (!isPlainObject(value)) {
    found.failures.push({ property, reason: "must be an object" });
    return undefined;
  }
  const strange = Object.keys(value).filter((name) => !Object.hasOwn(entries, name));
  for (const failure of misspelt(strange.sort(), Object.keys(entries), path)) found.failures.push(failure);
  // In the schema's order: the engine hands keys over in any.
  const parts = Object.keys(entries)
    .filter((name) => Object.hasOwn(value, name) && value[name] !== undefined)
    .map((name) => [name, knownPart(entries[name], value[name], [...path, name], found)] as const);
  return Object.fromEntries(parts.filter(([, part]) => part !== undefined));
}

function isPlainObject(value: unknown): value is Plain {
  return Object.prototype.toString.call(value) === "[object Object]" && typeof value === "object";
}

/** Dotted paths of all arguments: `guest.mountPoint`. */
const paths = pathsIn(share, "");

function pathsIn(schema: unknown, prefix: string): string[] {
  return Object.entries(entriesOf(schema) ?? {}).flatMap(([name, inner]) => [
    prefix + name,
    ...pathsIn(inner, `${prefix}${name}.`),
  ]);
}

/** Names of one object for which near ones are looked for: what comes in thousands is not misspelt. */
const mostHints = 100;

/** Names of one object that are none of an argument's: each with what it may mean, and once with all that there are. */
function misspelt(names: readonly string[], known: readonly string[], path: readonly string[]): Failure[] {
  const hints = names.map((name, index) => (index < mostHints ? meantBy(name, known) : undefined));
  const first = hints.indexOf("");
  return names.map((name, index) => ({
    property: [...path, name].join("."),
    reason: `is not an argument${index === first ? ` (there are: ${known.join(", ")})` : (hints[index] ?? "")}`,
  }));
}

/** The same name elsewhere, one that is near, or one that is near elsewhere; of too many places none is said. */
function meantBy(name: string, known: readonly string[]): string {
  const nameIn = (path: string): string => path.slice(path.lastIndexOf(".") + 1);
  const at = (other: string | undefined): string[] => paths.filter((path) => nameIn(path) === other);
  const near = [nearest(name, known)].filter((one) => one !== undefined);
  const [meant = []] = [at(name), near, at(nearest(name, paths.map(nameIn)))].filter(
    ({ length }) => length > 0,
  );
  return meant.length > 0 && meant.length <= 3 ? `: did you mean ${meant.join(" or ")}?` : "";
}

/** The arguments without the values that have an issue; a list goes as a whole. */
function without(known: unknown, issues: readonly v.BaseIssue<unknown>[]): Plain {
  const remove = (value: unknown, [key, ...rest]: readonly unknown[]): unknown => {
    if (!isPlainObject(value) || typeof key !== "string") return undefined;
    const { [key]: inner, ...others } = value;
    const left = rest.length > 0 ? remove(inner, rest) : undefined;
    return left === undefined ? others : { ...others, [key]: left };
  };
  const keysOf = ({ path }: v.BaseIssue<unknown>): unknown[] => (path ?? []).map(({ key }) => key);
  return issues.map(keysOf).reduce(remove, known) as Plain;
}

/** Whether a value, or anything in it, is not known yet. */
export function hasUnknown(value: unknown): boolean {
  const seen = new Set<unknown>([value]);
  // A set is walked with what is added meanwhile: however deep the value is, and if it holds itself.
  for (const one of seen) {
    if (one === unknownValue) return true;
    if (typeof one === "object" && one !== null) for (const item of Object.values(one)) seen.add(item);
  }
  return false;
}

/** The same without keys that are undefined, which Pulumi's state cannot hold. */
export function withoutUndefined<T>(value: T): T;
export function withoutUndefined(value: unknown): unknown {
  if (Array.isArray(value)) return value.map((item: unknown) => withoutUndefined(item));
  if (typeof value !== "object" || value === null) return value;
  const parts = Object.entries(value).filter(([, item]) => item !== undefined);
  return Object.fromEntries(parts.map(([key, item]) => [key, withoutUndefined(item)]));
}

/** The line of the guest's fstab; undefined: the guest is left alone. */
export function fstabEntryOf({ guest, tag, readOnly }: ShareSpec): FstabEntry | undefined {
  if (!guest) return undefined;
  const options = formatMountOptions(guest.options, readOnly);
  return { source: tag, mountPoint: guest.mountPoint, type: "9p", options, dump: 0, pass: 0 };
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

/** What is wrong with an argument, if it is; `restsOn` is another that has to be known for that. */
type Rule = readonly [wrong: boolean, property: string, reason: string, restsOn?: string];

/** What each argument alone allows and two together do not, as far as what they rest on is known. */
function contradictions(spec: ShareSpec, unknowns: ReadonlySet<string>): Failure[] {
  const { directory, guest, selinux } = spec;
  const mapped = spec.accessMode === "mapped";
  const writable = mapped && !spec.readOnly;
  const ofRoot = (["owner", "group", "mode"] as const).filter((name) => guest?.[name] !== undefined);
  const entry = fstabEntryOf(spec);
  const bytes = entry ? Buffer.byteLength(formatFstabEntry(entry)) : 0;
  const rules: readonly Rule[] = [
    [spec.fileMode !== undefined && !mapped, "fileMode", "goes with accessMode mapped only"],
    [spec.directoryMode !== undefined && !mapped, "directoryMode", "goes with accessMode mapped only"],
    [
      directory.keepOwners === true && !mapped,
      "directory.keepOwners",
      "goes with accessMode mapped only: only there does the guest see owners that are kept in attributes",
    ],
    [
      directory.links === "map" && !(mapped && directory.recursive === true),
      "directory.links",
      "is map with accessMode mapped and directory.recursive true only",
      "directory.recursive",
    ],
    ...ofRoot.map((name): Rule => [!writable, `guest.${name}`, "needs accessMode mapped and readOnly false"]),
    [
      guest?.mount === "boot" && ofRoot.length > 0,
      "guest.mount",
      "must be now where guest.owner, guest.group or guest.mode are given: they are set through the mount",
    ],
    [
      bytes > maxFstabLineBytes,
      "guest.mountPoint",
      `makes a line in fstab of ${bytes} bytes, with the tag and guest.options: the boot reads no more than ${maxFstabLineBytes}`,
    ],
    [
      selinux.manage === "never" && (selinux.type !== undefined || selinux.newFiles !== "auto"),
      "selinux.manage",
      "must not be never where selinux.type or selinux.newFiles is given: labels are left alone then",
    ],
    [
      selinux.manage === "always" && spec.host.libvirtUri === "qemu:///session",
      "selinux.manage",
      "cannot be always with qemu:///session: rules and labels are root's",
    ],
  ];
  return rules
    .filter(([wrong, ...rest]) => wrong && !rest.some((path) => path !== undefined && unknowns.has(path)))
    .map(([, property, reason]) => ({ property, reason }));
}

function toFailure(issue: v.BaseIssue<unknown>): Failure {
  const property = (issue.path ?? []).map((item) => String(item.key)).join(".");
  return { property, reason: issue.type === "strict_object" ? "is required" : issue.message };
}

/** The schema of a value that may be left out. */
export function unwrapped(schema: unknown): unknown {
  return (schema as { wrapped?: unknown } | undefined)?.wrapped ?? schema;
}

/** Of the schema of an object those of its values; undefined: it is no object's. */
function entriesOf(schema: unknown): Readonly<Record<string, unknown>> | undefined {
  return (unwrapped(schema) as { entries?: Readonly<Record<string, unknown>> }).entries;
}

interface Address {
  readonly host?: unknown;
  readonly port?: unknown;
}

/** `host` of a share's arguments, in which values may be unknown. */
interface HostLike {
  readonly connection?: Address & { readonly user?: unknown; readonly proxy?: Address };
  readonly libvirtUri?: unknown;
}

function addressOf(at: Address | undefined): unknown[] {
  return at ? [String(at.host).toLowerCase(), at.port ?? 22] : [];
}

/** Who a KVM host is, and by which other machine it is reached: two bastions may each have a host of one address. */
export function hostOnItsWay(host: unknown): string {
  return JSON.stringify([
    hostIdentity(host),
    ...addressOf((host as HostLike | undefined)?.connection?.proxy),
  ]);
}

/**
 * Who a KVM host is, whatever the way there and the credentials: an address and a port, and whose libvirt.
 *
 * `qemu:///session` is the connecting user's own. Takes arguments too, where values may be unknown.
 */
export function hostIdentity(host: unknown): string {
  const { connection, libvirtUri = "qemu:///system" } = (host ?? {}) as HostLike;
  const user = libvirtUri === "qemu:///session" ? (connection?.user ?? "root") : "";
  return JSON.stringify([libvirtUri, user, ...addressOf(connection)]);
}
