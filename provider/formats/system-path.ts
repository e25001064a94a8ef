import { dirname } from "node:path/posix";
import { isAtOrBelow, selfAndAbove } from "./path";

/** Trees of which no part can be a share, on either side. */
const systemTrees = [
  "/bin /boot /dev /etc /lib /lib32 /lib64 /libx32 /proc /sbin /sys",
  "/usr/bin /usr/lib /usr/lib32 /usr/lib64 /usr/libx32 /usr/sbin",
].flatMap((paths) => paths.split(" "));

/** Directories that cannot be one themselves: the system's own, and the roots of many users' trees. */
const systemDirectories = [
  "/ /home /lost+found /media /mnt /opt /root /run /srv /tmp /usr /usr/local /usr/share",
  "/var /var/cache /var/lib /var/lib/libvirt /var/lib/libvirt/images /var/lib/virtio9p",
  "/var/log /var/run /var/spool /var/tmp",
].flatMap((paths) => paths.split(" "));

/** Every directory above a path that could be a share itself, the nearest first. */
export function directoriesAbove(path: string): string[] {
  return selfAndAbove(dirname(path)).filter((above) => !isSystemPath(above));
}

/** Whether a path can never be shared, nor mounted on. */
export function isSystemPath(path: string): boolean {
  return systemDirectories.includes(path) || systemTrees.some((tree) => isAtOrBelow(path, tree));
}
