import {
  asWanted,
  type Concern,
  type Fact,
  type Facts,
  type Json,
  type Needed,
  type Refusal,
} from "../engine/concern";
import { putInPlace } from "../formats/put-in-place";
import { sh } from "../formats/shell";
import { distribution, kernelRelease } from "./guest-facts";

/** Loaded by systemd-modules-load(8) at boot; one module a line. */
const bootFile = "/etc/modules-load.d/virtio9p.conf";
const bootLines = "9pnet_virtio\n9p\n";

type NineP = "builtIn" | "loaded" | "available" | "absent" | "noModules";

interface KernelSeen {
  readonly nineP: NineP;
  readonly release: string;
  readonly distribution: readonly string[];
  readonly bootFile: string | undefined;
}

const restoreNeeds = { bootFile: "must" } as const;
const driftNeeds = { nineP: "must", bootFile: "must", release: "may", distribution: "may" } as const;

type KernelBefore = { readonly [key: string]: Json; readonly bootFile: string | null };

/**
 * What the kernel offers: both modules built in, both in use, both to be had, or not.
 *
 * `/proc/filesystems` names 9p once it is usable; 9pnet_virtio is seen in sysfs. `modprobe -D`, which busybox has
 * too, resolves without loading.
 */
const nineP: Fact<NineP> = {
  key: "9p in the kernel",
  place: "guest",
  does: "ask the kernel for 9p over virtio",
  guard: true,
  script: sh`builtin=/lib/modules/$(uname -r)/modules.builtin
if grep -q '/9p\.ko' "$builtin" 2>/dev/null && grep -q '/9pnet_virtio\.ko' "$builtin"; then echo builtIn
elif grep -qw 9p /proc/filesystems && [ -d /sys/bus/virtio/drivers/9pnet_virtio ]; then echo loaded
elif modprobe -q -D 9p >/dev/null 2>&1 && modprobe -q -D 9pnet_virtio >/dev/null 2>&1; then echo available
elif ! [ -d "/lib/modules/$(uname -r)" ]; then echo noModules
else echo absent
fi`,
  parse: (output) => output.trim() as NineP,
};

const loadedAtBoot: Fact<string | undefined> = {
  key: `file ${bootFile}`,
  place: "guest",
  does: `read ${bootFile}`,
  guard: true,
  script: sh`if [ -e ${bootFile} ]; then cat -- ${bootFile} && echo .; fi`,
  parse: (output) => (output === "" ? undefined : output.slice(0, -2)),
};

/**
 * The guest's kernel can mount 9p over virtio, now and after a boot.
 *
 * Judged by what the kernel offers, never by the distribution's name: some kernels of a distribution
 * have 9p and their siblings lack it. The boot file serves every share of the guest: its record is the
 * domain's, and it goes with the last of them.
 *
 * Refuses with `guestKernelLacks9p`.
 * Source: systemd 252 modules-load.d(5); Linux 6.1 fs/9p/Kconfig.
 */
export const guestKernel: Concern<
  Record<string, never>,
  KernelSeen,
  KernelBefore,
  typeof restoreNeeds,
  typeof driftNeeds
> = {
  layer: "modules",
  place: "guest",
  up: "guestBoot",
  down: "guest",
  scope: "domain",
  left: () => bootFile,
  want: (spec) => spec.guest && {},
  identity: () => bootFile,
  facts: (): Facts<KernelSeen> => ({ nineP, release: kernelRelease, distribution, bootFile: loadedAtBoot }),
  needs: { restore: restoreNeeds, drift: driftNeeds },

  plan(_want, seen) {
    if (seen.nineP === "absent" || seen.nineP === "noModules") return { refuse: [lacks9p(seen)], steps: [] };
    if (seen.nineP === "builtIn") return { steps: [] };
    return {
      steps: [
        ...(seen.nineP === "loaded"
          ? []
          : [
              {
                does: "load 9pnet_virtio and 9p",
                run: sh`modprobe 9pnet_virtio
modprobe 9p
if ! grep -qw 9p /proc/filesystems; then
  echo 'modprobe loaded no 9p, and said nothing: see modprobe -c for "install" and "blacklist" lines of 9p' >&2
  exit 1
fi`,
              },
            ]),
        ...(seen.bootFile === bootLines
          ? []
          : [
              {
                does: `load 9pnet_virtio and 9p at boot (${bootFile})`,
                run: write(bootLines),
                undo: seen.bootFile === undefined ? sh`rm -f -- ${bootFile}` : write(seen.bootFile),
                changes: [loadedAtBoot.key],
              },
            ]),
      ],
    };
  },

  // Our own name with our own text: left by a share whose guest was off when it went.
  remember: (_want, seen) => ({ bootFile: seen.bootFile === bootLines ? null : (seen.bootFile ?? null) }),

  restore(_old, before, seen) {
    if ((seen.bootFile ?? null) === before.bootFile || seen.bootFile !== bootLines) return { steps: [] };
    return {
      steps: [
        before.bootFile === null
          ? { does: `remove ${bootFile}`, run: sh`rm -f -- ${bootFile}`, changes: [loadedAtBoot.key] }
          : { does: `give ${bootFile} back`, run: write(before.bootFile), changes: [loadedAtBoot.key] },
      ],
    };
  },

  drift(_want, seen) {
    if (seen.nineP === "absent" || seen.nineP === "noModules")
      return { state: "missing", args: {}, notes: [lacks9p(seen).what] };
    if (seen.nineP === "builtIn" || seen.bootFile === bootLines) return asWanted;
    const state = seen.bootFile === undefined ? "missing" : "differs";
    return {
      state,
      args: {},
      notes: [
        `9p is not loaded at the guest's boot: ${bootFile} is ${seen.bootFile === undefined ? "not there" : "not ours"}`,
      ],
    };
  },
};

function write(text: string) {
  return sh`mkdir -p -m 0755 -- /etc/modules-load.d
printf %s ${text} > ${`${bootFile}.new`}
chmod 0644 -- ${`${bootFile}.new`}
${putInPlace(sh`${`${bootFile}.new`}`, sh`${bootFile}`, sh`/etc/modules-load.d`)}`;
}

function lacks9p(seen: Needed<KernelSeen, typeof driftNeeds>): Refusal {
  const { release = "", distribution: ids = [] } = seen;
  if (seen.nineP === "noModules") {
    return {
      code: "guestKernelLacks9p",
      what: `the guest has no /lib/modules/${release}: the kernel that runs was booted from the host, and its modules are not in the guest`,
      remedy: `put the modules of ${release} into /lib/modules of the guest, or boot a kernel that has 9p built in`,
    };
  }
  return {
    code: "guestKernelLacks9p",
    what: `${`kernel ${release}`.trim()} has no 9p over virtio`,
    remedy: remedyFor(release, ids),
  };
}

/**
 * The package that brings a kernel with 9p. Kernels looked at: Debian 12 cloud and generic; EL 8 to 10;
 * openSUSE kernel-default-base; docs/guest-kernels.md has the list.
 */
export function remedyFor(release: string, ids: readonly string[]): string {
  const is = (...names: string[]): boolean => names.some((name) => ids.includes(name));
  if (is("debian") && release.includes("-cloud-")) {
    return "install the package linux-image-amd64 (linux-image-arm64 on ARM) in the guest in place of the cloud kernel, and boot it";
  }
  if (is("ubuntu"))
    return "install the package linux-modules-extra for this kernel in the guest, or linux-image-generic, and boot it";
  if (is("debian"))
    return "install the package linux-image-amd64 (linux-image-arm64 on ARM) in the guest, and boot it";
  if (is("centos") && /\.el7/.test(release)) {
    return "install kernel-plus from the centosplus repository (yum --enablerepo=centosplus install kernel-plus), and boot it";
  }
  if (is("rhel", "centos", "rocky", "almalinux", "ol")) {
    return "install kernel-ml of ELRepo in the guest (kernel-plus from centosplus on CentOS 7), and boot it: Enterprise Linux builds its own without 9p";
  }
  if (is("suse", "opensuse"))
    return "install the package kernel-default in the guest in place of kernel-default-base, and boot it";
  return "boot the guest with a kernel that has CONFIG_9P_FS and CONFIG_NET_9P_VIRTIO";
}
