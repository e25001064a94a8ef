# shellcheck shell=bash
# The lab's domains: defined from a kind of guest, booted, reset and removed. Only
# names that begin with "v9p-" and that the lab itself recorded are ever touched.

# How long a guest may take until its agent answers, in seconds: an emulated
# systemd guest takes 15 on two idle cores, and more when several boot at once.
BOOT_DEADLINE=${VIRTIO9P_LAB_BOOT_DEADLINE:-300}

# Checks a domain's name, and prints the directory of its files.
domain_directory() {
  [[ $1 =~ ^v9p-[A-Za-z0-9_.-]+$ ]] ||
    fail "\"$1\" is no name for a domain of the lab: it has to begin with v9p-, and go on with letters, digits, _ . -"
  printf '%s/domains/%s' "$LAB_STATE" "$1"
}

# Prints the UUID that libvirt knows under exactly this name, or nothing. (virsh
# would take digits for an id; "list" does not.)
domain_uuid() {
  local uuid name
  while read -r uuid name; do
    if [[ $name == "$1" ]]; then printf '%s' "$uuid"; fi
  done < <(vsh list --all --uuid --name)
}

# Tells whether the domain of that name is one that the lab defined.
domain_is_ours() {
  local directory=$LAB_STATE/domains/$1
  [[ -f $directory/uuid && $(<"$directory/uuid") == "$(domain_uuid "$1")" ]]
}

# Stops early unless the lab defined a domain of that name.
require_domain() {
  domain_directory "$1" >/dev/null
  domain_is_ours "$1" || fail "there is no domain \"$1\" of the lab; \"lab list\" shows those that are"
}

# Prints the state of a domain: "running", "shut off", "paused".
domain_state() {
  printf '%s' "$(vsh domstate "$1")"
}

# Copies an artifact to where QEMU can read it, once for each build, and prints
# the copy's directory. The cache may lie under a home that only its owner can
# enter; and domains outlive a rebuild of the cache, since the copy is named for
# its content.
publish_artifact() {
  local directory=$1 content published copying
  content=$(sha256sum <"$directory/SHA256SUMS")
  published=$LAB_STATE/images/${directory##*/}-${content:0:8}
  if [[ ! -d $published ]]; then
    copying=$published.copying.$$
    as_root install -d -m 755 -- "$copying"
    as_root cp --sparse=always -- "$directory"/{kernel,ramdisk,disk.qcow2} "$copying/"
    as_root chmod 644 -- "$copying"/*
    as_root chown 0:0 -- "$copying"/*
    # Another define may have been faster: its copy is the same.
    as_root mv -T -- "$copying" "$published" 2>/dev/null || as_root rm -rf -- "$copying"
  fi
  printf '%s' "$published"
}

# Prints a domain's definition. The disk and the serial devices sit on the root
# bus: each PCI Express port that libvirt adds takes an emulated guest a moment.
domain_xml() {
  local name=$1 uuid=$2 kind=$3 memory=$4 cpus=$5 type=$6 images=$7 directory=$8 ssh_port=$9
  # Emulated, every instruction set more makes the kernel and its programs slower: with an old
  # processor's they boot in four fifths of the time that all of them take.
  local cpu="<cpu mode='custom' match='exact' check='none'><model fallback='forbid'>Nehalem</model><feature policy='require' name='rdrand'/></cpu>"
  local network='' wants='' audit=' audit=0' translations=''
  if [[ $type == kvm ]]; then cpu="<cpu mode='host-passthrough'/>"; fi
  # A host of guests has more code than fits, and all of it is thrown away then. QEMU takes 2 GiB at most.
  if [[ $type == qemu && $kind == @(selinux|apparmor) ]]; then translations="<tcg><tb-cache unit='MiB'>2047</tb-cache></tcg>"; fi
  # A network of the guest's own: QEMU passes one port of this machine on to its sshd.
  if [[ -n $ssh_port ]]; then
    case $kind in
      systemd) wants=' systemd.wants=systemd-networkd.service' ;;
      # The kernel keeps to an audit=0, whatever comes behind it.
      selinux | apparmor) wants=${CONFINED_COMMAND_LINE[$kind]} audit='' ;;
      *) wants=' lab.ssh' ;;
    esac
    network="<qemu:commandline xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
    <qemu:arg value='-netdev'/><qemu:arg value='user,id=lab,restrict=on,hostfwd=tcp:127.0.0.1:$ssh_port-:22'/>
    <qemu:arg value='-device'/><qemu:arg value='virtio-net-pci,netdev=lab,addr=0x10'/>
  </qemu:commandline>"
  fi
  wants+=$audit
  cat <<XML
<domain type='$type'>
  <name>$name</name>
  <uuid>$uuid</uuid>
  <metadata><lab:guest xmlns:lab='urn:pulumi-virtio9p:lab' kind='$kind'/></metadata>
  <memory unit='MiB'>$memory</memory>
  <vcpu>$cpus</vcpu>
  <os>
    <type arch='x86_64' machine='q35'>hvm</type>
    <kernel>$images/kernel</kernel>
    <initrd>$images/ramdisk</initrd>
    <cmdline>console=ttyS0 quiet loglevel=3 root=/dev/vda rw mitigations=off random.trust_cpu=on tsc=reliable no_timer_check init_on_alloc=0 cryptomgr.notests=1 net.ifnames=0$wants</cmdline>
  </os>
  <features><acpi/><apic/>$translations</features>
  $cpu
  <clock offset='utc'/>
  <on_poweroff>destroy</on_poweroff>
  <on_reboot>restart</on_reboot>
  <on_crash>destroy</on_crash>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2' cache='unsafe'/>
      <source file='$directory/disk.qcow2'/>
      <target dev='vda' bus='virtio'/>
      <address type='pci' domain='0' bus='0' slot='2' function='0'/>
    </disk>
    <controller type='virtio-serial' index='0'>
      <address type='pci' domain='0' bus='0' slot='3' function='0'/>
    </controller>
    <controller type='usb' model='none'/>
    <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
    <serial type='pty'>
      <log file='$directory/console.log' append='off'/>
      <target port='0'/>
    </serial>
    <console type='pty'><target type='serial' port='0'/></console>
    <memballoon model='none'/>
    <audio id='1' type='none'/>
  </devices>
  $network
</domain>
XML
}

# Ends the domain's run and makes its disk anew from the base image, with the
# definition it had at first: what a provider changed in either is gone.
renew_domain() {
  local name=$1 directory=$2
  if [[ -n $(domain_uuid "$name") ]]; then
    if [[ $(domain_state "$name") != 'shut off' ]]; then vsh destroy "$name"; fi
    vsh undefine "$name" --managed-save --nvram --snapshots-metadata --checkpoints-metadata
  fi
  as_root rm -f -- "$directory/disk.qcow2" "$directory/console.log"
  as_root qemu-img create -q -f qcow2 -F qcow2 -b "$(<"$directory/images")/disk.qcow2" "$directory/disk.qcow2"
  vsh define "$directory/domain.xml"
}

# lab define NAME KIND [--memory MiB] [--ssh PORT] [--off|--paused]
lab_define() {
  local name=${1:-} kind=${2:-} memory='' ssh_port='' cpus paused='' began directory images type uuid
  began=$(now_ms)
  directory=$(domain_directory "$name")
  shift $(($# < 2 ? $# : 2))
  case $kind in
    systemd) cpus=2 memory=768 ;;
    small | cloud) cpus=1 memory=256 ;;
    selinux | apparmor) cpus=2 memory=3072 ;;
    *) fail "\"$kind\" is no kind of guest: systemd, small, cloud, selinux or apparmor" ;;
  esac
  while (($#)); do
    case $1 in
      --memory)
        [[ ${2:-} =~ ^[0-9]+$ ]] || fail "--memory takes a number of MiB, not \"${2:-}\""
        memory=$2
        shift
        ;;
      --ssh)
        [[ $kind != cloud && ${2:-} =~ ^[0-9]+$ ]] || fail "--ssh takes a port of this machine, and any kind of guest but cloud"
        ssh_port=$2
        shift
        ;;
      --off) paused='' ;;
      --paused) paused=yes ;;
      *) fail "lab define knows no option \"$1\": --memory MiB, --ssh PORT, --off, --paused" ;;
    esac
    shift
  done
  if [[ -v "CONFINED_COMMAND_LINE[$kind]" && -z $ssh_port ]]; then fail "$kind is reached over SSH alone: --ssh PORT"; fi
  make_state_directory
  ensure_daemon
  uuid=$(domain_uuid "$name")
  if [[ -n $uuid ]] && ! domain_is_ours "$name"; then
    fail "a domain \"$name\" ($uuid) is there that the lab did not define: it is left alone, take another name"
  fi
  ensure_guest "$kind"
  images=$(publish_artifact "$(guest_artifact "$kind")")
  type=$(acceleration)
  # The same UUID over a new definition, as for a machine that is installed again.
  if [[ -z $uuid ]]; then uuid=$(</proc/sys/kernel/random/uuid); fi
  as_root install -d -m 755 -- "$directory"
  printf '%s\n' "$uuid" | as_root tee "$directory/uuid" >/dev/null
  printf '%s\n' "$kind" | as_root tee "$directory/kind" >/dev/null
  printf '%s\n' "$images" | as_root tee "$directory/images" >/dev/null
  domain_xml "$name" "$uuid" "$kind" "$memory" "$cpus" "$type" "$images" "$directory" "$ssh_port" |
    as_root tee "$directory/domain.xml" >/dev/null
  renew_domain "$name" "$directory"
  if [[ -n $paused ]]; then vsh start --paused "$name"; fi
  say "define $name: $(seconds_since "$began") s"
  printf '%s\n' "$uuid"
}

# lab boot NAME
lab_boot() {
  local name=${1:-} began
  require_domain "$name"
  began=$(now_ms)
  case $(domain_state "$name") in
    'shut off') vsh start "$name" ;;
    paused) vsh resume "$name" ;;
  esac
  wait_for_agent "$name" "$BOOT_DEADLINE"
  say "boot $name: the agent answers after $(seconds_since "$began") s"
  seconds_since "$began"
  echo
}

# lab reset NAME
lab_reset() {
  local name=${1:-} began
  require_domain "$name"
  began=$(now_ms)
  renew_domain "$name" "$(domain_directory "$name")"
  say "reset $name: $(seconds_since "$began") s"
}

# lab remove NAME
lab_remove() {
  local name=${1:-} directory
  directory=$(domain_directory "$name")
  [[ -d $directory ]] || fail "there is no domain \"$name\" of the lab; \"lab list\" shows those that are"
  if domain_is_ours "$name"; then
    if [[ $(domain_state "$name") != 'shut off' ]]; then vsh destroy "$name"; fi
    vsh undefine "$name" --managed-save --nvram --snapshots-metadata --checkpoints-metadata
  fi
  as_root rm -rf -- "$directory"
  say "remove $name: done"
}

# lab shell NAME
lab_shell() {
  require_domain "${1:-}"
  say "Enter shows the prompt, Ctrl+] ends the shell"
  as_root virsh --connect "$LIBVIRT_URI" console "$1" --force
}

# lab list: name, kind, state, UUID, separated by tabs.
lab_list() {
  local directory name state daemon=yes
  daemon_answers || daemon=
  for directory in "$LAB_STATE"/domains/*/; do
    [[ -f $directory/uuid ]] || continue
    name=${directory%/}
    name=${name##*/}
    state='not defined'
    if [[ -z $daemon ]]; then state='no daemon'; elif domain_is_ours "$name"; then state=$(domain_state "$name"); fi
    printf '%s\t%s\t%s\t%s\n' "$name" "$(<"$directory/kind")" "$state" "$(<"$directory/uuid")"
  done
}

# lab stop
lab_stop() {
  local directory name
  [[ -d $LAB_STATE ]] || return 0
  for directory in "$LAB_STATE"/domains/*/; do
    [[ -d $directory ]] || continue
    ensure_daemon
    name=${directory%/}
    lab_remove "${name##*/}"
  done
  # No domain is left that could need them; the cache has the originals.
  as_root rm -rf -- "$LAB_STATE/images"
  daemons_locked end_daemons
}
