import type { Fact } from "../engine/concern";
import {
  type Equivalence,
  type FileContextRule,
  literalOf,
  parseEquivalences,
  parseFileContexts,
} from "../formats/file-contexts";
import { type Script, sh } from "../formats/shell";

/** What can be seen of SELinux on a host. Each costs nothing where it is not enabled. */

/** Where selinuxfs is, enforcing or permissive; elsewhere SELinux is not enabled (selinux(8), policycoreutils 3.4). */
const selinuxfs = "/sys/fs/selinux";

/** Sets `$policy`, the policy's name: `targeted`, `default`. Source: selinux_config(5). */
export const selinuxPolicy = sh`policy=$(sed -n 's/^[ 	]*SELINUXTYPE[ 	]*=[ 	]*\([A-Za-z0-9_.-]*\).*/\1/p' /etc/selinux/config 2>/dev/null | tail -n 1)
policy=${{ text: "${policy:-targeted}" }}`;

/** The folder of the file contexts of `$policy`. */
export const contextFiles: Script = { text: '"/etc/selinux/$policy/contexts/files"' };

function onSelinux(script: Script): Script {
  return sh`[ -e ${`${selinuxfs}/enforce`} ] || exit 0
${script}`;
}

/** The programs of this layer, and the packages that bring them: Debian and Ubuntu; Fedora and EL. */
const programs: Readonly<Record<string, readonly [string, string]>> = {
  semanage: ["policycoreutils-python-utils", "policycoreutils-python-utils"],
  restorecon: ["policycoreutils", "policycoreutils"],
  semodule: ["policycoreutils", "policycoreutils"],
  chcon: ["coreutils", "coreutils"],
  find: ["findutils", "findutils"],
  awk: ["mawk", "gawk"],
  unshare: ["util-linux", "util-linux"],
};

/** Of SELinux itself. */
export interface SelinuxState {
  readonly enabled: boolean;
  /** Whether the policy has ranges (MLS or MCS). */
  readonly ranges: boolean;
  /** What of this layer's programs is not there. */
  readonly missing: readonly string[];
  readonly distribution: readonly string[];
}

/** Samples of lines: `ranges=1`, `missing=semanage`, `ID="rocky"`. */
export const selinuxState: Fact<SelinuxState> = {
  key: "selinux",
  place: "host",
  does: "see whether SELinux is enabled",
  script: onSelinux(sh`echo enabled
printf 'ranges=%s\n' "$(cat ${`${selinuxfs}/mls`})"
for program in ${Object.keys(programs)}; do command -v "$program" >/dev/null || printf 'missing=%s\n' "$program"; done
grep -hE '^ID(_LIKE)?=' /etc/os-release 2>/dev/null || :`),
  parse(output) {
    const values = (name: string): string[] =>
      [...output.matchAll(new RegExp(`^${name}=["']?([^"'\\n]*)`, "gm"))].map(([, value = ""]) => value);
    return {
      enabled: output.startsWith("enabled"),
      ranges: values("ranges")[0] === "1",
      missing: values("missing"),
      distribution: values("ID(?:_LIKE)?").flatMap((value) => value.split(" ")),
    };
  },
};

/** What brings a program that is missing, in the words of that distribution where it is known. */
export function packageOf(program: string, distribution: readonly string[]): string {
  const [debian, fedora] = programs[program] ?? [program, program];
  if (debian === fedora) return `package ${debian}`;
  if (distribution.includes("debian") || distribution.includes("ubuntu")) return `package ${debian}`;
  return distribution.includes("fedora") ? `package ${fedora}` : `package ${debian} or ${fedora}`;
}

/** The rules that were made on this host, in their order. Reading the file takes 0.05 s, `semanage fcontext -l -C` 5 s. */
export const localRules: Fact<readonly FileContextRule[]> = {
  key: "local file contexts",
  place: "host",
  does: "read the host's own file-context rules",
  guard: true,
  script: onSelinux(sh`${selinuxPolicy}
cat ${contextFiles}/file_contexts.local 2>/dev/null || :`),
  parse: parseFileContexts,
};

/** The policy's equivalences, and the host's own. */
export interface Equivalences {
  readonly distribution: readonly Equivalence[];
  readonly local: readonly Equivalence[];
}

export const equivalences: Fact<Equivalences> = {
  key: "file context equivalences",
  place: "host",
  does: "read which paths are labelled as others",
  script: onSelinux(sh`${selinuxPolicy}
cat ${contextFiles}/file_contexts.subs_dist 2>/dev/null || :
echo '#local'
cat ${contextFiles}/file_contexts.subs 2>/dev/null || :`),
  parse(output) {
    const [distribution = "", local = ""] = output.split("#local\n");
    return { distribution: parseEquivalences(distribution), local: parseEquivalences(local) };
  },
};

/**
 * The policy's own rules without any wildcard at a path or inside it: libselinux looks at those first, so that
 * a rule of the tree does not hold there.
 */
export function exactRules(path: string): Fact<readonly (FileContextRule & { readonly path: string })[]> {
  return {
    key: `exact file contexts of ${path}`,
    place: "host",
    does: `see whether the policy has rules of its own for single paths in ${path}`,
    script: onSelinux(sh`${selinuxPolicy}
cat ${contextFiles}/file_contexts ${contextFiles}/file_contexts.homedirs 2>/dev/null |
  at=${path} awk '{ path = $1; gsub(/\\./, "", path); if (path ~ /[.^$?*+|[({]/) next
    path = $1; gsub(/\\/, "", path); if (path == ENVIRON["at"] || index(path, ENVIRON["at"] "/") == 1) print }'`),
    parse: (output) =>
      parseFileContexts(output).flatMap((rule) => {
        const literal = literalOf(rule.pattern);
        return literal ? [{ ...rule, path: literal.path }] : [];
      }),
  };
}

/** The contexts in a tree. */
export interface Labels {
  /** Of the directory itself. */
  readonly own: string;
  /** Of what is in it, on its file system, most first. */
  readonly inside: readonly { readonly context: string; readonly count: number }[];
  /** Whether there are symbolic links in it. */
  readonly links: boolean;
}

/** Undefined: the directory is not there. No name is printed: the guest chooses names. */
export function labelsOf(path: string): Fact<Labels | undefined> {
  return {
    key: `labels ${path}`,
    place: "host",
    does: `look at the labels in ${path}`,
    script: onSelinux(sh`if [ -d ${path} ] && ! [ -L ${path} ]; then
  cd -P -- ${path}
  stat -c %C .
  find . -xdev -mindepth 1 -printf '%y %Z\n' | sort | uniq -c | sort -rn
fi`),
    parse(output) {
      const [own = "", ...counts] = output.split("\n").filter((line) => line !== "");
      if (own === "") return undefined;
      const kinds = counts.flatMap((line) => {
        const [, count, kind, context = ""] = /^\s*(\d+) (\S) (.*)$/.exec(line) ?? [];
        return count === undefined ? [] : [{ count: Number(count), kind, context }];
      });
      const inside = new Map<string, number>();
      for (const { context, count } of kinds) inside.set(context, (inside.get(context) ?? 0) + count);
      return {
        own,
        inside: [...inside].map(([context, count]) => ({ context, count })).sort((a, b) => b.count - a.count),
        links: kinds.some(({ kind }) => kind === "l"),
      };
    },
  };
}

/** What each boolean of the policy is, for those that decide over file systems without labels. Undefined: no such boolean. */
export type Booleans = Readonly<Record<string, boolean>>;

/** Source: SELinux Project, refpolicy virt.te; the file holds the current and the pending value: `1 1`. */
export const virtBooleans: Fact<Booleans> = {
  key: "booleans of virt",
  place: "host",
  does: "read the host's SELinux booleans for virtualization",
  script: onSelinux(sh`for name in virt_use_nfs virt_use_fusefs virt_use_samba; do
  if [ -e ${`${selinuxfs}/booleans`}/$name ]; then printf '%s %s\n' "$name" "$(cat ${`${selinuxfs}/booleans`}/$name)"; fi
done`),
  parse: (output) =>
    Object.fromEntries(
      [...output.matchAll(/^(\S+) (\d)/gm)].map(([, name = "", value]) => [name, value === "1"] as const),
    ),
};

/**
 * The range of a file that a confined QEMU makes in a directory of `svirt_image_t:s0`: `s0` where the policy gives
 * it the directory's, `s0:c1,c2` where it gives it QEMU's own. Empty: the policy knows no such thing.
 *
 * The kernel computes it when asked through selinuxfs (Linux 6.1 security/selinux/selinuxfs.c `sel_write_create`).
 */
export const rangeOfNewFiles: Fact<string> = {
  key: "range of new files",
  place: "host",
  does: "ask the policy which range the guest's new files get",
  script: onSelinux(sh`class=$(cat ${`${selinuxfs}/class/file/index`})
{ printf '%s' "system_u:system_r:svirt_t:s0:c1,c2 system_u:object_r:svirt_image_t:s0 $class" >&3 && cat <&3; } 3<>${`${selinuxfs}/create`} 2>/dev/null || :`),
  // The kernel's answer ends in a NUL.
  parse: (output) => /^[^:]+:[^:]+:[^:]+:([^\0\n]*)/.exec(output)?.[1] ?? "",
};

/** Whether the policy has a type. */
export function typeKnown(type: string): Fact<boolean> {
  return {
    key: `type ${type}`,
    place: "host",
    does: `see whether the policy knows the type ${type}`,
    script: onSelinux(sh`range=''
[ "$(cat ${`${selinuxfs}/mls`})" != 1 ] || range=:s0
if printf '%s' "system_u:object_r:"${type}"$range" > ${`${selinuxfs}/context`} 2>/dev/null; then echo known; fi`),
    parse: (output) => output.trim() === "known",
  };
}
