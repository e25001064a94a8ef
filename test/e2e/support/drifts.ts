/** A change behind the program's back, and where it has to show. */
export interface Drifted {
  readonly what: string;
  /** The share that drifts; `share` unless told. */
  readonly share?: "share" | "readonly";
  /** Scripts that make it: on the host (with the tools of the test), in the guest. */
  readonly host?: string;
  readonly guest?: string;
  /** What a preview with refresh prints. */
  readonly says: readonly RegExp[];
  /** The layers that are stored as not ok. */
  readonly layers: Readonly<Record<string, "missing" | "differs">>;
  /** What else a refresh stores: the machine's values, as inputs. */
  readonly stored?: Readonly<Record<string, unknown>>;
}

const directory: readonly Drifted[] = [
  {
    what: "directory owner",
    host: "chown root /srv/v9p-drift",
    says: [/share: warning: directory\.owner is "root" \(directory\)/],
    layers: { directory: "differs" },
    stored: { inputs: { directory: { owner: "root", group: "qemu", mode: "0770" } } },
  },
  {
    what: "directory group",
    host: "chgrp users /srv/v9p-drift",
    says: [/share: warning: directory\.group is "users" \(directory\)/],
    layers: { directory: "differs" },
    stored: { inputs: { directory: { owner: "qemu", group: "users", mode: "0770" } } },
  },
  {
    what: "directory mode",
    host: "chmod 0700 /srv/v9p-drift",
    says: [/share: warning: directory\.mode is "0700" \(directory\)/],
    layers: { directory: "differs" },
    stored: { inputs: { directory: { owner: "qemu", group: "qemu", mode: "0700" } } },
  },
];

const device: readonly Drifted[] = [
  {
    what: "device taken out of the definition",
    host: "undeclare share",
    says: [/share: warning: v9p-drift has no filesystem share/],
    layers: { device: "missing" },
  },
  {
    what: "device taken out, and the guest restarted without it",
    host: "undeclare share; virsh shutdown $domain; until_off",
    says: [
      /share: warning: v9p-drift has no filesystem share/,
      /share: warning: \/mnt\/share is not mounted in the guest/,
    ],
    layers: { device: "missing", mount: "missing" },
    stored: { status: "pendingPowerCycle" },
  },
  {
    what: "access mode in the definition",
    host: "redeclare share s/mapped/passthrough/",
    says: [/share: warning: accessMode is "passthrough" \(device\)/],
    layers: { device: "differs" },
    stored: { inputs: { accessMode: "passthrough" } },
  },
  {
    what: "source in the definition",
    host: "redeclare share s:/srv/v9p-drift:/srv/v9p-drift-ro:",
    says: [/share: warning: source is "\/srv\/v9p-drift-ro" \(device\)/],
    layers: { device: "differs" },
    stored: { inputs: { source: "/srv/v9p-drift-ro" } },
  },
  {
    what: "read-only dropped",
    share: "readonly",
    host: "redeclare readonly '/<readonly/d'",
    says: [/readonly: warning: readOnly is false \(device\)/],
    layers: { device: "differs" },
    stored: { inputs: { readOnly: false } },
  },
  {
    what: "read-only dropped, and the guest restarted",
    share: "readonly",
    host: "redeclare readonly '/<readonly/d'; virsh shutdown $domain; until_off",
    says: [/readonly: warning: readOnly is false \(device\)/],
    layers: { device: "differs" },
    stored: { inputs: { readOnly: false } },
  },
];

const guest: readonly Drifted[] = [
  {
    what: "fstab line taken out",
    guest: "sed -i '/^share /d' /etc/fstab",
    says: [/share: warning: the guest's fstab has no line for \/mnt\/share/],
    layers: { fstab: "missing" },
  },
  {
    what: "fstab options",
    guest: "sed -i '/^share /s/nofail,//' /etc/fstab",
    says: [
      /share: warning: the guest's fstab has "share .*_netdev,nodev.*, wanted is "share .*_netdev,nofail/,
    ],
    layers: { fstab: "differs" },
  },
  {
    what: "unmounted",
    guest: "umount /mnt/share",
    says: [/share: warning: \/mnt\/share is not mounted in the guest/],
    layers: { mount: "missing" },
    stored: { status: "pendingRemount", statusReason: "notMounted" },
  },
  {
    what: "unmounted, and the mount point gone",
    guest: "umount /mnt/share && rmdir /mnt/share",
    says: [/share: warning: \/mnt\/share is not mounted in the guest/],
    layers: { mount: "missing" },
  },
  {
    what: "mounted with another option",
    guest: "mount -o remount,ro /mnt/share",
    says: [/share: warning: \/mnt\/share differs in its mount options: \(without\) ro/],
    layers: { mount: "differs" },
    stored: { status: "pendingRemount", statusReason: "mountDiffers" },
  },
  {
    what: "modules not loaded at boot, for the file is gone",
    guest: "rm /etc/modules-load.d/virtio9p.conf",
    says: [/share: warning: 9p is not loaded at the guest's boot: \S+virtio9p\.conf is not there/],
    layers: { modules: "missing" },
  },
  {
    what: "modules not loaded at boot, for the file was changed",
    guest: "echo '# 9p' > /etc/modules-load.d/virtio9p.conf",
    says: [/share: warning: 9p is not loaded at the guest's boot: \S+virtio9p\.conf is not ours/],
    layers: { modules: "differs" },
  },
  {
    what: "owner in the guest",
    guest: "chown root /mnt/share",
    says: [/share: warning: guest\.owner is "root" \(guestOwnership\)/],
    layers: { guestOwnership: "differs" },
    stored: { inputs: { guest: { owner: "root", group: "nogroup", mode: "0750" } } },
  },
  {
    what: "group in the guest",
    guest: "chgrp users /mnt/share",
    says: [/share: warning: guest\.group is "users" \(guestOwnership\)/],
    layers: { guestOwnership: "differs" },
    stored: { inputs: { guest: { owner: "nobody", group: "users", mode: "0750" } } },
  },
  {
    what: "mode in the guest",
    guest: "chmod 0711 /mnt/share",
    says: [/share: warning: guest\.mode is "0711" \(guestOwnership\)/],
    layers: { guestOwnership: "differs" },
    stored: { inputs: { guest: { owner: "nobody", group: "nogroup", mode: "0711" } } },
  },
  {
    what: "attributes wiped on the host",
    host: "for name in uid gid mode; do setfattr -x user.virtfs.$name /srv/v9p-drift; done",
    says: [
      /share: warning: guest\.owner is "\d+" \(guestOwnership\)/,
      /share: warning: guest\.group is "\d+" \(guestOwnership\)/,
      /share: warning: guest\.mode is "0770" \(guestOwnership\)/,
    ],
    layers: { guestOwnership: "differs" },
    stored: { inputs: { guest: { mode: "0770" } } },
  },
];

/** One row a drift, for the shares of the drift test. */
export const driftedByHand: readonly Drifted[] = [...directory, ...device, ...guest];
