import {
  asWanted,
  type Layer,
  type Fact,
  found,
  type Json,
  type Needed,
  type Plan,
  refuse,
  type Refusal,
  type SeenBy,
  type Step,
  needs,
} from "../../engine/layer";
import { putInPlace } from "../../remote/shell/atomic-write";
import { type Script, sh } from "../../remote/shell/sh";
import { editLine } from "../shared/line-edits";
import { distribution, isOpenrc, kernelRelease } from "../shared/guest";
import { contentOf, notEditable, notReplaceable, obstacleTo } from "../shared/guest-files";
import { guestMounts } from "../shared/mounts";

/** Loaded by systemd-modules-load(8) at boot; one module a line. */
const bootFolder = "/etc/modules-load.d";
const bootFile = `${bootFolder}/virtio9p.conf`;
const modules = ["9pnet_virtio", "9p"] as const;
const bootLines = modules.map((module) => `${module}\n`).join("");
/** Under OpenRC, everybody's: one module a line. */
const listFile = "/etc/modules";

type NineP = "builtIn" | "loaded" | "available" | "absent" | "noModules";

const restoreNeeds = needs(["bootFile", "list"], ["obstacle", "listObstacle", "mounts"]);
const driftNeeds = needs(["nineP", "bootFile", "list"], ["release", "distribution"]);

/** What stood in the boot file; `list`: whether `/etc/modules` was there, and which of our lines were in it. */
type KernelBefore = {
  readonly [key: string]: Json;
  readonly bootFile: string | null;
  readonly list?: { readonly file: boolean; readonly lines: readonly string[] };
};

/** A test: the kernel has 9p in use. The shell reads it by itself. */
const has9p = sh`( while read -r nodev name; do [ "$nodev $name" != 'nodev 9p' ] || exit 0; done < /proc/filesystems; exit 1 )`;

const isLoaded = sh`{ ${has9p} && [ -d /sys/bus/virtio/drivers/9pnet_virtio ]; }`;

/**
 * What the kernel offers: both modules built in, both in use, both to be had, or not.
 *
 * `/proc/filesystems` names 9p once it is usable; 9pnet_virtio is seen in sysfs. Where /lib/modules does not list them
 * (NixOS has them elsewhere), `modprobe -D`, which busybox has too, resolves without loading.
 */
const nineP: Fact<NineP> = {
  fixed: true,
  place: "guest",
  does: "ask the kernel for 9p over virtio",
  script: sh`read -r release < /proc/sys/kernel/osrelease
# Of modules.builtin no line ends in a colon, in modules.dep each module's own name does.
found=$(grep -hoE '/(9p|9pnet_virtio)\.ko[^ :]*:?' "/lib/modules/$release/modules.builtin" "/lib/modules/$release/modules.dep" 2>/dev/null) || :
found="
$found
"
has_built_in() { case $found in *"
/$1.ko
"*) ;; *) return 1;; esac; }
has() { case $found in *"/$1.ko"*) ;; *) return 1;; esac; }
if has_built_in 9p && has_built_in 9pnet_virtio; then echo builtIn
elif ${isLoaded}; then echo loaded
elif has 9p && has 9pnet_virtio; then echo available
elif modprobe -q -D 9p >/dev/null 2>&1 && modprobe -q -D 9pnet_virtio >/dev/null 2>&1; then echo available
elif ! [ -d "/lib/modules/$release" ]; then echo noModules
else echo absent
fi`,
  parse: (output) => output.trim() as NineP,
};

const loadedAtBoot: Fact<string | undefined> = {
  ...contentOf(bootFile),
  precondition: true,
  parse: (output) => (output === "" ? undefined : output.slice(0, -1)),
};

/**
 * `/etc/modules`, where the guest's boot reads that: under OpenRC, unless its service `modules` is there and does not
 * name the file (Gentoo: that one reads modules-load.d; Alpine's reads both, and older ones of it the file alone).
 * Undefined: it does not.
 *
 * Source: init.d/modules.in of OpenRC 0.45; main/openrc/modules.initd of Alpine's aports.
 */
const moduleList: Fact<string | null | undefined> = {
  place: "guest",
  does: `read ${listFile}, if the boot reads it`,
  precondition: true,
  script: sh`if ${isOpenrc} && { ! [ -e /etc/init.d/modules ] || grep -Eq '/etc/modules([^-[:alnum:]]|$)' /etc/init.d/modules; }; then
  echo list
  if [ -e ${listFile} ]; then cat -- ${listFile} && printf .; fi
fi`,
  parse: (_output, bytes) => {
    const text = /^list\n([^]*)$/.exec(bytes.toString("latin1"))?.[1];
    return text === "" ? null : text?.slice(0, -1);
  },
};

const facts = () => ({
  nineP,
  release: kernelRelease,
  distribution,
  bootFile: loadedAtBoot,
  list: moduleList,
  obstacle: obstacleTo(bootFile),
  listObstacle: obstacleTo(listFile),
  mounts: guestMounts,
});

type KernelSeen = SeenBy<ReturnType<typeof facts>, "nineP" | "release" | "distribution" | "bootFile">;

/**
 * The guest's kernel can mount 9p over virtio, now and after a boot.
 *
 * Judged by what the kernel offers, never by the distribution's name: some kernels of a distribution
 * have 9p and their siblings lack it. The boot file serves every share of the guest: its record is the
 * domain's, and it goes with the last of them. Under OpenRC lines of `/etc/modules` take its place.
 *
 * Refuses with `guestKernelLacks9p`, `fileProtected`, `fileSystemReadOnly`.
 * Source: systemd 252 modules-load.d(5); Linux 6.1 fs/9p/Kconfig.
 */
export const guestKernel: Layer<
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
  shared: true,
  scope: "domain",
  left: () => bootFile,
  want: (spec) => spec.guest && {},
  identity: () => bootFile,
  facts,
  needs: { restore: restoreNeeds, drift: driftNeeds },

  plan(_want, seen, before) {
    const refuse = lacks9p(seen);
    if (refuse.length > 0) return { refuse, steps: [] };
    if (seen.nineP === "builtIn") return { steps: [] };
    const atBoot = seen.bootFile === bootLines ? [] : bootSteps(seen, before);
    const protectedBy = isListed(seen, before) ? listNotEditable(seen) : notReplaceable(bootFile, seen);
    if (atBoot.length > 0 && protectedBy) return protectedBy;
    return { steps: seen.nineP === "loaded" ? atBoot : [load, ...atBoot] };
  },

  // Our own name with our own text: left by a share whose guest was off when it went.
  remember: (_want, seen) => ({
    bootFile: seen.bootFile === bootLines ? null : (seen.bootFile ?? null),
    ...(seen.list === undefined
      ? {}
      : { list: { file: seen.list !== null, lines: modules.filter((one) => names(seen.list, one)) } }),
  }),

  restore(_old, before, seen) {
    const { list } = before;
    const present = linesOf(seen.list);
    const taken = list ? modules.filter((one) => !list.lines.includes(one) && present.includes(one)) : [];
    const isWritten = (seen.bootFile ?? null) !== before.bootFile && seen.bootFile === bootLines;
    const protectedBy =
      (isWritten ? notReplaceable(bootFile, seen) : undefined) ??
      (taken.length > 0 ? listNotEditable(seen) : undefined);
    if (protectedBy) return protectedBy;
    const back: Step =
      before.bootFile === null
        ? {
            does: `remove ${bootFile}`,
            run: sh`[ ! -e ${bootFile} ] || { rm -f -- ${bootFile}; changed_in ${bootFolder}; }`,
          }
        : { does: `give ${bootFile} back`, run: write(before.bootFile) };
    const lines = taken.map((one) =>
      editLine(`take the line of ${one} in ${listFile}`, one, "", list?.file === true, listFile),
    );
    return { steps: isWritten ? [back, ...lines] : lines };
  },

  drift(_want, seen) {
    const [lacking] = lacks9p(seen);
    if (lacking) return found("missing", lacking.what);
    if (seen.nineP === "builtIn" || seen.bootFile === bootLines) return asWanted;
    const unnamed = modules.filter((one) => !names(seen.list, one));
    if (seen.list !== undefined && unnamed.length === 0) return asWanted;
    const isMissing = seen.list !== undefined || seen.bootFile === undefined;
    const why =
      seen.list === undefined
        ? `${bootFile} is ${isMissing ? "not there" : "not ours"}`
        : `${listFile} has no line of ${unnamed.join(" and ")}`;
    return found(isMissing ? "missing" : "differs", `9p is not loaded at the guest's boot: ${why}`);
  },
};

const load: Step = {
  does: "load 9pnet_virtio and 9p",
  run: sh`${isLoaded} || {
modprobe 9pnet_virtio
modprobe 9p
}
if ! ${has9p}; then
  echo 'modprobe loaded no 9p, and said nothing: see modprobe -c for "install" and "blacklist" lines of 9p' >&2
  exit 1
fi`,
};

/** A record of an earlier release knows the boot file alone, and that is kept as long as it stands. */
function isListed({ list }: Pick<KernelSeen, "list">, before: KernelBefore | undefined): boolean {
  return list !== undefined && (before === undefined || before.list !== undefined);
}

/** Shares of a guest each see to it, and none takes it back: the last that holds the record does. */
function bootSteps(seen: KernelSeen, before: KernelBefore | undefined): Step[] {
  const { list } = seen;
  if (!isListed(seen, before))
    return [{ does: `load 9pnet_virtio and 9p at boot (${bootFile})`, run: write(bootLines) }];
  return modules
    .filter((one) => !names(list, one))
    .map((one) => {
      const { does, run } = editLine(`load ${one} at boot (${listFile})`, "", one, list !== null, listFile);
      return { does, run };
    });
}

/** Whether a list loads a module: a line is its name and its parameters, up to a `#`. */
function names(list: string | null | undefined, module: string): boolean {
  return linesOf(list).some((line) => /^\s*([^\s#]*)/.exec(line)?.[1] === module);
}

function linesOf(list: string | null | undefined): string[] {
  return (list ?? "").split(/\r?\n|\r$/);
}

function listNotEditable(seen: Pick<KernelSeen, "list" | "listObstacle" | "mounts">): Plan | undefined {
  const { list, listObstacle: obstacle, mounts } = seen;
  return notEditable(listFile, `${listFile} of the guest`, list, { obstacle, mounts });
}

/** Each share sees to it: what it says already is not written again. */
function write(text: string): Script {
  const fresh = `${bootFile}.new`;
  return sh`! [ -e ${bootFile} ] || [ "$(cat -- ${bootFile}; echo .)" != ${`${text}.`} ] || exit 0
umask 022
trap ${`rm -f -- ${fresh}`} EXIT
[ -d ${bootFolder} ] || mkdir -p -- ${bootFolder}
printf %s ${text} > ${fresh}
${putInPlace(sh`${fresh}`, sh`${bootFile}`)}
changed_in ${bootFolder}`;
}

function lacks9p(seen: Needed<KernelSeen, typeof driftNeeds>): readonly Refusal[] {
  const { nineP, release = "", distribution: ids = [] } = seen;
  if (nineP === "noModules") {
    return refuse(
      "guestKernelLacks9p",
      `the guest has no /lib/modules/${release}: the kernel that runs was booted from the host, and its modules are not in the guest`,
      `put the modules of ${release} into /lib/modules of the guest, or boot a kernel that has 9p built in`,
    );
  }
  if (nineP !== "absent") return [];
  return refuse(
    "guestKernelLacks9p",
    `${`kernel ${release}`.trim()} has no 9p over virtio`,
    remedyFor(release, ids),
  );
}

/**
 * The package that brings a kernel with 9p. Kernels looked at: Debian 12 cloud and generic; EL 8 to 10;
 * openSUSE kernel-default-base; docs/guest-kernels.md has the list.
 */
export function remedyFor(release: string, ids: readonly string[]): string {
  const is = (...names: string[]): boolean => names.some((name) => ids.includes(name));
  if (is("ubuntu"))
    return "install the package linux-modules-extra for this kernel in the guest, or linux-image-generic, and boot it";
  if (is("debian")) {
    const instead = release.includes("-cloud-") ? " in place of the cloud kernel" : "";
    return `install the package linux-image-amd64 (linux-image-arm64 on ARM) in the guest${instead}, and boot it`;
  }
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
