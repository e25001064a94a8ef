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
  readonly layers: Readonly<Record<string, "missing" | "differs" | "unknown">>;
  /**
   * What else a refresh stores: the machine's values, as inputs, and the status where it is not `drifted` for the first
   * of the layers.
   */
  readonly stored?: Readonly<Record<string, unknown>>;
}

const directory: readonly Drifted[] = [
  {
    what: "directory owner",
    host: "chown root /srv/v9p-drift",
    says: [/warning: share: directory\.owner is "root" \(directory\)/],
    layers: { directory: "differs" },
    stored: { inputs: { directory: { owner: "root", group: "qemu", mode: "0770" } } },
  },
  {
    what: "directory group",
    host: "chgrp users /srv/v9p-drift",
    says: [/warning: share: directory\.group is "users" \(directory\)/],
    layers: { directory: "differs" },
    stored: { inputs: { directory: { owner: "qemu", group: "users", mode: "0770" } } },
  },
  {
    what: "directory mode",
    host: "chmod 0700 /srv/v9p-drift",
    says: [/warning: share: directory\.mode is "0700" \(directory\)/],
    layers: { directory: "differs" },
    stored: { inputs: { directory: { owner: "qemu", group: "qemu", mode: "0700" } } },
  },
  {
    what: "directory shut to QEMU",
    host: "chown root:root /srv/v9p-drift; chmod 0700 /srv/v9p-drift",
    says: [
      /warning: share: directory\.owner is "root" \(directory\)/,
      /warning: share: directory\.mode is "0700" \(directory\)/,
      /warning: share: the guest cannot look at \/mnt\/share: .*Permission denied/,
    ],
    layers: { directory: "differs", mount: "unknown", guestOwnership: "unknown" },
    stored: { inputs: { directory: { owner: "root", group: "root", mode: "0700" } } },
  },
];

const device: readonly Drifted[] = [
  {
    what: "device taken out of the definition",
    host: "undeclare share",
    says: [/warning: share: v9p-drift has no filesystem share/],
    layers: { device: "missing" },
  },
  {
    what: "device taken out, and the guest restarted without it",
    host: "undeclare share; virsh shutdown $domain; until_off",
    says: [
      /warning: share: v9p-drift has no filesystem share/,
      /warning: share: \/mnt\/share is not mounted in the guest/,
    ],
    layers: { device: "missing", mount: "missing" },
    stored: { status: "pendingPowerCycle", statusReason: "deviceNotLive" },
  },
  {
    what: "access mode in the definition",
    host: "redeclare share s/mapped/passthrough/",
    says: [/warning: share: accessMode is "passthrough" \(device\)/],
    layers: { device: "differs" },
    stored: { inputs: { accessMode: "passthrough" } },
  },
  {
    what: "source in the definition",
    host: "redeclare share s:/srv/v9p-drift:/srv/v9p-drift-ro:",
    says: [/warning: share: source is "\/srv\/v9p-drift-ro" \(device\)/],
    layers: { device: "differs" },
    stored: { inputs: { source: "/srv/v9p-drift-ro" } },
  },
  {
    what: "read-only dropped",
    share: "readonly",
    host: "redeclare readonly '/<readonly/d'",
    says: [/warning: readonly: readOnly is false \(device\)/],
    layers: { device: "differs" },
    stored: { inputs: { readOnly: false } },
  },
  {
    what: "read-only dropped, and the guest restarted",
    share: "readonly",
    host: "redeclare readonly '/<readonly/d'; virsh shutdown $domain; until_off",
    says: [/warning: readonly: readOnly is false \(device\)/],
    layers: { device: "differs" },
    stored: {
      status: "pendingPowerCycle",
      statusReason: "deviceDiffersLive",
      inputs: { readOnly: false },
    },
  },
];

const guest: readonly Drifted[] = [
  {
    what: "fstab line taken out",
    guest: "sed -i '/^share /d' /etc/fstab",
    says: [/warning: share: the guest's fstab has no line for \/mnt\/share/],
    layers: { fstab: "missing" },
  },
  {
    what: "fstab options",
    guest: "sed -i '/^share /s/nofail,//' /etc/fstab",
    says: [
      /warning: share: the guest's fstab has "share .*_netdev,nodev.*, wanted is "share .*_netdev,nofail/,
    ],
    layers: { fstab: "differs" },
  },
  {
    what: "unmounted",
    guest: "umount /mnt/share",
    says: [/warning: share: \/mnt\/share is not mounted in the guest/],
    layers: { mount: "missing" },
    stored: { status: "pendingRemount", statusReason: "notMounted" },
  },
  {
    what: "unmounted, and the mount point gone",
    guest: "umount /mnt/share && rmdir /mnt/share",
    says: [/warning: share: \/mnt\/share is not mounted in the guest/],
    layers: { mount: "missing" },
    stored: { status: "pendingRemount", statusReason: "notMounted" },
  },
  {
    what: "mounted with another option",
    guest: "mount -o remount,ro /mnt/share",
    says: [/warning: share: \/mnt\/share differs in its mount options: it has ro; wanted is rw/],
    layers: { mount: "differs" },
    stored: { status: "pendingRemount", statusReason: "mountDiffers" },
  },
  {
    what: "modules not loaded at boot, for the file is gone",
    guest: "rm /etc/modules-load.d/virtio9p.conf",
    says: [/warning: share: 9p is not loaded at the guest's boot: \S+virtio9p\.conf is not there/],
    layers: { modules: "missing" },
  },
  {
    what: "modules not loaded at boot, for the file was changed",
    guest: "echo '# 9p' > /etc/modules-load.d/virtio9p.conf",
    says: [/warning: share: 9p is not loaded at the guest's boot: \S+virtio9p\.conf is not ours/],
    layers: { modules: "differs" },
  },
  {
    what: "owner in the guest",
    guest: "chown root /mnt/share",
    // By number, for this guest's busybox finds no user that has no password.
    says: [/warning: share: guest\.owner is "0" \(guestOwnership\)/],
    layers: { guestOwnership: "differs" },
    stored: { inputs: { guest: { owner: "0", group: "nogroup", mode: "0750" } } },
  },
  {
    what: "group in the guest",
    guest: "chgrp users /mnt/share",
    says: [/warning: share: guest\.group is "users" \(guestOwnership\)/],
    layers: { guestOwnership: "differs" },
    stored: { inputs: { guest: { owner: "nobody", group: "users", mode: "0750" } } },
  },
  {
    what: "mode in the guest",
    guest: "chmod 0711 /mnt/share",
    says: [/warning: share: guest\.mode is "0711" \(guestOwnership\)/],
    layers: { guestOwnership: "differs" },
    stored: { inputs: { guest: { owner: "nobody", group: "nogroup", mode: "0711" } } },
  },
  {
    what: "attributes wiped on the host",
    host: "for name in uid gid mode; do setfattr -x user.virtfs.$name /srv/v9p-drift; done",
    says: [
      /warning: share: guest\.owner is "\d+" \(guestOwnership\)/,
      /warning: share: guest\.group is "\d+" \(guestOwnership\)/,
      /warning: share: guest\.mode is "0770" \(guestOwnership\)/,
    ],
    layers: { guestOwnership: "differs" },
    stored: { inputs: { guest: { mode: "0770" } } },
  },
];

/** One row a drift, for the shares of the drift test. */
export const driftedByHand: readonly Drifted[] = [...directory, ...device, ...guest];
