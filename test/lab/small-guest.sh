# shellcheck shell=bash
# The artifacts "small" and "cloud": busybox, the guest agent and an SSH server on a
# small persistent disk, with Debian's usual kernel and with its cloud kernel, which
# has no 9p at all.

# Files of the small guests' recipe, for both kernels.
# shellcheck disable=SC2034 # lab uses it
SMALL_RECIPE=(small-guest.sh guest-image.sh guests/ramdisk-init guests/small/inittab guests/small/start guests/small/agent guests/small/shutdown)
# The disk's virtual size; a quarter of it is used.
SMALL_DISK_SIZE=64M
# What the guests' /lib/modules holds, with all that it depends on. What the
# kernel lacks (9p in the cloud kernel) is left out.
SMALL_MODULES=(9p 9pnet_virtio virtio_pci virtio_blk virtio_console virtio_net ext4 overlay loop fuse button)

# Copies a program and the libraries that it is linked with.
copy_program() {
  local tree=$1 program=$2 root=$3 file
  while read -r file; do
    install -D -m 755 -- "$tree$file" "$root$file"
  done < <(
    printf '%s\n' "$program"
    as_root chroot "$tree" /lib64/ld-linux-x86-64.so.2 --list "$program" | grep -o '/[^ ]*'
  )
}

# Copies the kernel modules, and the indexes by which modprobe finds them.
copy_modules() {
  local tree=$1 root=$2 version file
  version=$(kernel_version "$tree")
  mkdir -p -- "$root/lib/modules/$version"
  while read -r file; do
    install -D -m 644 -- "$tree/$file" "$root/$file"
  done < <(module_files "$tree" "$version" "${SMALL_MODULES[@]}")
  install -m 644 -- "$tree/lib/modules/$version"/modules.{order,builtin,builtin.modinfo} "$root/lib/modules/$version/"
  # depmod of the tree, run on the selection.
  as_root mkdir -p -- "$tree/selection"
  as_root cp -a -- "$root/lib" "$tree/selection/"
  as_root chroot "$tree" /sbin/depmod -b /selection "$version"
  cp -- "$tree/selection/lib/modules/$version"/modules.* "$root/lib/modules/$version/"
}

# Lays out the root file system. It has what a provider edits on a real machine
# (/etc/fstab, /etc/modules-load.d, /etc/passwd), and "start" plays systemd's part
# in acting on it at boot.
lay_out_small() {
  local tree=$1 root=$2 applet
  mkdir -p -- "$root"/{bin,dev,etc/modules-load.d,home,lib,mnt,proc,root,run,sbin,srv,sys,tmp,usr/bin,usr/lib,usr/sbin,var/log,var/tmp}
  chmod 1777 "$root/tmp" "$root/var/tmp"
  ln -s /run "$root/var/run"
  ln -s /proc/self/mounts "$root/etc/mtab"
  install -m 755 -- "$tree/bin/busybox" "$root/bin/busybox"
  while read -r applet; do
    ln -s /bin/busybox "$root/$applet"
  done < <("$tree/bin/busybox" --list-full | grep -v '^bin/busybox$')
  copy_program "$tree" /usr/sbin/qemu-ga "$root"
  # Debian's busybox has no flock applet, which other busybox builds have.
  copy_program "$tree" /usr/bin/flock "$root"
  copy_program "$tree" /usr/sbin/dropbear "$root"
  copy_program "$tree" /usr/bin/dropbearkey "$root"
  mkdir -p -- "$root/etc/dropbear"
  copy_modules "$tree" "$root"
  install -m 644 -- "$LAB_HOME/guests/small/inittab" "$root/etc/inittab"
  install -D -m 755 -- "$LAB_HOME/guests/small/start" "$root/etc/init.d/start"
  install -D -m 755 -- "$LAB_HOME/guests/small/agent" "$root/etc/init.d/agent"
  # In place of the applet's link: the agent calls it with arguments of its own.
  rm -f -- "$root/sbin/shutdown"
  install -m 755 -- "$LAB_HOME/guests/small/shutdown" "$root/sbin/shutdown"
  install -m 644 -- "$tree/usr/lib/os-release" "$root/etc/os-release"
  printf 'root::0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n' >"$root/etc/passwd"
  printf 'root:x:0:\nusers:x:100:\nnogroup:x:65534:\n' >"$root/etc/group"
  printf '# The root disk is mounted by the ramdisk; shares follow below.\n/dev/vda / ext4 rw,noatime 0 1\n' >"$root/etc/fstab"
  printf 'lab\n' >"$root/etc/hostname"
  # Everything belongs to root in the guest, whoever builds.
  as_root chown -R 0:0 "$root"
}

# Fills the artifact's directory for one kernel package: kernel, ramdisk, disk.qcow2.
make_small_guest() {
  local directory=$1 kernel_package=$2 name tree root
  name=${directory##*/}
  name=${name%%-*}
  need mmdebstrap mke2fs qemu-img xz lz4
  tree=$directory/tree root=$directory/root
  # Packages are unpacked, not configured: only files are taken out of them.
  stage "$name: unpack $kernel_package, busybox, the agent and dropbear" debian_tree "$tree" extract \
    "base-files,busybox-static,qemu-guest-agent,dropbear-bin,kmod,util-linux,$kernel_package"
  stage "$name: index the modules" as_root chroot "$tree" /sbin/depmod "$(kernel_version "$tree")"
  stage "$name: kernel" write_kernel "$tree"/boot/vmlinuz-* "$directory/kernel"
  stage "$name: ramdisk" write_ramdisk "$tree" "$directory/ramdisk"
  stage "$name: root file system" lay_out_small "$tree" "$root"
  stage "$name: disk" write_disk "$root" "$SMALL_DISK_SIZE" "$directory/disk.qcow2"
  discard_tree "$root"
  discard_tree "$tree"
}

# The two artifacts, as ensure_artifact calls them.
make_small() {
  make_small_guest "$1" linux-image-amd64
}
make_cloud() {
  make_small_guest "$1" linux-image-cloud-amd64
}
