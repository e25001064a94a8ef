import type { Json } from "../engine/concern";
import type { Mount } from "../formats/mountinfo";
import { cacheModes, isMsizeBytes, nameOf, parseMountOptions, splitMountOptions } from "../mount-options";

/** One option in which a mount is not as wanted. */
export interface Difference {
  /** As the kernel would show it: `nodev`, `msize=65536`. */
  readonly wanted: string;
  /** What the mount has in its place: `dev`, `msize=8192`. */
  readonly shown: string;
  /** The argument that the mount contradicts, with the value that it has; none for `ro`, and for what no argument takes. */
  readonly args: Readonly<Record<string, Json>>;
  /** Whether a remount changes it; all else takes an unmount. */
  readonly byRemount: boolean;
}

/** The flags of a mount that a remount changes, in use or not. */
export interface MountFlags {
  readonly ro: boolean;
  readonly nodev: boolean;
  readonly nosuid: boolean;
  readonly noexec: boolean;
}

/**
 * What a mount has too little or too much, of what the kernel shows: flags that must hold exactly, and the
 * values of 9p. What it does not show cannot be compared; fstab has it.
 *
 * `text` is what is wanted, as in fstab; `isAutomounted` whether an automount lies below the mount.
 * Source: v9fs_show_options of fs/9p/v9fs.c and p9_show_client_options of net/9p/client.c, Linux 6.1.
 */
export function mountDifferences(
  text: string,
  mount: Mount,
  isAutomounted: boolean,
  kernelRelease: string,
): Difference[] {
  const wanted = parseMountOptions(text);
  return [
    ...flagDifferences(text, mount),
    ...msizeDifferences(wanted.msizeBytes, mount, kernelRelease),
    ...valueDifferences("cache", wanted.cache ?? "none", cacheOf(mount), cacheModes),
    ...valueDifferences("access", uidOf(wanted.access ?? "client"), valueOf(mount, "access")),
    ...(wanted.automount === isAutomounted
      ? []
      : [
          {
            ...sides("x-systemd.automount", "no x-systemd.automount", wanted.automount),
            args: { "guest.options.automount": isAutomounted },
            byRemount: false,
          },
        ]),
  ];
}

/** The flags that options ask for, those of mount(8)'s defaults where they say nothing. */
export function wantedFlags(text: string): MountFlags {
  const options = splitMountOptions(text);
  const isLast = (name: string, opposite: string): boolean =>
    options.lastIndexOf(name) > options.lastIndexOf(opposite);
  return {
    ro: options.includes("ro"),
    nodev: isLast("nodev", "dev"),
    nosuid: isLast("nosuid", "suid"),
    noexec: isLast("noexec", "exec"),
  };
}

/** The flags that a mount has; read-only it is where the mount or its file system is. */
export function flagsOf(mount: Mount): MountFlags {
  const has = (flag: string): boolean => mount.mountOptions.includes(flag);
  return {
    ro: has("ro") || mount.superOptions.includes("ro"),
    nodev: has("nodev"),
    nosuid: has("nosuid"),
    noexec: has("noexec"),
  };
}

/**
 * Flags as options, and the access times that the mount has, sample: `rw,nodev,suid,exec,relatime,diratime`.
 *
 * Each is written, set or not: util-linux 2.39 and later change by `remount,bind` only what is named
 * (mnt_optlist_get_attrs of libmount/src/optlist.c), earlier ones and busybox take the rest away.
 */
export function formatFlags(flags: MountFlags, { mountOptions }: Pick<Mount, "mountOptions">): string {
  // `strictatime` is shown as none of them (fs/proc_namespace.c, Linux 6.1).
  const atime = ["noatime", "relatime"].find((one) => mountOptions.includes(one)) ?? "strictatime";
  const directories = mountOptions.includes("nodiratime") ? "nodiratime" : "diratime";
  return [...flagNames.map((name) => flagText(flags, name)), atime, directories].join(",");
}

/** What a mount has, as options that mount(8) takes: to mount the same again. */
export function formatMounted(mount: Mount): string {
  const cache = cacheOf(mount);
  const superOptions = mount.superOptions
    // SELinux shows that labels are supported; that is no option.
    .filter((option) => option !== "seclabel" && !mount.mountOptions.includes(option))
    .map((option) => (isCache(option) ? `cache=${cache}` : option));
  return [...mount.mountOptions, ...superOptions].join(",");
}

const flagNames = ["ro", "nodev", "nosuid", "noexec"] as const;

/** The opposites, as mount(8) of util-linux 2.38 and busybox 1.35 name them. */
const opposites = { ro: "rw", nodev: "dev", nosuid: "suid", noexec: "exec" } as const;

function flagText(flags: MountFlags, name: (typeof flagNames)[number]): string {
  return flags[name] ? name : opposites[name];
}

function flagDifferences(text: string, mount: Mount): Difference[] {
  const wanted = wantedFlags(text);
  const shown = flagsOf(mount);
  return flagNames
    .filter((name) => wanted[name] !== shown[name])
    .map((name) => ({
      wanted: flagText(wanted, name),
      shown: flagText(shown, name),
      args: name === "ro" ? {} : { [`guest.options.${name}`]: shown[name] },
      byRemount: true,
    }));
}

/** The kernel's own size, of which it shows nothing: 8 KiB before Linux 5.16, 128 KiB since (net/9p/client.c, DEFAULT_MSIZE). */
function ownMsizeBytes(kernelRelease: string): number {
  const [major = 0, minor = 0] = kernelRelease.split(/[.-]/).map(Number);
  return major > 5 || (major === 5 && minor >= 16) ? 131_072 : 8192;
}

function msizeDifferences(wantedBytes: number, mount: Mount, kernelRelease: string): Difference[] {
  const own = ownMsizeBytes(kernelRelease);
  const shown = Number(valueOf(mount, "msize") ?? own);
  const wanted = wantedBytes === 0 ? own : wantedBytes;
  if (shown === wanted) return [];
  const args = isMsizeBytes(shown) ? { "guest.options.msizeBytes": shown } : {};
  return [{ wanted: `msize=${wanted}`, shown: `msize=${shown}`, args, byRemount: false }];
}

function valueDifferences(
  name: "cache" | "access",
  wanted: string,
  shown: string | undefined,
  known?: readonly string[],
): Difference[] {
  if (shown === undefined || shown === wanted) return [];
  const args = known?.includes(shown) === false ? {} : { [`guest.options.${name}`]: shown };
  return [{ wanted: `${name}=${wanted}`, shown: `${name}=${shown}`, args, byRemount: false }];
}

function sides(on: string, off: string, isOn: boolean): Pick<Difference, "wanted" | "shown"> {
  return isOn ? { wanted: on, shown: off } : { wanted: off, shown: on };
}

function valueOf(mount: Mount, name: string): string | undefined {
  return mount.superOptions.find((option) => option.startsWith(`${name}=`))?.slice(name.length + 1);
}

/** A uid as the kernel shows it: without leading zeros. */
function uidOf(access: string): string {
  return /^\d+$/.test(access) ? String(Number(access)) : access;
}

/** The bits of enum p9_cache_bits (fs/9p/v9fs.h) as Linux 6.4 and later show the cache. */
const cacheBits: ReadonlyMap<string, string> = new Map([
  ["0", "none"],
  ["1", "readahead"],
  ["5", "mmap"],
  ["f", "loose"],
  ["8f", "fscache"],
]);

/** Sample: `cache=f`, or the bare name, `loose`, of Linux before 6.4 (v9fs_show_options, fs/9p/vfs_super.c). */
function isCache(option: string): boolean {
  return nameOf(option) === "cache" || (cacheModes as readonly string[]).includes(option);
}

function cacheOf(mount: Mount): string {
  const named = mount.superOptions.find((option) => isCache(option) && !option.includes("="));
  if (named !== undefined) return named;
  const shown = valueOf(mount, "cache")?.replace(/^0x/, "") ?? "none";
  return cacheBits.get(shown) ?? shown;
}
