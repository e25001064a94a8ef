# shellcheck shell=bash
# Speaking with a guest through its agent: wait until it answers, run a script.

# How long a command in a guest may run, in seconds.
EXEC_DEADLINE=${VIRTIO9P_LAB_EXEC_DEADLINE:-600}
# The longest script that is sent, in bytes: encoded it has to fit into one
# argument of virsh, for which Linux allows 128 KiB (MAX_ARG_STRLEN).
EXEC_LONGEST_SCRIPT=90000

# Waits until the agent answers. It asks libvirt first whether the agent has
# opened its channel: a ping that nobody answers costs its whole timeout.
wait_for_agent() {
  local name=$1 seconds=$2 deadline=$((SECONDS + $2)) state
  while :; do
    state=$(domain_state "$name")
    [[ $state == running ]] || fail "$name is \"$state\" while its agent is waited for; its console is in $LAB_STATE/domains/$name/console.log"
    if [[ $(vsh dumpxml "$name") == *"name='org.qemu.guest_agent.0' state='connected'"* ]] &&
      vsh qemu-agent-command --timeout 2 "$name" '{"execute":"guest-ping"}' >/dev/null 2>&1; then
      return
    fi
    ((SECONDS < deadline)) ||
      fail "the agent of $name does not answer after $seconds s; its console is in $LAB_STATE/domains/$name/console.log"
    sleep 0.2
  done
}

# Prints one field of the agent's flat answer, without its quotes. The agent's
# strings are numbers, words and base64 here: none contains a quote.
answer_field() {
  sed -n "s/.*\"$1\":\"\\{0,1\\}\\([^\",}]*\\).*/\\1/p" <<<"$2"
}

# Quotes one word for a POSIX shell.
quote_word() {
  printf "'%s'" "${1//\'/\'\\\'\'}"
}

# Runs the script on standard input in a guest, as root, with /bin/sh; prints its
# output and returns its status. The guest's shell reads all of it before it runs
# any of it, so that no command in it can swallow the rest.
run_in_guest() {
  local name=$1 script answer pid deadline=$((SECONDS + EXEC_DEADLINE)) pause=0.05 signal
  script=$(base64 -w 0)
  ((${#script} <= EXEC_LONGEST_SCRIPT * 4 / 3)) || fail "the script is longer than $EXEC_LONGEST_SCRIPT bytes: give it in parts"
  # shellcheck disable=SC2016 # the guest's shell expands it
  answer=$(vsh qemu-agent-command "$name" '{"execute":"guest-exec","arguments":{"path":"/bin/sh","arg":["-c","script=$(cat); exec </dev/null; eval \"$script\""],"input-data":"'"$script"'","capture-output":true}}') ||
    fail "the agent of $name did not take the script; \"lab boot $name\" starts the guest and waits for it"
  pid=$(answer_field pid "$answer")
  while :; do
    answer=$(vsh qemu-agent-command "$name" '{"execute":"guest-exec-status","arguments":{"pid":'"$pid"'}}') ||
      fail "$name gave no answer about process $pid: it went down, or the output was longer than 3 MB, which libvirt does not pass on"
    if [[ $(answer_field exited "$answer") == true ]]; then break; fi
    ((SECONDS < deadline)) || fail "process $pid in $name has not ended after $EXEC_DEADLINE s"
    sleep "$pause"
    pause=0.2
  done
  answer_field out-data "$answer" | base64 -d
  answer_field err-data "$answer" | base64 -d >&2
  signal=$(answer_field signal "$answer")
  if [[ -n $signal ]]; then return $((128 + signal)); fi
  return "$(answer_field exitcode "$answer")"
}

# lab exec NAME [-- COMMAND...]: one word is a line of shell, several are a command
# and its arguments, none is a script on standard input.
lab_exec() {
  local name=${1:-} line='' word
  require_domain "$name"
  shift
  if (($# == 0)); then
    run_in_guest "$name"
    return
  fi
  [[ $1 == -- ]] || fail "lab exec NAME -- COMMAND...: the two hyphens are missing before \"$1\""
  shift
  if (($# == 1)); then
    line=$1
  else
    for word in "$@"; do line+="$(quote_word "$word") "; done
  fi
  run_in_guest "$name" <<<"$line"
}
