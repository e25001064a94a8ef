/** Directories whose owner or content a share must never take over: the system's own, and the roots of many users' trees. */
const systemDirectories = [
  ..."/ /bin /boot /dev /etc /home /lib /lib32 /lib64 /libx32 /lost+found /media /mnt /opt /proc /root /run".split(
    " ",
  ),
  ..."/sbin /srv /sys /tmp /usr /usr/bin /usr/lib /usr/lib64 /usr/local /usr/sbin /usr/share /var /var/cache".split(
    " ",
  ),
  ..."/var/lib /var/lib/libvirt /var/lib/libvirt/images /var/lib/virtio9p /var/log /var/run /var/spool /var/tmp".split(
    " ",
  ),
];
/** Trees of which no part can be a share, on either side. */
const systemTrees = [
  "/bin",
  "/boot",
  "/dev",
  "/etc",
  "/lib",
  "/lib64",
  "/lib32",
  "/libx32",
  "/usr/lib32",
  "/usr/lib64",
  "/usr/libx32",
  "/proc",
  "/sbin",
  "/sys",
  "/usr/bin",
  "/usr/lib",
  "/usr/sbin",
];

/** Every directory above a path that could be a share itself, the nearest first. */
export function directoriesAbove(path: string): string[] {
  const parts = path.split("/").slice(1, -1);
  return parts
    .map((_, index) => `/${parts.slice(0, parts.length - index).join("/")}`)
    .filter((above) => !isSystemPath(above));
}

/** Whether a path can never be shared, nor mounted on. */
export function isSystemPath(path: string): boolean {
  return systemDirectories.includes(path) || systemTrees.some((tree) => path.startsWith(`${tree}/`));
}
