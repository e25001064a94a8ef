# shellcheck shell=bash
# lab install: the Debian packages that the lab's own machine needs.

# go and node are not among them: their versions matter more than the
# distribution's packages can promise, and the project needs node anyway.
LAB_PACKAGES=(
  qemu-system-x86 qemu-utils libvirt-daemon-system libvirt-clients
  mmdebstrap debian-archive-keyring e2fsprogs attr acl busybox-static iproute2 rsync btrfs-progs
  openssh-client openssh-server sudo ca-certificates xz-utils lz4 zstd util-linux tini
  selinux-utils python3 pyflakes3
)

# Prints those of LAB_PACKAGES that are not installed, one per line.
missing_packages() {
  local package
  for package in "${LAB_PACKAGES[@]}"; do
    [[ $(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null) == installed ]] ||
      printf '%s\n' "$package"
  done
}

# Runs apt-get so that it never asks, and never starts a service on a machine
# that has no service manager: there, starting fails and would fail the install.
quiet_apt() {
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends "$@"
}

# Installs packages, with apt's lists refreshed first when they know too little,
# and once more when what they name is no longer on the mirror.
install_packages() {
  local package policy=/usr/sbin/policy-rc.d made_policy=
  for package in "$@"; do
    # "(none)", or no answer at all: the lists do not know the package.
    if [[ ! $(apt-cache policy "$package") =~ Candidate:\ [^\(] ]]; then
      quiet_apt update
      break
    fi
  done
  if [[ ! -d /run/systemd/system && ! -e $policy ]]; then
    printf '#!/bin/sh\nexit 101\n' | as_root install -m 755 /dev/stdin "$policy"
    made_policy=yes
  fi
  quiet_apt install "$@" || {
    quiet_apt update
    quiet_apt install "$@"
  }
  if [[ -n $made_policy ]]; then as_root rm -f -- "$policy"; fi
}

# lab install
lab_install() {
  local missing
  command -v dpkg-query >/dev/null || fail "lab install knows apt only; install by your own package manager: ${LAB_PACKAGES[*]}"
  mapfile -t missing < <(missing_packages)
  if ((${#missing[@]} == 0)); then
    say "install: all ${#LAB_PACKAGES[@]} packages are there"
    return
  fi
  stage "install ${missing[*]}" install_packages "${missing[@]}"
  printf '%s\n' "${missing[@]}"
}
