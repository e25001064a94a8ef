import type { Json } from "../../engine/layer";
import type { Mount } from "../../formats/mountinfo";
import { cacheModes, isMsizeBytes, nameOf } from "../../drivers/ninep/mount-options";
import type { ShareInGuest } from "../shared/mounted-root";

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

/**
 * The flags that a remount changes, in use or not, each with its opposite, as mount(8) of util-linux 2.38 and busybox
 * 1.35 name them.
 */
const opposites = { ro: "rw", nodev: "dev", nosuid: "suid", noexec: "exec" } as const;
const flagNames = ["ro", "nodev", "nosuid", "noexec"] as const;
type Flag = (typeof flagNames)[number];

/**
 * What a mount has too little or too much, of what the kernel shows: flags that must hold exactly, and the
 * values of 9p. What it does not show cannot be compared; fstab has it.
 *
 * Source: v9fs_show_options of fs/9p/v9fs.c and p9_show_client_options of net/9p/client.c, Linux 6.1.
 */
export function mountDifferences(
  { options, readOnly }: Pick<ShareInGuest, "options" | "readOnly">,
  mount: Mount,
  { mounts, release }: { readonly mounts: readonly Mount[]; readonly release: string },
): Difference[] {
  const wanted = { ...options, ro: readOnly };
  const own = ownMsizeBytes(release);
  const msize = Number(valueOf(mount, "msize") ?? own);
  const cache = cacheOf(mount);
  // The kernel shows a uid without leading zeros.
  const accessWanted = (options.access ?? "client").replace(/^0+(?=\d)/, "");
  const access = valueOf(mount, "access") ?? accessWanted;
  const isOn = isAutomounted(mount, mounts);
  const automount = (is: boolean): string => (is ? "x-systemd.automount" : "no x-systemd.automount");
  return [
    ...flagNames.flatMap((name) => {
      const args = name === "ro" ? {} : { [name]: has(mount, name) };
      return difference(flag(name, wanted[name]), flag(name, has(mount, name)), args, true);
    }),
    ...difference(
      `msize=${options.msizeBytes === 0 ? own : options.msizeBytes}`,
      `msize=${msize}`,
      isMsizeBytes(msize) ? { msizeBytes: msize } : {},
    ),
    ...difference(`cache=${options.cache ?? "none"}`, `cache=${cache}`, isCacheMode(cache) ? { cache } : {}),
    ...difference(`access=${accessWanted}`, `access=${access}`, { access }),
    ...difference(automount(options.automount), automount(isOn), { automount: isOn }),
  ];
}

/** None, where the two are the same; `options`: the arguments of `guest.options` that take what is shown. */
function difference(
  wanted: string,
  shown: string,
  options: Readonly<Record<string, Json>>,
  byRemount = false,
): Difference[] {
  if (wanted === shown) return [];
  const args = Object.fromEntries(
    Object.entries(options).map(([name, value]) => [`guest.options.${name}`, value]),
  );
  return [{ wanted, shown, args, byRemount }];
}

/** An automount that waits, or that has something mounted on it. */
export function isAutomount(mount: Mount): boolean {
  return mount.type === "autofs";
}

/** Whether an automount lies where something is mounted, with the share on it or not. */
export function isAutomounted({ mountPoint }: Mount, mounts: readonly Mount[]): boolean {
  const lowest = mounts.find((mount) => mount.mountPoint === mountPoint);
  return lowest !== undefined && isAutomount(lowest);
}

/** The flags that a mount has, each or its opposite, sample: `["rw", "nodev", "suid", "exec"]`. */
export function flagsOf(mount: Mount): readonly string[] {
  return flagNames.map((name) => flag(name, has(mount, name)));
}

/** Read-only is a mount where it itself or its file system is. */
function has({ mountOptions, superOptions }: Mount, name: Flag): boolean {
  return mountOptions.includes(name) || (name === "ro" && superOptions.includes(name));
}

function flag(name: Flag, isSet: boolean): string {
  return isSet ? name : opposites[name];
}

/**
 * Flags as options, and the access times that the mount has, sample: `rw,nodev,suid,exec,relatime,diratime`.
 *
 * Each is written, set or not: util-linux 2.39 and later change by `remount,bind` only what is named
 * (mnt_optlist_get_attrs of libmount/src/optlist.c), earlier ones and busybox take the rest away.
 */
export function formatFlags(flags: readonly string[], { mountOptions }: Pick<Mount, "mountOptions">): string {
  // `strictatime` is shown as none of them (fs/proc_namespace.c, Linux 6.1).
  const atime = ["noatime", "relatime"].find((one) => mountOptions.includes(one)) ?? "strictatime";
  const directories = mountOptions.includes("nodiratime") ? "nodiratime" : "diratime";
  return [...flags, atime, directories].join(",");
}

/** What a mount has, as options that mount(8) takes: to mount the same again. */
export function formatMounted(mount: Mount): string {
  const superOptions = mount.superOptions
    // SELinux shows that labels are supported; that is no option.
    .filter((option) => option !== "seclabel")
    .map((option) =>
      nameOf(option) === "cache" || isCacheMode(option) ? `cache=${cacheOf(mount)}` : option,
    );
  return [...new Set([...mount.mountOptions, ...superOptions])].join(",");
}

/** The kernel's own size, of which it shows nothing: 8 KiB before Linux 5.16, 128 KiB since (net/9p/client.c, DEFAULT_MSIZE). */
function ownMsizeBytes(kernelRelease: string): number {
  const [major = 0, minor = 0] = kernelRelease.split(/[.-]/).map(Number);
  return major > 5 || (major === 5 && minor >= 16) ? 131_072 : 8192;
}

function valueOf(mount: Mount, name: string): string | undefined {
  return mount.superOptions.find((option) => option.startsWith(`${name}=`))?.slice(name.length + 1);
}

/** The bits of enum p9_cache_bits (fs/9p/v9fs.h) as Linux 6.4 and later show the cache. */
const cacheBits: ReadonlyMap<string, string> = new Map([
  ["0", "none"],
  ["1", "readahead"],
  ["5", "mmap"],
  ["f", "loose"],
  ["8f", "fscache"],
]);

function isCacheMode(text: string): boolean {
  return (cacheModes as readonly string[]).includes(text);
}

/** Sample: `cache=f`, or the bare name, `loose`, of Linux before 6.4 (v9fs_show_options, fs/9p/vfs_super.c). */
function cacheOf(mount: Mount): string {
  const shown = valueOf(mount, "cache")?.replace(/^0x/, "") ?? "none";
  return mount.superOptions.find(isCacheMode) ?? cacheBits.get(shown) ?? shown;
}
