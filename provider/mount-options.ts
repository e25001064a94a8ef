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

/** `cache=` of fs/9p/v9fs.c, 6.1 and later. */
export const cacheModes = ["none", "readahead", "mmap", "loose", "fscache"] as const;

/**
 * Names that `extra` may hold, with or without `=value`: what v9fs and its transports read (Documentation/
 * filesystems/9p.rst and fs/9p/v9fs.c, 6.1), what mount(8) of util-linux 2.38 applies to every file
 * system, and what systemd.mount(5) 252 reads out of fstab.
 */
export const extraOptionNames = [
  ...["aname", "uname", "afid", "dfltuid", "dfltgid", "debug", "cachetag", "posixacl", "noxattr", "nodevmap"],
  ...["locktimeout"],
  ...["noatime", "atime", "nodiratime", "diratime", "relatime", "norelatime", "strictatime", "lazytime"],
  ...["sync", "async", "dirsync", "mand", "nomand", "noauto", "auto", "user", "users", "owner", "group"],
  ...["fscontext", "defcontext", "rootcontext"],
  ...["x-systemd.requires", "x-systemd.before", "x-systemd.after", "x-systemd.wanted-by"],
  ...["x-systemd.required-by", "x-systemd.requires-mounts-for", "x-systemd.idle-timeout"],
  ...["x-systemd.device-timeout", "x-systemd.mount-timeout", "x-systemd.rw-only"],
] as const;

/** Options that have an argument of their own, and so have no place in `extra`, each with its argument. */
export const namedOptions: Readonly<Record<string, string>> = {
  trans: "(always virtio)",
  version: "(always 9p2000.L)",
  msize: "msizeBytes",
  cache: "cache",
  access: "access",
  context: "context",
  _netdev: "netdev",
  nofail: "nofail",
  "x-systemd.automount": "automount",
  noexec: "noexec",
  nosuid: "nosuid",
  nodev: "nodev",
  exec: "noexec: false",
  suid: "nosuid: false",
  dev: "nodev: false",
  ro: "readOnly",
  rw: "readOnly: false",
};

/**
 * The fourth field of the fstab line, sample: `trans=virtio,version=9p2000.L,_netdev,nofail,nodev,msize=131072`.
 *
 * With `nofail: false, nodev: false, msizeBytes: 0` it is `trans=virtio,version=9p2000.L,_netdev`.
 */
export function formatMountOptions(options: MountOptions, readOnly: boolean): string {
  const on = (flag: boolean, text: string): string[] => (flag ? [text] : []);
  const given = (name: string, value: string | undefined): string[] =>
    value === undefined ? [] : [`${name}=${value}`];
  return [
    "trans=virtio",
    "version=9p2000.L",
    ...on(options.netdev, "_netdev"),
    ...on(options.nofail, "nofail"),
    ...on(options.nodev, "nodev"),
    ...on(options.nosuid, "nosuid"),
    ...on(options.noexec, "noexec"),
    ...on(readOnly, "ro"),
    ...on(options.msizeBytes !== 0, `msize=${options.msizeBytes}`),
    ...given("cache", options.cache),
    ...given("access", options.access),
    ...given("context", options.context === undefined ? undefined : `"${options.context}"`),
    ...on(options.automount, "x-systemd.automount"),
    ...options.extra,
  ].join(",");
}
