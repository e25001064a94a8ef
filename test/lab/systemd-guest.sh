# shellcheck shell=bash
# The artifact "systemd": Debian 12 as it is on real servers (systemd, udev,
# OpenSSH, the agent), without what only makes an emulated machine wait.

# shellcheck disable=SC2034 # lab uses it
SYSTEMD_RECIPE=(systemd-guest.sh guest-image.sh guests/ramdisk-init)
SYSTEMD_PACKAGES=systemd-sysv,udev,dbus,openssh-server,qemu-guest-agent,iproute2,kmod,attr,acl,hostname,sudo,busybox-static,linux-image-amd64
# The disk's virtual size; the image's file takes a tenth.
SYSTEMD_DISK_SIZE=3G
# The kernel's modules that are kept. All others are drivers of hardware that no
# guest has: without them the image is a third of the size, and udev has nothing
# to load for what it finds at boot.
SYSTEMD_MODULE_FOLDERS=(
  crypto lib net/9p net/core net/ipv4 net/ipv6 net/unix drivers/virtio
  arch/x86/crypto/crc32c-intel.ko drivers/acpi/button.ko drivers/input/evdev.ko
  drivers/block/virtio_blk.ko drivers/block/loop.ko drivers/char/virtio_console.ko
  drivers/char/hw_random drivers/net/virtio_net.ko drivers/net/net_failover.ko
  fs/9p fs/netfs fs/fscache fs/ext4 fs/jbd2 fs/mbcache.ko fs/overlayfs fs/fuse
  fs/autofs fs/nls fs/fat
)
# Units that do nothing for a guest that lives for minutes, and take seconds of
# its start.
SYSTEMD_MASKED_UNITS=(
  apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer
  e2scrub_reap.service fstrim.timer systemd-tmpfiles-clean.timer
  systemd-pstore.service systemd-random-seed.service systemd-update-utmp.service
  systemd-update-utmp-runlevel.service systemd-binfmt.service
  proc-sys-fs-binfmt_misc.automount sys-kernel-debug.mount sys-kernel-tracing.mount
  sys-kernel-config.mount dev-hugepages.mount dev-mqueue.mount
  systemd-journal-flush.service systemd-firstboot.service systemd-sysusers.service
  systemd-machine-id-commit.service systemd-repart.service systemd-pcrphase.service
  systemd-pcrphase-sysinit.service getty@tty1.service modprobe@drm.service
  systemd-network-generator.service ldconfig.service systemd-hwdb-update.service
)

# Installs the packages, without documentation, translations and needless drivers.
install_systemd_tree() {
  local tree=$1 folder options=(--dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*'
    --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/lib/modules/*/kernel/*')
  for folder in "${SYSTEMD_MODULE_FOLDERS[@]}"; do
    options+=(--dpkgopt="path-include=/lib/modules/*/kernel/$folder" --dpkgopt="path-include=/lib/modules/*/kernel/$folder/*")
  done
  debian_tree "$tree" minbase "$SYSTEMD_PACKAGES" "${options[@]}"
}

# Sets the installed tree up as a guest: a root without password on the serial
# console, an fstab with a comment and the root line, the masked units.
set_up_systemd() {
  local tree=$1 unit
  as_root chroot "$tree" passwd -d root
  # Who logs in over SSH where root may not; nobody has a key yet.
  as_root chroot "$tree" useradd -m -s /bin/bash admin
  printf 'admin ALL=(root) NOPASSWD: ALL\n' | as_root tee "$tree/etc/sudoers.d/admin"
  as_root chmod 440 "$tree/etc/sudoers.d/admin"
  printf 'lab\n' | as_root tee "$tree/etc/hostname"
  printf '127.0.0.1 localhost lab\n::1 localhost\n' | as_root tee "$tree/etc/hosts"
  printf '# The root disk; shares follow below.\n/dev/vda / ext4 rw,noatime 0 1\n' | as_root tee "$tree/etc/fstab"
  # A fixed identity: an empty one makes every boot a first boot.
  printf '%s\n' 76697274696f3970006c616200000000 | as_root tee "$tree/etc/machine-id"
  as_root mkdir -p -- "$tree"/etc/systemd/{network,system/serial-getty@ttyS0.service.d,journald.conf.d}
  printf '[Service]\nExecStart=\nExecStart=-/sbin/agetty --autologin root --noclear --keep-baud 115200 %%I vt220\n' |
    as_root tee "$tree/etc/systemd/system/serial-getty@ttyS0.service.d/autologin.conf"
  # In memory: what a guest logged is of no use after its disk is reset.
  printf '[Journal]\nStorage=volatile\n' | as_root tee "$tree/etc/systemd/journald.conf.d/volatile.conf"
  # The network is off until somebody starts systemd-networkd; it then asks for an address.
  printf '[Match]\nName=en* eth*\n\n[Network]\nDHCP=ipv4\n' | as_root tee "$tree/etc/systemd/network/80-dhcp.network"
  for unit in "${SYSTEMD_MASKED_UNITS[@]}"; do
    as_root ln -sf /dev/null "$tree/etc/systemd/system/$unit"
  done
  # sshd starts with the first connection, not with the machine.
  as_root chroot "$tree" systemctl disable ssh.service
  as_root chroot "$tree" systemctl enable ssh.socket
  as_root rm -rf -- "$tree"/var/lib/apt/lists/* "$tree"/var/cache/apt/*.bin
}

# Fills the artifact's directory: kernel, ramdisk, disk.qcow2.
make_systemd() {
  local directory=$1 tree=$1/tree
  need mmdebstrap mke2fs qemu-img xz lz4
  stage "systemd: install Debian" install_systemd_tree "$tree"
  stage "systemd: set it up" set_up_systemd "$tree"
  stage "systemd: kernel" write_kernel "$tree"/boot/vmlinuz-* "$directory/kernel"
  stage "systemd: ramdisk" write_ramdisk "$tree" "$directory/ramdisk"
  as_root rm -f -- "$tree"/boot/vmlinuz-* "$tree"/boot/System.map-*
  stage "systemd: disk" write_disk "$tree" "$SYSTEMD_DISK_SIZE" "$directory/disk.qcow2"
  discard_tree "$tree"
}
