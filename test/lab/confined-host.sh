# shellcheck shell=bash
# The artifact "selinux": a KVM host of its own, under SELinux enforcing or under
# AppArmor as the kernel's command line says. The machine's own kernel has neither.

# shellcheck disable=SC2034 # lab uses it
CONFINED_RECIPE=(confined-host.sh systemd-guest.sh "${SMALL_RECIPE[@]}" guests/confined/lab.cil)
CONFINED_PACKAGES=libvirt-daemon-system,libvirt-clients,qemu-system-x86,qemu-utils,selinux-policy-default,policycoreutils,policycoreutils-python-utils,selinux-utils,setools,apparmor,dbus,libpam-systemd
CONFINED_DISK_SIZE=6G
# By the command line: what the two kinds differ in. Without audit the kernel logs no denial.
declare -A CONFINED_COMMAND_LINE=(
  [selinux]=' audit=1 security=selinux selinux=1 enforcing=1 systemd.mask=apparmor.service systemd.wants=systemd-networkd.service'
  [apparmor]=' audit=1 security=apparmor apparmor=1 systemd.wants=systemd-networkd.service'
)

# Makes the tree a KVM host: its key and ours, libvirt's settings, the small guest inside.
set_up_confined() {
  local tree=$1 directory=$2 small=$3
  set_up_systemd "$tree"
  # With it a confined libvirtd asks systemd-machined, which it may not reach on Debian.
  as_root chroot "$tree" dpkg --remove --force-depends systemd-container
  # A login starts no user's systemd, which takes an emulated host seconds.
  as_root sed -i '/pam_systemd/d' "$tree/etc/pam.d/common-session"
  # A key that is of use in this lab alone, made anew with the artifact.
  ssh-keygen -q -t ed25519 -N '' -C lab -f "$directory/key"
  as_root install -d -m 700 -- "$tree/root/.ssh"
  as_root install -m 600 -- "$directory/key.pub" "$tree/root/.ssh/authorized_keys"
  as_root install -m 644 -- "$tree/etc/ssh/ssh_host_ed25519_key.pub" "$directory/host_key.pub"
  # libvirt's mount namespace for QEMU needs more than Debian's policy lets it do.
  printf 'namespaces = []\n' | as_root tee -a "$tree/etc/libvirt/qemu.conf"
  as_root install -d -m 755 -- "$tree/var/lib/libvirt/images/small"
  as_root install -m 644 -- "$small"/{kernel,ramdisk,disk.qcow2} "$tree/var/lib/libvirt/images/small/"
}

# Debian's policy is incomplete for libvirt, Fedora's needs none of this. QEMU itself,
# svirt_t, stays enforced. Without a kernel that has SELinux: -n and -N load nothing.
set_up_policy() {
  local tree=$1
  as_root install -m 644 -- "$LAB_HOME/guests/confined/lab.cil" "$tree/tmp/lab.cil"
  as_root chroot "$tree" semodule -n -s default -i /tmp/lab.cil
  as_root chroot "$tree" semanage permissive -S default -N -a virtd_t
  as_root chroot "$tree" semanage permissive -S default -N -a virtlogd_t
  as_root chroot "$tree" semanage boolean -S default -N -m --on virt_use_execmem
  as_root rm -f -- "$tree/tmp/lab.cil"
  as_root sed -i 's/^SELINUX=.*/SELINUX=enforcing/; s/^SELINUXTYPE=.*/SELINUXTYPE=default/' "$tree/etc/selinux/config"
  # setfiles sets labels by /proc; the mount is gone with the namespace.
  # shellcheck disable=SC2016 # the inner shell expands it
  as_root unshare --mount --propagation private bash -ec 'mount -t proc proc "$1/proc"
    chroot "$1" setfiles -F -e /proc /etc/selinux/default/contexts/files/file_contexts /' bash "$tree"
}

# Fills the artifact's directory: kernel, ramdisk, disk.qcow2, key, key.pub, host_key.pub.
make_selinux() {
  local directory=$1 tree=$1/tree small
  need mmdebstrap mke2fs qemu-img xz lz4 ssh-keygen
  ensure_guest small
  small=$(guest_artifact small)
  SYSTEMD_PACKAGES+=,$CONFINED_PACKAGES stage "selinux: install Debian" install_systemd_tree "$tree"
  stage "selinux: set it up" set_up_confined "$tree" "$directory" "$small"
  stage "selinux: policy and labels" set_up_policy "$tree"
  stage "selinux: kernel" write_kernel "$tree"/boot/vmlinuz-* "$directory/kernel"
  stage "selinux: ramdisk" write_ramdisk "$tree" "$directory/ramdisk"
  as_root rm -f -- "$tree"/boot/vmlinuz-* "$tree"/boot/System.map-*
  stage "selinux: disk" write_disk "$tree" "$CONFINED_DISK_SIZE" "$directory/disk.qcow2"
  discard_tree "$tree"
}
