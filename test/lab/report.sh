# shellcheck shell=bash
# What every part of the lab says and how it fails: stage lines, one error
# message, and the few helpers for rights and waiting that go with them.

# Prints one line to standard error, so that standard output stays for results.
say() {
  printf 'lab: %s\n' "$*" >&2
}

# Ends the program with one message: what was tried, what came back, what to do.
fail() {
  printf 'lab: error: %s\n' "$*" >&2
  exit 1
}

# Runs a command as root: directly, or through sudo for everybody else.
as_root() {
  if ((EUID == 0)); then
    "$@"
  else
    command -v sudo >/dev/null || fail "\"$1\" needs root and there is no sudo: run the lab as root"
    sudo "$@"
  fi
}

# Prints the time in milliseconds, from bash's own clock, without a process.
now_ms() {
  local now=${EPOCHREALTIME/[.,]/}
  printf '%s' "$((now / 1000))"
}

# Prints the seconds since a `now_ms`, with one decimal: "12.3".
seconds_since() {
  local elapsed=$(($(now_ms) - $1))
  printf '%d.%d' "$((elapsed / 1000))" "$((elapsed % 1000 / 100))"
}

# Runs a function or command as one stage: its output goes to a log, a line with
# the seconds follows when it is done, and the log's end is shown if it failed.
# Never call it in a condition: bash would then ignore `set -e` inside it.
stage() {
  local does=$1 log status=0 began
  shift
  began=$(now_ms)
  log=$(mktemp "${TMPDIR:-/tmp}/lab-stage.XXXXXX")
  if [[ -t 2 ]]; then printf 'lab: %s ...\r' "$does" >&2; fi
  set +e
  (
    set -e
    "$@"
  ) </dev/null >"$log" 2>&1
  status=$?
  set -e
  if ((status != 0)); then
    tail -n 30 -- "$log" >&2
    fail "$does failed with status $status after $(seconds_since "$began") s; the whole output is in $log"
  fi
  rm -f -- "$log"
  say "$does: $(seconds_since "$began") s"
}

# Stops early, with the remedy, when programs that a stage needs are missing.
need() {
  local program missing=()
  for program in "$@"; do
    PATH=$PATH:/usr/sbin:/sbin command -v "$program" >/dev/null || missing+=("$program")
  done
  ((${#missing[@]} == 0)) || fail "missing: ${missing[*]}; \"lab install\" brings what can be had from apt"
}
