import { type Fact, type Refusal, refuse } from "../../engine/layer";
import { sh } from "../../remote/shell/sh";
import type { ShareSpec } from "../../spec/spec";

/**
 * What libvirt's AppArmor profile of a domain cannot hold: with such a share the whole domain would not start.
 *
 * libvirt writes a profile for each domain, with each shared directory in quotes and not escaped.
 * Source: libvirt 9.0 src/security/virt-aa-helper.c (`valid_path`, `vah_add_path`), each case started on a real host;
 * apparmor.d(5) of AppArmor 3.0.
 */

/** Whether libvirt confines the domains of a host with AppArmor: it does when its daemon has a profile itself. */
export const libvirtUnderApparmor: Fact<boolean> = {
  fixed: true,
  place: "host",
  does: "see whether libvirt confines QEMU with AppArmor",
  script: sh`grep -E '^(/usr/sbin/)?(libvirtd|virtqemud) ' /sys/kernel/security/apparmor/profiles 2>/dev/null || :`,
  parse: (output) => output !== "",
};

/** Beginnings of paths, not only of their first components: `/library` begins with `/lib`. */
const forbidden = ["/lib", "/lost+found/", "/selinux/", "/usr/lib", "/usr/share/"].concat(
  ["bin/", "etc/", "lib", "sbin/"].map((name) => `/usr/local/${name}`),
);
/** May be read. */
const forbiddenToWriters = ["/initrd", "/vmlinuz"];

type Exported = Pick<ShareSpec, "source" | "readOnly">;

/** Refuses with `appArmorForbids`. */
export function apparmorRefusals({ source, readOnly }: Exported, confined: boolean): Refusal[] {
  if (!confined) return [];
  const beginnings = readOnly ? forbidden : [...forbidden, ...forbiddenToWriters];
  const beginning = beginnings.find((one) => source.startsWith(one));
  const character = /["[\]{}\\]/.exec(source)?.[0];
  if (beginning === undefined && character === undefined) return [];
  return refuse(
    "appArmorForbids",
    beginning === undefined
      ? `libvirt's AppArmor profile of the domain cannot name ${source}, for the ${character ?? ""} in it: the domain would not start`
      : `under AppArmor libvirt gives no domain a directory whose path begins with ${beginning}: with ${source} it would not start`,
    "share a directory of another name, or bind-mount this one to a place of another name and share that",
  );
}

/** A profile that allows more than the share: AppArmor takes these characters for patterns, which match themselves too. */
export function apparmorWarnings({ source }: Exported, confined: boolean): string[] {
  return confined && /[*?]/.test(source)
    ? [`to AppArmor ${source} is a pattern: the domain's QEMU may use every directory that it matches`]
    : [];
}
