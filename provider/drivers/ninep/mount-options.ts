/**
 * The options of a 9p mount in a guest: which there are, and how a share's become one text.
 *
 * The kernel silently ignores an option that it does not know, so a misspelt one is found here or never.
 */

/** What `guest.options` holds once checked. */
export interface MountOptions {
  readonly msizeBytes: number;
  readonly cache?: string | undefined;
  readonly access?: string | undefined;
  readonly context?: string | undefined;
  readonly netdev: boolean;
  readonly nofail: boolean;
  readonly automount: boolean;
  readonly noexec: boolean;
  readonly nosuid: boolean;
  readonly nodev: boolean;
  readonly extra: readonly string[];
}

/**
 * Bytes of one 9p message when the program says nothing: the largest that mounted and listed in every guest
 * with fragmented memory (docs/decisions/0007-msize.md), and what Linux takes by itself since 5.16.
 */
export const defaultMsizeBytes = 131_072;

/**
 * The largest message that the virtio transport carries, in bytes; more is cut down to it without a word
 * (net/9p/trans_virtio.c, Linux 6.1: `PAGE_SIZE * (VIRTQUEUE_NUM - 3)`).
 */
export const maxMsizeBytes = 512_000;

/** The smallest that the kernel takes (net/9p/client.c, 6.1: "Please specify a msize of at least 4k"). */
export const minMsizeBytes = 4096;

/** Whether `msizeBytes` may be this: 0 writes no option, and leaves it to the kernel. */
export function isMsizeBytes(bytes: number): boolean {
  return bytes === 0 || (Number.isInteger(bytes) && bytes >= minMsizeBytes && bytes <= maxMsizeBytes);
}

/** `cache=` of fs/9p/v9fs.c, 6.1 and later. */
export const cacheModes = ["none", "readahead", "mmap", "loose", "fscache"] as const;

/** `access=` of fs/9p/v9fs.c, 6.1: for each user, for all as one, as the client decides, for one uid alone. */
export function isAccess(text: string): boolean {
  return /^(user|any|client|\d+)$/.test(text);
}

/** `context=` of mount(8): one SELinux context; it stands in double quotes, for it may have commas. */
export function isContext(text: string): boolean {
  return /^[^\s"\\]+$/.test(text);
}

/**
 * Names that `extra` may hold, with or without `=value`: what v9fs and its transports read (Documentation/
 * filesystems/9p.rst and fs/9p/v9fs.c, 6.1), what mount(8) of util-linux 2.38 applies to every file
 * system, and what systemd.mount(5) 252 reads out of fstab. Not `user` and its kin: what flags they bring
 * along is another thing for each mount(8).
 */
export const extraOptionNames = [
  ...["aname", "uname", "afid", "dfltuid", "dfltgid", "debug", "cachetag", "posixacl", "noxattr", "nodevmap"],
  ...["locktimeout"],
  ...["noatime", "atime", "nodiratime", "diratime", "relatime", "norelatime", "strictatime", "lazytime"],
  ...["sync", "async", "dirsync", "mand", "nomand", "noauto", "auto"],
  ...["fscontext", "defcontext", "rootcontext"],
  ...["x-systemd.requires", "x-systemd.before", "x-systemd.after", "x-systemd.wanted-by"],
  ...["x-systemd.required-by", "x-systemd.requires-mounts-for", "x-systemd.idle-timeout"],
  ...["x-systemd.device-timeout", "x-systemd.mount-timeout", "x-systemd.rw-only"],
] as const;

/** Whether `extra` knows the name of an option: one of {@link extraOptionNames}, or one for comments (fstab(5)). */
export function isExtraName(name: string): boolean {
  return (extraOptionNames as readonly string[]).includes(name) || /^(x-(?!systemd\.)|comment$)/.test(name);
}

/** Whether every double quote of a text is closed; one that is not would take the options behind it in. */
export function hasPairedQuotes(text: string): boolean {
  return text.split('"').length % 2 === 1;
}

/** Whether an option may stand in `extra`. */
export function isExtraOption(option: string): boolean {
  return isExtraName(nameOf(option)) && !/[\s,\p{Cc}]/u.test(option) && hasPairedQuotes(option);
}

/** The name of an option, `msize` of `msize=8192`. */
export function nameOf(option: string): string {
  return option.split("=", 1)[0] ?? "";
}

/** Options without a value: what each says of which argument. In the order in which they are written. */
const flags = [
  ["_netdev", "netdev", true],
  ["nofail", "nofail", true],
  ["nodev", "nodev", true],
  ["nosuid", "nosuid", true],
  ["noexec", "noexec", true],
  ["dev", "nodev", false],
  ["suid", "nosuid", false],
  ["exec", "noexec", false],
] as const;
/** The last of those that are written, in front of `extra`. */
const automount = ["x-systemd.automount", "automount", true] as const;

/** Options that have an argument of their own, and so have no place in `extra`, each with its argument. */
export const namedOptions: ReadonlyMap<string, string> = new Map([
  ["trans", "(always virtio)"],
  ["version", "(always 9p2000.L)"],
  ["msize", "msizeBytes"],
  ["cache", "cache"],
  ["access", "access"],
  ["context", "context"],
  ["ro", "readOnly"],
  ["rw", "readOnly: false"],
  ...[...flags, automount].map(
    ([option, argument, says]) => [option, says ? argument : `${argument}: false`] as const,
  ),
]);

/**
 * The fourth field of the fstab line, sample: `trans=virtio,version=9p2000.L,_netdev,nofail,nodev,msize=131072`.
 *
 * With `nofail: false, nodev: false, msizeBytes: 0` it is `trans=virtio,version=9p2000.L,_netdev`.
 */
export function formatMountOptions(options: MountOptions, readOnly: boolean): string {
  const { msizeBytes, cache, access, context } = options;
  const values = {
    msize: msizeBytes === 0 ? undefined : msizeBytes,
    cache,
    access,
    context: context === undefined ? undefined : `"${context}"`,
  };
  return [
    "trans=virtio",
    "version=9p2000.L",
    ...flags.filter(([, argument, says]) => says && options[argument]).map(([option]) => option),
    ...(readOnly ? ["ro"] : []),
    ...Object.entries(values).flatMap(([name, value]) => (value === undefined ? [] : [`${name}=${value}`])),
    ...(options.automount ? [automount[0]] : []),
    ...options.extra,
  ].join(",");
}

/** What a line without any option gives; every argument is named, for the drift of each is looked at. */
const noOptions: MountOptions = {
  msizeBytes: 0,
  cache: undefined,
  access: undefined,
  context: undefined,
  netdev: false,
  nofail: false,
  automount: false,
  noexec: false,
  nosuid: false,
  nodev: false,
  extra: [],
};

/**
 * The fourth field of an fstab line as arguments, the inverse of {@link formatMountOptions}; `ro` is left out.
 *
 * Of an option that stands there twice the last counts, as for mount(8). What no other argument takes, a
 * value that cannot be among it, is in `extra`, whether {@link isExtraOption} holds for it or not.
 */
export function parseMountOptions(text: string): MountOptions {
  return splitMountOptions(text).reduce<MountOptions>(
    (options, option) => ({
      ...options,
      ...(argumentOf(option) ?? { extra: [...options.extra, option] }),
    }),
    noOptions,
  );
}

/** Splits at the commas that are not inside double quotes (util-linux 2.38, libmount/src/optstr.c). */
export function splitMountOptions(text: string): string[] {
  return text.match(/(?:"[^"]*"|[^,])+/g) ?? [];
}

/** What an option says, if its argument takes that value; `ro` and `rw` belong to `readOnly`. */
function argumentOf(option: string): Partial<MountOptions> | undefined {
  if (["trans=virtio", "version=9p2000.L", "ro", "rw"].includes(option)) return {};
  const [, flag, says] = [...flags, automount].find(([whole]) => whole === option) ?? [];
  if (flag !== undefined) return { [flag]: says };
  const name = nameOf(option);
  const value = option.slice(name.length + 1).replace(/^"(.*)"$/, "$1");
  if (name === "msize" && /^[1-9]\d*$/.test(value) && isMsizeBytes(Number(value)))
    return { msizeBytes: Number(value) };
  if (name === "cache" && (cacheModes as readonly string[]).includes(value)) return { cache: value };
  if (name === "access" && isAccess(value)) return { access: value };
  if (name === "context" && isContext(value)) return { context: value };
  return undefined;
}

/**
 * Why a tag could not be mounted by a line in fstab at boot, for a reader takes it for another thing; undefined: it can.
 *
 * A `#` at the beginning would make the line a comment, and getmntent(3) of glibc 2.36 does not undo `\043`.
 * `NAME=` is a device that is looked for (libmount/src/utils.c of util-linux 2.38; fstab_node_to_udev_node of systemd
 * 252), and for a path in /dev or /sys systemd waits until there is such a device (is_device_path).
 */
export function notATagForFstab(tag: string): string | undefined {
  if (tag.startsWith("#")) return "must not begin with #, which makes its line in fstab a comment";
  const name = /^(LABEL|UUID|PARTLABEL|PARTUUID|ID)=/.exec(tag)?.[0];
  if (name !== undefined) return `must not begin with ${name}, by which fstab means a disk`;
  if (/^\/+(\.\/+)*(dev|sys)(\/|$)/.test(tag))
    return "must not be a path in /dev or /sys, by which fstab means a device";
  return undefined;
}
