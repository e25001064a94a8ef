# shellcheck shell=bash
# The libvirt daemon that the lab's domains run under: the machine's own if it
# answers, else one that the lab starts and later ends; and the choice between
# hardware acceleration and emulation.

# Where overlays, logs and the lab's records are. QEMU, which runs as a user of
# its own, has to reach the disks: so it is not under anybody's home.
LAB_STATE=/var/lib/pulumi-virtio9p-lab
LIBVIRT_URI=qemu:///system
# How long a daemon may take to answer, in seconds; half a second is usual.
DAEMON_DEADLINE=30
# How long the accelerated test boot may take, in seconds; it takes two.
PROBE_DEADLINE=20

# virsh at the system's daemon, in one language.
vsh() {
  as_root env LC_ALL=C virsh --quiet --connect "$LIBVIRT_URI" "$@"
}

# Tells whether a daemon answers.
daemon_answers() {
  as_root timeout 10 env LC_ALL=C virsh --quiet --connect "$LIBVIRT_URI" uri >/dev/null 2>&1
}

# Makes the state directory, which every other function may then rely on. It is
# open to look into, since QEMU has to, and root's to change.
make_state_directory() {
  as_root install -d -m 755 -- "$LAB_STATE" "$LAB_STATE/domains" "$LAB_STATE/images" "$LAB_STATE/daemons"
}

# Prints when a process started, in clock ticks since boot: with the pid it names
# one process for ever. Field 22 of /proc/PID/stat, after the name in brackets.
process_start() {
  local stat fields
  stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
  read -ra fields <<<"${stat##*) }"
  printf '%s' "${fields[19]}"
}

# Starts one daemon and records which process it became. More arguments are a
# command to start it with. Without a service manager it runs under tini, which
# buries the QEMU processes that end: libvirt waits until a domain's process is
# gone, and the first process of a container may leave it a zombie for seconds (a
# destroy took 1.5 s instead of 0.1 s, measured).
start_daemon() {
  local program=$1 pid_file=$LAB_STATE/daemons/$1.pid pid tries
  shift
  as_root rm -f -- "$pid_file"
  if [[ ! -d /run/systemd/system ]] && command -v tini >/dev/null; then
    as_root setsid tini -s -- "$@" "$program" -p "$pid_file" >/dev/null 2>&1 {DAEMONS_LOCK}<&- &
  else
    as_root "$@" "$program" -d -p "$pid_file" {DAEMONS_LOCK}<&-
  fi
  for ((tries = 0; tries < DAEMON_DEADLINE * 10; tries++)); do
    if as_root test -s "$pid_file"; then break; fi
    sleep 0.1
  done
  pid=$(as_root cat "$pid_file")
  printf '%s %s\n' "$pid" "$(process_start "$pid")" | as_root tee "$LAB_STATE/daemons/$program.started" >/dev/null
}

# Starts libvirtd as start_daemon does, and waits for its answer.
start_libvirtd() {
  local deadline=$((SECONDS + DAEMON_DEADLINE))
  start_daemon libvirtd "$@"
  until daemon_answers; do
    ((SECONDS < deadline)) || fail "libvirtd was started but does not answer at $LIBVIRT_URI after $DAEMON_DEADLINE s"
    sleep 0.2
  done
}

# Has libvirt look at QEMU once where /dev/kvm is hidden, and remember what it saw.
# Where /dev/kvm opens but cannot be used, libvirt 9.0 finds its memory of QEMU
# outdated at every question and asks QEMU again: a define took 55 s instead of
# 0.02 s, a start 4.4 s instead of 0.5 s (measured). It cannot stay hidden, for
# libvirt moves what is mounted below /dev when it starts a domain.
learn_emulator_without_kvm() {
  local hidden=$LAB_STATE/daemons/no-kvm
  as_root install -m 000 -- /dev/null "$hidden"
  # shellcheck disable=SC2016 # the inner shell expands it
  start_libvirtd unshare --mount --propagation slave sh -c 'mount --bind "$0" /dev/kvm && exec "$@"' "$hidden"
  vsh domcapabilities --virttype qemu >/dev/null
  end_daemon libvirtd
}

# Tells whether a daemon that the lab started still runs.
our_daemon_runs() {
  local pid start
  [[ -f $LAB_STATE/daemons/$1.started ]] || return 1
  read -r pid start <"$LAB_STATE/daemons/$1.started" || return 1
  [[ $(process_start "$pid") == "$start" ]]
}

# Starts what is missing of the two daemons. virtlogd first: it holds the
# consoles' logs, and libvirtd would otherwise look for a service manager.
start_daemons() {
  local type=$1
  PATH=$PATH:/usr/sbin:/sbin
  if ! pgrep -x virtlogd >/dev/null; then start_daemon virtlogd; fi
  if daemon_answers; then return; fi
  if [[ $type == qemu && -e /dev/kvm ]]; then learn_emulator_without_kvm; fi
  start_libvirtd
}

# Tells whether a daemon answers, together with its virtlogd where the lab has to
# care for that too.
daemons_are_up() {
  daemon_answers || return 1
  if our_daemon_runs libvirtd; then pgrep -x virtlogd >/dev/null; fi
}

# Makes sure that a daemon answers; says nothing where one does. Only one lab at a
# time starts or ends daemons: daemons_locked holds the others back.
ensure_daemon() {
  local type
  if daemons_are_up; then return; fi
  need virsh libvirtd virtlogd
  make_state_directory
  type=$(acceleration)
  stage "start virtlogd and libvirtd" daemons_locked start_daemons "$type"
}

# Runs a function under the lock of the daemons' records. The daemons themselves
# must not inherit the lock: they would hold it for as long as they run.
daemons_locked() {
  local DAEMONS_LOCK
  exec {DAEMONS_LOCK}<"$LAB_STATE/daemons"
  flock --timeout 120 "$DAEMONS_LOCK" || fail "another lab has been starting or ending the daemons for two minutes"
  "$@"
  exec {DAEMONS_LOCK}<&-
}

# Ends a daemon that the lab started, if its record still names that process.
end_daemon() {
  local program=$1 record=$LAB_STATE/daemons/$1.started pid start
  as_root test -f "$record" || return 0
  read -r pid start < <(as_root cat "$record")
  if [[ $(process_start "$pid") == "$start" && $(cat "/proc/$pid/comm") == "$program" ]]; then
    as_root kill "$pid"
    for ((tries = 0; tries < 50; tries++)); do
      [[ $(process_start "$pid") == "$start" ]] || break
      sleep 0.1
    done
    say "stop: ended $program ($pid)"
  fi
  as_root rm -f -- "$record" "$LAB_STATE/daemons/$program.pid"
}

# Ends both daemons, the one that needs the other first.
end_daemons() {
  end_daemon libvirtd
  end_daemon virtlogd
}

# Boots a guest's kernel with acceleration, up to its first program.
probe_acceleration() {
  local directory=$1 console
  console=$(as_root timeout "$PROBE_DEADLINE" qemu-system-x86_64 -machine q35,accel=kvm -cpu host -m 256 -nodefaults -no-reboot \
    -display none -serial stdio -kernel "$directory/kernel" -initrd "$directory/ramdisk" \
    -append 'console=ttyS0 quiet lab.probe' 2>/dev/null) || true
  [[ $console == *lab-probe-reached* ]]
}

# Prints the domain type that works here: kvm, or qemu for emulation. A /dev/kvm
# that is there but cannot run a stock kernel must not be chosen, so it is tried
# once; the answer is kept for this kernel and this QEMU.
acceleration() {
  local answer_file=$LAB_STATE/acceleration key directory answer=qemu
  if [[ ! -e /dev/kvm ]]; then
    printf qemu
    return
  fi
  read -r key < <(qemu-system-x86_64 --version)
  key="$(uname -r) $key"
  if [[ -f $answer_file && $(tail -n 1 "$answer_file") == "$key" ]]; then
    head -n 1 "$answer_file"
    return
  fi
  directory=$(artifact_directory small "${SMALL_RECIPE[@]}")
  ensure_artifact "$directory" make_small
  if probe_acceleration "$directory"; then answer=kvm; fi
  say "acceleration: a test boot with KVM $([[ $answer == kvm ]] && echo works || echo fails, so guests are emulated)"
  printf '%s\n%s\n' "$answer" "$key" | as_root tee "$answer_file" >/dev/null
  printf '%s' "$answer"
}

# Gives guests more of the processors than tests have. libvirt puts all guests into one group, and to the kernel every
# session of a test's shell counts as much as that group: at a load of 24 on two processors an emulated host had a fifth
# of one, and did not boot within 300 s; with this it had more than a whole one. Only where libvirt makes the group
# itself, which it does without systemd.
favour_guests() {
  local group=/sys/fs/cgroup/cpu/machine
  [[ -f /sys/fs/cgroup/cpu/cpu.shares && ! -d /run/systemd/system ]] || return 0
  as_root mkdir -p -- "$group"
  echo 8192 | as_root tee -- "$group/cpu.shares" >/dev/null
}

# lab start
lab_start() {
  local type
  make_state_directory
  favour_guests
  if daemons_are_up; then say "start: a libvirt daemon answers at $LIBVIRT_URI already"; else ensure_daemon; fi
  type=$(acceleration)
  say "start: guests run under $type"
}
