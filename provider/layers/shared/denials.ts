import type { Fact } from "../../engine/layer";
import { linesIn } from "../../formats/lines-in";
import { sh } from "../../remote/shell/sh";
import { withoutMounts } from "./tree-mounts";

/**
 * What the host's kernel has denied a confined QEMU in a directory within the last hour by its clock, newest last,
 * three at most; from the kernel's log or auditd's, in which an earlier cause may still be long after it was mended.
 * Samples:
 *
 * ```
 * avc:  denied  { write } for  pid=812 comm="qemu-system-x86" name="bar" dev="vda" ino=131 scontext=system_u:system_r:svirt_t:s0:c1,c2 tcontext=system_u:object_r:etc_t:s0 tclass=dir permissive=0
 * apparmor="DENIED" operation="open" profile="libvirt-5a0c2f9e-..." name="/foo/bar/x" pid=812 comm="qemu-system-x86"
 * ```
 * SELinux names an entry by its last component and its inode, which is looked for in the directory. A name with a
 * blank, a quote or a letter beyond ASCII is logged in hexadecimal; it is shown as text.
 *
 * Source: Linux 6.1 security/lsm_audit.c, security/selinux/avc.c, security/apparmor/audit.c, kernel/audit.c
 * (`audit_log_untrustedstring`).
 */
export function denialsAt(path: string): Fact<readonly string[]> {
  const hex = Buffer.from(path).toString("hex").toUpperCase();
  return {
    place: "host",
    does: `see what the kernel denied at ${path}`,
    script: sh`denied=$({ dmesg 2>/dev/null || :; tail -n 2000 /var/log/audit/audit.log 2>/dev/null || :; } |
  grep -aE 'avc: +denied.*scontext=[^ ]*:svirt|apparmor="DENIED"' |
  awk -v since="$(($(date +%s) - 3600))" 'match($0, /audit\([0-9]+/) && substr($0, RSTART + 6, RLENGTH - 6) + 0 >= since' |
  sed 's/.*\(avc: *denied\|apparmor="DENIED"\)/\1/' | tail -n 50)
wanted=''
for inode in $(printf '%s\n' "$denied" | sed -n 's/^avc.* ino=\([0-9][0-9]*\).*/\1/p' | sort -u); do
  wanted="$wanted -o -inum $inode"
done
export wanted
inside=''
[ -z "$wanted" ] || inside=$({
${withoutMounts(path, sh`find . -xdev '(' -inum 0 $wanted ')' -printf ' %i'`)}
} 2>/dev/null) || :
printf '%s\n' "$denied" | path=${path} hex=${hex} inside="$inside " awk '
  function here(quote, path, slash, end) {
    return index($0 end, quote path end) || index($0, quote path slash)
  }
  here("\"", ENVIRON["path"], "/", "\"") || here("=", ENVIRON["hex"], "2F", " ") ||
  (match($0, / ino=[0-9]+/) && index(ENVIRON["inside"], " " substr($0, RSTART + 5, RLENGTH - 5) " "))' | tail -n 3`,
    parse: (output) =>
      linesIn(output).map((line) => line.replace(/\b(name|path)=((?:[0-9A-F]{2})+)(?= |$)/g, inText)),
  };
}

function inText(_all: string, field: string, hex: string): string {
  return `${field}=${JSON.stringify(Buffer.from(hex, "hex").toString("utf8"))}`;
}
