import type { Fact } from "../engine/concern";
import { sh } from "../formats/shell";

/**
 * What the host's kernel has denied a confined QEMU at a directory, newest last, three at most; from the kernel's log
 * or auditd's. Samples:
 *
 * ```
 * avc:  denied  { write } for  pid=812 comm="qemu-system-x86" name="bar" dev="vda" ino=131 scontext=system_u:system_r:svirt_t:s0:c1,c2 tcontext=system_u:object_r:etc_t:s0 tclass=dir permissive=0
 * apparmor="DENIED" operation="open" profile="libvirt-5a0c2f9e-..." name="/foo/bar/x" pid=812 comm="qemu-system-x86"
 * ```
 * SELinux names an entry by its last component and its inode: those of the directory itself are found, and whole
 * paths in it. Source: Linux 6.1 security/lsm_audit.c, security/selinux/avc.c, security/apparmor/audit.c.
 */
export function denialsAt(path: string): Fact<readonly string[]> {
  return {
    key: `denials at ${path}`,
    place: "host",
    does: `see what the kernel denied at ${path}`,
    script: sh`inode=$(stat -c %i -- ${path} 2>/dev/null) || inode=none
{ dmesg 2>/dev/null || :; tail -n 2000 /var/log/audit/audit.log 2>/dev/null || :; } |
  path=${path} inode=$inode awk '
    function here() { return index($0, "\"" ENVIRON["path"] "\"") || index($0, "\"" ENVIRON["path"] "/") }
    /avc: +denied/ && /scontext=[^ ]*:svirt/ && (here() || index($0 " ", " ino=" ENVIRON["inode"] " "))
    /apparmor="DENIED"/ && here()' | sed 's/.*\(avc: *denied\|apparmor="DENIED"\)/\1/' | tail -n 3`,
    parse: (output) => output.split("\n").filter((line) => line !== ""),
  };
}
