# shellcheck shell=bash
# What all guests are made of: a Debian tree, a kernel without its wrapper, a
# ramdisk that does nothing but mount the disk, and that disk.

# The release that all guests are built from.
GUEST_SUITE=bookworm
# What it takes to reach an ext4 root on a virtio disk, and the agent's port.
GUEST_BOOT_MODULES=(virtio_pci virtio_blk ext4 virtio_console)

# Unpacks or installs Debian packages into a directory, with mmdebstrap.
# VIRTIO9P_LAB_MIRROR names a mirror to use instead of mmdebstrap's own choice.
debian_tree() {
  local tree=$1 variant=$2 packages=$3
  shift 3
  # INITRD=No: the lab brings its own ramdisk, and Debian's takes long to make.
  as_root env INITRD=No mmdebstrap --quiet --variant="$variant" --include="$packages" "$@" \
    "$GUEST_SUITE" "$tree" ${VIRTIO9P_LAB_MIRROR:+"$VIRTIO9P_LAB_MIRROR"}
}

# Prints the version of the only kernel in a tree: "6.1.0-37-amd64".
kernel_version() {
  local modules=("$1"/lib/modules/*)
  printf '%s' "${modules[0]##*/}"
}

# Writes a tree's kernel for QEMU: as the plain ELF image inside the bzImage if
# that can be had, for an emulated processor takes 2.5 s to decompress it at each
# boot. The header's fields are those of Documentation/arch/x86/boot.rst
# (setup_sects at 0x1f1, payload_offset and payload_length at 0x248); the last
# four bytes of the payload are the length of what is inside.
write_kernel() {
  local image=$1 output=$2 setup_sectors start length expected
  setup_sectors=$(od -An -tu1 -j $((0x1f1)) -N 1 "$image")
  read -r start length < <(od -An -tu4 -j $((0x248)) -N 8 "$image")
  start=$((start + (setup_sectors + 1) * 512))
  expected=$(od -An -tu4 -j $((start + length - 4)) -N 4 "$image")
  dd if="$image" of="$output.packed" bs=1M iflag=skip_bytes,count_bytes skip="$start" count="$((length - 4))" status=none
  # Debian uses xz and lz4, others zstd and gzip; each tool refuses what is not its own.
  xz -dc <"$output.packed" >"$output" 2>/dev/null ||
    lz4 -dcq <"$output.packed" >"$output" 2>/dev/null ||
    zstd -dcq <"$output.packed" >"$output" 2>/dev/null ||
    gzip -dcq <"$output.packed" >"$output" 2>/dev/null || true
  rm -f -- "$output.packed"
  if [[ $(stat -c %s "$output") != $((expected)) || $(od -An -tx1 -N 4 "$output") != ' 7f 45 4c 46' ]]; then
    echo "the kernel's payload is in no known form: keeping the bzImage"
    install -m 644 -- "$image" "$output"
  fi
}

# Prints the files of kernel modules in the order in which they have to be
# loaded, each once, relative to the tree's root; what is built in is left out.
module_files() {
  local tree=$1 version=$2 module
  shift 2
  for module in "$@"; do
    as_root chroot "$tree" /sbin/modprobe -S "$version" --show-depends "$module" |
      sed -n 's|^insmod /\([^ ]*\).*|\1|p'
  done | awk '!seen[$0]++'
}

# Writes the ramdisk: busybox, the boot modules and guests/ramdisk-init. It is not
# compressed, again because the emulated processor would have to undo it.
write_ramdisk() {
  local tree=$1 output=$2 version content file
  version=$(kernel_version "$tree")
  content=$(mktemp -d)
  mkdir -- "$content"/{bin,dev,proc,root,modules}
  install -m 755 -- "$tree/bin/busybox" "$content/bin/busybox"
  install -m 755 -- "$LAB_HOME/guests/ramdisk-init" "$content/init"
  # The list is the order; the names alone are enough, for no two are alike.
  module_files "$tree" "$version" "${GUEST_BOOT_MODULES[@]}" >"$content/modules.list"
  while read -r file; do
    install -m 644 -- "$tree/$file" "$content/modules/${file##*/}"
  done <"$content/modules.list"
  sed -i 's|.*/||' "$content/modules.list"
  (cd "$content" && find . | "$tree/bin/busybox" cpio -o -H newc) >"$output"
  rm -rf -- "$content"
}

# Writes the root disk: a directory's files as ext4 in a sparse qcow2 image.
write_disk() {
  local root=$1 size=$2 output=$3
  as_root mke2fs -q -t ext4 -m 0 -L root -d "$root" "$output.raw" "$size"
  as_root qemu-img convert -f raw -O qcow2 "$output.raw" "$output"
  as_root rm -f -- "$output.raw"
  as_root chown "$(id -u):$(id -g)" "$output"
}

# Removes a tree that root built. One file system only: if something were still
# mounted inside, its content would not be taken for part of the tree.
discard_tree() {
  as_root rm -rf --one-file-system -- "$1"
}
