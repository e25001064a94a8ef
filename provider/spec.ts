import { posix } from "node:path";
import { distance } from "fastest-levenshtein";
import * as v from "valibot";
import { formatOctalMode, parseOctalMode } from "./formats/octal-mode";
import {
  cacheModes,
  defaultMsizeBytes,
  extraOptionNames,
  maxMsizeBytes,
  minMsizeBytes,
  namedOptions,
} from "./mount-options";

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

// Lengths and characters.

/** Bytes of a tag: QEMU's MAX_TAG_LEN less the final NUL (hw/9pfs/9p.h, 7.2). libvirt does not check it. */
const maxTagBytes = 31;
/** Bytes of a path, less the final NUL (Linux PATH_MAX). */
const maxPathBytes = 4095;
/** Milliseconds that a time-out may be: a second to a day. */
const timeoutRange = [1000, 86_400_000] as const;

const controlCharacter = /\p{Cc}/u;

const text = v.pipe(
  v.string("must be a text"),
  v.nonEmpty("must not be empty"),
  v.check((value) => !controlCharacter.test(value), "must not contain control characters"),
);

const absolutePath = v.pipe(
  text,
  v.check((path) => path.startsWith("/"), "must be an absolute path"),
  v.check((path) => Buffer.byteLength(path) <= maxPathBytes, `must have at most ${maxPathBytes} bytes`),
  v.transform((path) =>
    posix
      .normalize(path)
      .replace(/^\/+/, "/")
      .replace(/(.)\/$/, "$1"),
  ),
);

/** Directories whose owner or content a share must never take over: the system's own, and the roots of many users' trees. */
const systemDirectories = [
  ..."/ /bin /boot /dev /etc /home /lib /lib32 /lib64 /libx32 /lost+found /media /mnt /opt /proc /root /run".split(
    " ",
  ),
  ..."/sbin /srv /sys /tmp /usr /usr/bin /usr/lib /usr/lib64 /usr/local /usr/sbin /usr/share /var /var/cache".split(
    " ",
  ),
  ..."/var/lib /var/lib/libvirt /var/lib/libvirt/images /var/lib/virtio9p /var/log /var/run /var/spool /var/tmp".split(
    " ",
  ),
];
/** Trees of which no part can be a share, on either side. */
const systemTrees = [
  "/bin",
  "/boot",
  "/dev",
  "/etc",
  "/lib",
  "/lib64",
  "/lib32",
  "/libx32",
  "/usr/lib32",
  "/usr/lib64",
  "/usr/libx32",
  "/proc",
  "/sbin",
  "/sys",
  "/usr/bin",
  "/usr/lib",
  "/usr/sbin",
];

const isSystem = (path: string): boolean =>
  systemDirectories.includes(path) || systemTrees.some((tree) => path.startsWith(`${tree}/`));

const source = v.pipe(
  absolutePath,
  v.check((path) => !isSystem(path), "is a directory of the system itself: share one that was made for it"),
);

const mountPoint = v.pipe(
  absolutePath,
  v.check(
    (path) => !isSystem(path),
    "is a directory of the system itself: mount on one of its own, such as /mnt/NAME",
  ),
);

const octal = (most: number) =>
  v.pipe(
    v.string('must be octal text, such as "0750"'),
    v.check(
      (value) => {
        const mode = parseOctalMode(value);
        return mode !== undefined && mode <= most;
      },
      `must be an octal mode, such as "0750", of at most ${formatOctalMode(most)}`,
    ),
    v.transform((value) => formatOctalMode(parseOctalMode(value) ?? 0)),
  );

/** A user or group: a name (useradd(8) 4.13, and the dots and `@` of directory services), or a number. */
const principal = v.pipe(
  v.union(
    [v.string(), v.pipe(v.number(), v.integer("must be a name or a whole number"))],
    "must be a name or a whole number",
  ),
  v.transform(String),
  v.check(
    (name) => /^(\d{1,10}|[A-Za-z_][A-Za-z0-9_.@\\-]{0,254}\$?)$/.test(name) && !(Number(name) >= 0xffffffff),
    "must be a name or a number",
  ),
  v.transform((name) => (/^\d+$/.test(name) ? String(Number(name)) : name)),
);

const flag = v.boolean("must be true or false");

const oneOf = <const T extends readonly [string, ...string[]]>(...names: T) =>
  v.picklist(names, (issue) => {
    const near = nearest(String(issue.input), names);
    return `must be one of ${names.join(", ")}${near === undefined ? "" : `: did you mean ${near}?`}`;
  });

const milliseconds = v.pipe(
  v.number("must be a number of milliseconds"),
  v.integer("must be a whole number of milliseconds"),
  v.minValue(timeoutRange[0], `must be at least ${timeoutRange[0]} ms`),
  v.maxValue(timeoutRange[1], `must be at most ${timeoutRange[1]} ms`),
);

/** An object of `@pulumi/command`'s ConnectionArgs; carried, not yet used. */
const connection = v.record(v.string(), v.unknown());

const extraOption = v.pipe(
  text,
  v.check((option) => !/[\s,]/.test(option), "must be one option, without spaces and commas"),
  v.rawCheck(({ dataset, addIssue }) => {
    if (!dataset.typed) return;
    const name = dataset.value.split("=", 1)[0] ?? "";
    const own = Object.hasOwn(namedOptions, name) ? namedOptions[name] : undefined;
    if (own !== undefined) addIssue({ message: `${name} has an argument of its own: ${own}` });
    else if (
      !(extraOptionNames as readonly string[]).includes(name) &&
      !/^(x-(?!systemd\.)|comment$)/.test(name)
    ) {
      const near = nearest(name, extraOptionNames);
      addIssue({
        message: `the kernel knows no option ${name}${near === undefined ? "" : `: did you mean ${near}?`}`,
      });
    }
  }),
);

const options = v.strictObject({
  msizeBytes: v.optional(
    v.pipe(
      v.number("must be a number of bytes"),
      v.integer("must be a whole number of bytes"),
      v.check(
        (bytes) => bytes === 0 || (bytes >= minMsizeBytes && bytes <= maxMsizeBytes),
        `must be 0 (the kernel's own) or ${minMsizeBytes} to ${maxMsizeBytes}, the most that virtio carries`,
      ),
    ),
    defaultMsizeBytes,
  ),
  cache: v.optional(oneOf(...cacheModes)),
  access: v.optional(
    v.pipe(
      v.string("must be a text"),
      v.check((value) => /^(user|any|client|\d+)$/.test(value), "must be user, any, client or a numeric uid"),
    ),
  ),
  context: v.optional(
    v.pipe(
      text,
      v.check((value) => /^[^\s"\\]+$/.test(value), "must be one SELinux context"),
    ),
  ),
  netdev: v.optional(flag, true),
  nofail: v.optional(flag, true),
  automount: v.optional(flag, false),
  noexec: v.optional(flag, false),
  nosuid: v.optional(flag, false),
  nodev: v.optional(flag, true),
  extra: v.optional(v.array(extraOption, "must be a list of options"), []),
});

const guest = v.strictObject({
  connection: v.optional(connection),
  mountPoint,
  options: v.optional(options, {}),
  mount: v.optional(oneOf("now", "boot"), "now"),
  owner: v.optional(principal),
  group: v.optional(principal),
  mode: v.optional(octal(0o7777)),
  selinuxBooleans: v.optional(v.array(text, "must be a list of booleans"), []),
});

const share = v.strictObject({
  source,
  domain: text,
  tag: v.pipe(
    text,
    v.check((tag) => !tag.includes(","), "must not contain a comma"),
    v.check((tag) => Buffer.byteLength(tag) <= maxTagBytes, `must have at most ${maxTagBytes} bytes`),
  ),
  accessMode: v.optional(oneOf("mapped", "passthrough", "squash"), "mapped"),
  readOnly: v.optional(flag, false),
  multidevs: v.optional(oneOf("default", "remap", "forbid", "warn"), "default"),
  fileMode: v.optional(octal(0o777)),
  directoryMode: v.optional(octal(0o777)),
  model: v.optional(oneOf("virtio", "virtio-transitional", "virtio-non-transitional"), "virtio"),
  otherWriters: v.optional(oneOf("refuse", "allow"), "refuse"),
  host: v.optional(
    v.strictObject({
      connection: v.optional(connection),
      libvirtUri: v.optional(oneOf("qemu:///system", "qemu:///session"), "qemu:///system"),
      escalate: v.optional(oneOf("auto", "sudo", "none"), "auto"),
    }),
    {},
  ),
  directory: v.optional(
    v.strictObject({
      create: v.optional(flag, true),
      owner: v.optional(principal),
      group: v.optional(principal),
      mode: v.optional(octal(0o7777)),
      recursive: v.optional(flag),
      keepOwners: v.optional(flag),
      onDelete: v.optional(oneOf("restore", "leave"), "restore"),
    }),
    {},
  ),
  selinux: v.optional(
    v.strictObject({
      manage: v.optional(oneOf("auto", "always", "never"), "auto"),
      type: v.optional(text),
      newFiles: v.optional(oneOf("auto", "inherit", "ignore"), "auto"),
    }),
    {},
  ),
  guest: v.optional(guest),
  power: v.optional(oneOf("never", "start", "restart", "force"), "never"),
  timeouts: v.optional(
    v.strictObject({
      commandMs: v.optional(milliseconds, 120_000),
      shutdownMs: v.optional(milliseconds, 120_000),
      bootMs: v.optional(milliseconds, 300_000),
    }),
    {},
  ),
});

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

/** The known name nearest to a misspelt one, if any is near: at most two letters, or a third of it, away. */
export function nearest(name: string, known: readonly string[]): string | undefined {
  const best = known
    .map((candidate) => ({ candidate, away: distance(name.toLowerCase(), candidate.toLowerCase()) }))
    .sort((a, b) => a.away - b.away)[0];
  return best && best.away <= Math.max(2, Math.floor(name.length / 3)) ? best.candidate : undefined;
}

/** Owner and group are QEMU's where it is to write and the guest's own owners are kept in attributes. */
function withDependentDefaults(spec: ShareSpec): ShareSpec {
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
      spec.host.connection !== undefined,
      "host.connection",
      "SSH is not available in this release: run on the KVM host",
    ],
    [
      spec.guest?.connection !== undefined,
      "guest.connection",
      "SSH is not available in this release: leave it out to use the QEMU guest agent",
    ],
    [
      spec.selinux.manage === "always" || spec.selinux.type !== undefined || spec.selinux.newFiles !== "auto",
      "selinux",
      "labels are not managed in this release: label the directory by hand and set selinux.manage to never",
    ],
    [
      (spec.guest?.selinuxBooleans.length ?? 0) > 0,
      "guest.selinuxBooleans",
      "are not managed in this release: set them with setsebool -P in the guest",
    ],
    [
      spec.directory.recursive === true,
      "directory.recursive",
      "a tree with other owners cannot be taken over in this release: leave it out, or set false",
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

function unwrapped(schema: unknown): unknown {
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
