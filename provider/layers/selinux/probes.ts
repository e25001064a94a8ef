import type { Fact, Seen } from "../../engine/layer";
import { recordsIn } from "../../engine/baseline";
import { cleaningUp } from "../../engine/section";
import {
  type Equivalences,
  type FileContextRule,
  parseEquivalences,
  parseFileContexts,
} from "../../formats/file-contexts";
import { type Script, sh } from "../../remote/shell/sh";
import { entryOf } from "../shared/directory-entry";
import { liveDomain, persistentDomain } from "../shared/domain";
import { isRemembered } from "../shared/inode-snapshot";
import { hostMounts } from "../shared/mounts";
import { hostExports } from "../shared/exclusive-access";
import { without, withoutMounts } from "../shared/tree-mounts";

/** What can be seen of SELinux on a host. Each costs nothing where it is not enabled. */

/** Sets `$policy`, the policy's name: `targeted`, `default`. Source: selinux_config(5). */
export const selinuxPolicy = sh`policy=$(sed -n 's/^[ 	]*SELINUXTYPE[ 	]*=[ 	]*\([A-Za-z0-9_.-]*\).*/\1/p' /etc/selinux/config 2>/dev/null | tail -n 1)
policy=${{ text: "${policy:-targeted}" }}`;

/** The folder of the file contexts of `$policy`. */
export const contextFiles: Script = { text: '"/etc/selinux/$policy/contexts/files"' };

/** Where selinuxfs is not, SELinux is not enabled (selinux(8), policycoreutils 3.4), and the script prints nothing. */
export function onSelinux<T>(fact: Omit<Fact<T>, "place">): Fact<T> {
  return {
    ...fact,
    place: "host",
    script: sh`[ -e /sys/fs/selinux/enforce ] || exit 0
${fact.script}`,
  };
}

/** The programs of this layer, and the packages that bring them: Debian and Ubuntu; Fedora and EL. */
const programs: Readonly<Record<string, readonly [string, string]>> = {
  semanage: ["policycoreutils-python-utils", "policycoreutils-python-utils"],
  restorecon: ["policycoreutils", "policycoreutils"],
  matchpathcon: ["selinux-utils", "libselinux-utils"],
  semodule: ["policycoreutils", "policycoreutils"],
  chcon: ["coreutils", "coreutils"],
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
export const selinuxState = onSelinux<SelinuxState>({
  fixed: true,
  does: "see whether SELinux is enabled",
  script: sh`echo enabled
printf 'ranges=%s\n' "$(cat /sys/fs/selinux/mls)"
for program in ${Object.keys(programs)}; do command -v "$program" >/dev/null || printf 'missing=%s\n' "$program"; done
grep -hE '^ID(_LIKE)?=' /etc/os-release 2>/dev/null || :`,
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
});

/** What brings a program that is missing, in the words of that distribution where it is known. */
export function packageOf(program: string, distribution: readonly string[]): string {
  const [debian, fedora] = programs[program] ?? [program, program];
  if (debian === fedora) return `package ${debian}`;
  if (distribution.includes("debian") || distribution.includes("ubuntu")) return `package ${debian}`;
  return distribution.includes("fedora") ? `package ${fedora}` : `package ${debian} or ${fedora}`;
}

/** The rules that were made on this host, in their order. Reading the file takes 0.05 s, `semanage fcontext -l -C` 5 s. */
export const localRules = onSelinux<readonly FileContextRule[]>({
  does: "read the host's own file-context rules",
  precondition: true,
  script: sh`${selinuxPolicy}
cat ${contextFiles}/file_contexts.local 2>/dev/null || :`,
  parse: parseFileContexts,
});

export const equivalences = onSelinux<Equivalences>({
  fixed: true,
  does: "read which paths are labelled as others",
  script: sh`${selinuxPolicy}
cat ${contextFiles}/file_contexts.subs_dist 2>/dev/null || :
echo '#local'
cat ${contextFiles}/file_contexts.subs 2>/dev/null || :`,
  parse(output) {
    const [distribution = "", local = ""] = output.split("#local\n");
    return { distribution: parseEquivalences(distribution), local: parseEquivalences(local) };
  },
});

/**
 * Sets `$files`, `$local` and `$folder`, which goes with the script. A file of rules `$folder/rules` is read with the
 * host's equivalences (libselinux 3.4 label_file.c, `init`).
 */
const toAsk = sh`${selinuxPolicy}
files=${contextFiles}
local="$files/file_contexts.local"
[ -e "$local" ] || local=/dev/null
folder=$(mktemp -d)
trap 'rm -rf -- "$folder"' EXIT
for name in subs subs_dist; do
  [ ! -e "$files/file_contexts.$name" ] || cat "$files/file_contexts.$name" > "$folder/rules.$name"
done`;

/** awk: rules of one path alone, at which libselinux looks first. Sample: `/etc/fstab\.d -d system_u:object_r:etc_t:s0`. */
const ofOnePath = '{ path = $1; gsub(/\\\\./, "", path) } path !~ /^#|[.^$?*+|[({]/ && (NF == 2 || NF == 3)';

/** What the host's rules are to one directory, in libselinux's judgement. */
export interface RulesAt {
  /** The rule of exactly this path that holds for it, whatever other rules say. */
  readonly exact: FileContextRule | undefined;
  /** Which of the host's own rules ({@link localRules}, from 0) have patterns that match it, for whatever kind of entry. */
  readonly matching: readonly number[];
}

/**
 * Asks libselinux which rules match a directory, whether it is there or not: patterns are PCRE's.
 *
 * Each rule stands in a file with its number for a context. The last that matches answers, and then those before it are
 * asked. Samples of lines: `match 3`, `exact /srv/a -d system_u:object_r:var_t:s0`.
 */
export function rulesAt(path: string): Fact<RulesAt> {
  return onSelinux({
    does: `ask which file-context rules match ${path}`,
    script: sh`command -v matchpathcon >/dev/null || exit 0
${toAsk}
awk '$1 !~ /^#/ && (NF == 2 || NF == 3) { n++; path = $1; gsub(/\\./, "", path); if (path ~ /[.^$?*+|[({]/) print $1, n - 1 }' "$local" > "$folder/all"
cp "$folder/all" "$folder/rules"
while match=$(matchpathcon -N -n -f "$folder/rules" -- ${path}) && [ "$match" != '<<none>>' ]; do
  printf 'match %s\n' "$match"
  awk -v last="$match" '$2 < last' "$folder/all" > "$folder/rules"
done
cat "$files/file_contexts" "$files/file_contexts.homedirs" "$local" 2>/dev/null | awk ${ofOnePath} > "$folder/all"
awk '{ $NF = NR; print }' "$folder/all" > "$folder/rules"
exact=$(matchpathcon -N -n -m d -f "$folder/rules" -- ${path}) || exit 0
[ "$exact" = '<<none>>' ] || printf 'exact %s\n' "$(sed -n "$exact"p "$folder/all")"`,
    parse: (output) => ({
      exact: parseFileContexts(/^exact (.*)$/m.exec(output)?.[1] ?? "")[0],
      matching: [...output.matchAll(/^match (\d+)$/gm)].map(([, number]) => Number(number)),
    }),
  });
}

/** The contexts in a tree. */
export interface Labels {
  /** Of the directory itself. */
  readonly own: string;
  /** Of what is in it, on its file system, most first. */
  readonly inside: readonly LabelsInside[];
  /** Whether there are symbolic links in it. */
  readonly links: boolean;
}

/** Entries of one context, to which the rules say the same. */
export interface LabelsInside {
  readonly context: string;
  readonly count: number;
  /**
   * The context that the rules say, `<<none>>` for none, or the number of the host's own rule ({@link localRules}, from
   * 0) that says it. Undefined: nothing but what holds for the directory.
   */
  readonly ruled?: string | number | undefined;
}

/**
 * Undefined: the directory is not there. No name is printed: the guest chooses names. What is mounted in it is left out.
 *
 * libselinux is asked what the rules say of entries. Where the directory has the label of a share already: all rules, of
 * entries with other types. Elsewhere the share's rule is still to come, which holds against the policy's patterns: the
 * host's own rules and those of one path, of all entries. Samples of lines behind the directory's own label:
 * `7 f system_u:object_r:svirt_image_t:s0 -`, `2 d system_u:object_r:var_log_t:s0 =3`.
 */
export function labelsOf(path: string, type = ""): Fact<Labels | undefined> {
  return onSelinux({
    does: `look at the labels in ${path} ${type && `(${type})`}`.trim(),
    script: sh`if ! [ -d ${path} ] || [ -L ${path} ]; then exit 0; fi
${withoutMounts(path, labelsHere(path, type))}`,
    parse(output) {
      const [own = ""] = output.split("\n", 1);
      if (own === "") return undefined;
      const inside = new Map<string, LabelsInside>();
      let links = false;
      for (const [, count, kind, context = "", said = ""] of output.matchAll(
        /^ *(\d+) (\S) (\S*) ?(\S*)$/gm,
      )) {
        const key = `${context} ${said}`;
        const ruled = said.startsWith("=") ? Number(said.slice(1)) : said.replace(/^-$/, "") || undefined;
        inside.set(key, { context, count: Number(count) + (inside.get(key)?.count ?? 0), ruled });
        links ||= kind === "l";
      }
      return { own, inside: [...inside.values()].sort((a, b) => b.count - a.count), links };
    },
  });
}

/** What {@link labelsOf} prints, in the working directory, which is `path`. */
function labelsHere(path: string, type: string): Script {
  return sh`${cleaningUp}
stat -c %C .
${without(sh`printf '%s\n' "$mounts"`, path)}
command -v matchpathcon >/dev/null || { find ${path} -xdev -mindepth 1 "$@" -printf '%y %Z -\n' | sort | uniq -c; exit; }
own=$(stat -c %C . | cut -d : -f 3)
${toAsk}
case $own in
svirt_image_t|virt_content_t|${type})
  rules="$files/file_contexts" same="^. [^ :]*:[^ :]*:$own[: ]" ;;
*)
  rules="$folder/rules" same='^$'
  { cat "$files/file_contexts" "$files/file_contexts.homedirs" 2>/dev/null | awk ${ofOnePath}
    awk '$1 !~ /^#/ && (NF == 2 || NF == 3) { $NF = "=" n++; print }' "$local"; } > "$rules" ;;
esac
find ${path} -xdev -mindepth 1 "$@" -printf '%y %Z %p\0' | tr '\0\n' '\n\0' |
  sed -n -E -e "/$same/{s/^(. [^ ]*) .*/\1 -/;p;d}" -e "w $folder/asked" > "$folder/same"
cut -d ' ' -f 3- "$folder/asked" | tr '\n\0' '\0\n' | xargs -0 -r matchpathcon -N -n -f "$rules" -- > "$folder/ruled" || :
[ "$(wc -l < "$folder/asked")" -eq "$(wc -l < "$folder/ruled")" ] || : > "$folder/ruled"
[ "$rules" = "$files/file_contexts" ] || sed -i 's/^<<none>>$/-/' "$folder/ruled"
cut -d ' ' -f 1,2 "$folder/asked" | paste -d ' ' - "$folder/ruled" | cat "$folder/same" - | sort | uniq -c`;
}

/** What each boolean of the policy is, for those that decide over file systems without labels. Undefined: no such boolean. */
export type Booleans = Readonly<Record<string, boolean>>;

/** Source: SELinux Project, refpolicy virt.te; the file holds the current and the pending value: `1 1`. */
export const virtBooleans = onSelinux<Booleans>({
  fixed: true,
  does: "read the host's SELinux booleans for virtualization",
  script: sh`for name in virt_use_nfs virt_use_fusefs virt_use_samba; do
  if [ -e /sys/fs/selinux/booleans/$name ]; then printf '%s %s\n' "$name" "$(cat /sys/fs/selinux/booleans/$name)"; fi
done`,
  parse: (output) =>
    Object.fromEntries(
      [...output.matchAll(/^(\S+) (\d)/gm)].map(([, name = "", value]) => [name, value === "1"] as const),
    ),
});

/**
 * The range of a file that a confined QEMU makes in a directory of `svirt_image_t:s0`: `s0` where the policy gives
 * it the directory's, `s0:c1,c2` where it gives it QEMU's own. Empty: the policy knows no such thing.
 *
 * The kernel computes it when asked through selinuxfs (Linux 6.1 security/selinux/selinuxfs.c `sel_write_create`).
 */
export const rangeOfNewFiles = onSelinux<string>({
  does: "ask the policy which range the guest's new files get",
  script: sh`class=$(cat /sys/fs/selinux/class/file/index)
{ printf '%s' "system_u:system_r:svirt_t:s0:c1,c2 system_u:object_r:svirt_image_t:s0 $class" >&3 && cat <&3; } 3<>/sys/fs/selinux/create 2>/dev/null || :`,
  // The kernel's answer ends in a NUL.
  parse: (output) => /^[^:]+:[^:]+:[^:]+:([^\0\n]*)/.exec(output)?.[1] ?? "",
});

/** Whether the policy has a type. */
export function typeKnown(type: string): Fact<boolean> {
  return onSelinux({
    fixed: true,
    does: `see whether the policy knows the type ${type}`,
    script: sh`range=''
[ "$(cat /sys/fs/selinux/mls)" != 1 ] || range=:s0
if printf '%s' "system_u:object_r:"${type}"$range" > /sys/fs/selinux/context 2>/dev/null; then echo known; fi`,
    parse: (output) => output.trim() === "known",
  });
}

/** What a share wants. */
export interface SelinuxWant {
  readonly path: string;
  /** The type that is written out; undefined: by who writes. */
  readonly type: string | undefined;
  readonly readOnly: boolean;
  readonly always: boolean;
  readonly newFiles: "auto" | "inherit" | "ignore";
  readonly recursive: boolean | undefined;
  readonly giveBack: boolean;
}

/** All that is asked for a share. */
export const selinuxFacts = (want: SelinuxWant) => ({
  entry: entryOf(want.path),
  state: selinuxState,
  rules: localRules,
  equivalences,
  rulesAt: rulesAt(want.path),
  labels: labelsOf(want.path, want.type),
  mounts: hostMounts,
  booleans: virtBooleans,
  newRange: rangeOfNewFiles,
  typeKnown: typeKnown(want.type ?? "svirt_image_t"),
  exports: hostExports,
  // What its entries had at first contact is written down.
  remembered: isRemembered({ of: "labels", path: want.path }),
  // Of all directories whose labels were changed, by path.
  recorded: recordsIn("host", "selinux"),
  persistent: persistentDomain,
  live: liveDomain,
});

/** What can be seen of SELinux for a share. */
export type SelinuxSeen = Seen<ReturnType<typeof selinuxFacts>>;
