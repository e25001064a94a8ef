import { posix } from "node:path";
import * as v from "valibot";
import { parseHostKey } from "../formats/known-hosts";
import { hint } from "../formats/nearest";
import { formatOctalMode, parseOctalMode } from "../formats/octal-mode";
import { isSystemPath } from "../formats/system-path";
import {
  cacheModes,
  defaultMsizeBytes,
  extraOptionNames,
  hasPairedQuotes,
  isAccess,
  isContext,
  isExtraName,
  isMsizeBytes,
  maxMsizeBytes,
  minMsizeBytes,
  nameOf,
  namedOptions,
  notATagForFstab,
} from "../drivers/ninep/mount-options";

/** What each argument alone may be, its default, and its canonical form. What two may be together: spec.ts. */

// Lengths and characters.

/** Bytes of a tag: QEMU's MAX_TAG_LEN less the final NUL (hw/9pfs/9p.h, 7.2). libvirt does not check it. */
const maxTagBytes = 31;
/** Bytes of a path, less the final NUL (Linux PATH_MAX). */
const maxPathBytes = 4095;
/** Milliseconds that a time-out may be: a second to a day. */
const timeoutRange = [1000, 86_400_000] as const;

const controlCharacter = /\p{Cc}/u;
/**
 * Besides them, what XML cannot hold (XML 1.0, 5th edition, 2.2 "Char"): halves of a character, of which UTF-8 has no
 * form either, and two code points that are none.
 */
const noXmlCharacter = /[\p{Cs}\uFFFE\uFFFF]/u;

/** What goes into XML, fstab, a script or a path. */
const text = v.pipe(
  v.string("must be a text"),
  v.nonEmpty("must not be empty"),
  v.check((value) => !controlCharacter.test(value), "must not contain control characters"),
  v.check(
    (value) => !noXmlCharacter.test(value),
    "must not contain what is no character: U+FFFE, U+FFFF, half of a surrogate pair",
  ),
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

const pathOfOwn = (advice: string) =>
  v.pipe(
    absolutePath,
    v.check((path) => !isSystemPath(path), `is a directory of the system itself: ${advice}`),
  );

const octal = (most: number) =>
  v.pipe(
    v.string('must be octal text, such as "0750"'),
    v.check(
      (value) => (parseOctalMode(value) ?? Infinity) <= most,
      `must be an octal mode, such as "0750", of at most ${formatOctalMode(most)}`,
    ),
    v.transform((value) => formatOctalMode(parseOctalMode(value) ?? 0)),
  );

/** Of what a guest makes; libvirt drops a mode of zero, without a word (measured, 9.0). */
const modeOfNew = v.pipe(
  octal(0o777),
  v.check((mode) => parseOctalMode(mode) !== 0, "must not be zero, which libvirt leaves out"),
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
  v.picklist(names, ({ input }) => {
    const near = typeof input === "string" ? hint(input, names) : "";
    return `must be one of ${names.join(", ")}${near}`;
  });

const wholeNumber = (of: string) =>
  v.pipe(v.number(`must be a number of ${of}`), v.integer(`must be a whole number of ${of}`));

/** A text of which `fault` says what is wrong with it, if anything. */
const faultless = (fault: (value: string) => string | undefined) =>
  v.check<string, (issue: v.CheckIssue<string>) => string>(
    (value) => fault(value) === undefined,
    ({ input }) => fault(input) ?? "",
  );

const milliseconds = v.pipe(
  wholeNumber("milliseconds"),
  v.minValue(timeoutRange[0], `must be at least ${timeoutRange[0]} ms`),
  v.maxValue(timeoutRange[1], `must be at most ${timeoutRange[1]} ms`),
);

/** Empty is as good as absent: what a configuration does not have often comes so. */
const given = v.pipe(
  v.string("must be a text"),
  v.transform((value) => (value === "" ? undefined : value)),
);

const givenAs = (isRight: (value: string) => boolean, message: string) =>
  v.optional(
    v.pipe(
      given,
      v.check((value) => value === undefined || isRight(value), message),
    ),
  );

const seconds = v.pipe(
  wholeNumber("seconds"),
  v.check((value) => value >= 0 && value <= 86_400, "must be 0 (no limit) to 86400 s"),
);

/** One machine of `@pulumi/command`'s ConnectionArgs (1.2), with its defaults. */
const login = {
  host: text,
  user: v.optional(text, "root"),
  port: v.optional(
    v.pipe(
      v.number("must be a port"),
      v.integer("must be a port"),
      v.check((port) => port >= 1 && port <= 65_535, "must be a port, 1 to 65535"),
    ),
    22,
  ),
  password: v.optional(given),
  privateKey: v.optional(given),
  privateKeyPassword: v.optional(given),
  agentSocketPath: givenAs((path) => !controlCharacter.test(path), "must not contain control characters"),
  hostKey: givenAs(
    (value) => parseHostKey(value) !== undefined,
    'must be a public key as authorized_keys has it: "ssh-ed25519 AAAAC3..."',
  ),
  dialErrorLimit: v.optional(wholeNumber("attempts"), 10),
  perDialTimeout: v.optional(seconds, 15),
};

/** An object of `@pulumi/command`'s ConnectionArgs, as it is. */
const connection = v.strictObject({ ...login, proxy: v.optional(v.strictObject(login)) });

const extraOption = v.pipe(
  text,
  v.check((option) => !/[\s,]/.test(option), "must be one option, without spaces and commas"),
  v.check(hasPairedQuotes, "must have each double quote closed: what follows would be taken into it"),
  faultless((option) => {
    const name = nameOf(option);
    const own = namedOptions.get(name);
    if (own !== undefined) return `${name} has an argument of its own: ${own}`;
    return isExtraName(name)
      ? undefined
      : `the kernel knows no option ${name}${hint(name, extraOptionNames)}`;
  }),
);

const options = v.strictObject({
  msizeBytes: v.optional(
    v.pipe(
      wholeNumber("bytes"),
      v.check(
        isMsizeBytes,
        `must be 0 (the kernel's own) or ${minMsizeBytes} to ${maxMsizeBytes}, the most that virtio carries`,
      ),
    ),
    defaultMsizeBytes,
  ),
  cache: v.optional(oneOf(...cacheModes)),
  access: v.optional(
    v.pipe(v.string("must be a text"), v.check(isAccess, "must be user, any, client or a numeric uid")),
  ),
  context: v.optional(v.pipe(text, v.check(isContext, "must be one SELinux context"))),
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
  verifyHostKey: v.optional(flag, true),
  mountPoint: pathOfOwn("mount on one of its own, such as /mnt/NAME"),
  options: v.optional(options, {}),
  mount: v.optional(oneOf("now", "boot"), "now"),
  owner: v.optional(principal),
  group: v.optional(principal),
  mode: v.optional(octal(0o7777)),
  selinuxBooleans: v.optional(
    v.array(
      v.pipe(
        text,
        v.regex(/^[A-Za-z_][A-Za-z0-9_]*$/, "must be the name of a boolean, such as httpd_use_nfs"),
      ),
      "must be a list of booleans",
    ),
    [],
  ),
});

/** All arguments of a share. */
export const share = v.strictObject({
  source: pathOfOwn("share one that was made for it"),
  domain: text,
  tag: v.pipe(
    text,
    v.check((tag) => !tag.includes(","), "must not contain a comma"),
    v.check((tag) => Buffer.byteLength(tag) <= maxTagBytes, `must have at most ${maxTagBytes} bytes`),
    faultless(notATagForFstab),
  ),
  accessMode: v.optional(oneOf("mapped", "passthrough", "squash"), "mapped"),
  readOnly: v.optional(flag, false),
  multidevs: v.optional(oneOf("default", "remap", "forbid", "warn"), "default"),
  fileMode: v.optional(modeOfNew),
  directoryMode: v.optional(modeOfNew),
  model: v.optional(oneOf("virtio", "virtio-transitional", "virtio-non-transitional"), "virtio"),
  otherWriters: v.optional(oneOf("refuse", "allow"), "refuse"),
  host: v.optional(
    v.strictObject({
      connection: v.optional(connection),
      verifyHostKey: v.optional(flag, true),
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
      privileged: v.optional(oneOf("refuse", "strip"), "refuse"),
      links: v.optional(oneOf("keep", "map"), "keep"),
      otherFileSystems: v.optional(oneOf("refuse", "leave"), "refuse"),
      onDelete: v.optional(oneOf("restore", "leave"), "restore"),
    }),
    {},
  ),
  selinux: v.optional(
    v.strictObject({
      manage: v.optional(oneOf("auto", "always", "never"), "auto"),
      type: v.optional(
        v.pipe(
          text,
          v.regex(/^[A-Za-z_][A-Za-z0-9_.]*$/, "must be the name of a type, such as svirt_image_t"),
        ),
      ),
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
