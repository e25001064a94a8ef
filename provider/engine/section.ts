import { type Script, sh } from "../remote/shell/sh";

/**
 * One part of a script, that fails alone: it has a limit of its own, and where it gives no sign of progress for as long,
 * it is ended and the script goes on without it.
 *
 * A section is a process beside the shell of the script, which waits for it. One watch for all of a script counts the
 * time; it hears of progress by a file, `$signs`. Who waits in the kernel for a server or a disk that does not answer
 * (state D of proc(5)) cannot be ended: it is left behind, and said to be.
 */

/** How a section ended that passed its limit: it was `ended`, or is `stuck` and may still do what it was at. */
export type Late = "ended" | "stuck";

/** Milliseconds within which a script says something again, however its sections end. */
export function silenceOf(idleMs: number): number {
  return idleMs * 1.5 + 20_000;
}

/** A shell that a signal ends has no EXIT trap in dash and busybox, and one that does not know why in bash. */
export const cleaningUp = sh`trap 'exit 143' TERM`;

/** Runs a section, reported under its name; where it passes its limit, nothing more is done for `askers` (numbers). */
export function section(name: string, body: Script, askers: Script = sh``): Script {
  return sh`mark begin ${name}
( ${cleaningUp}
${body}
) &
settle ${name} ${askers}`;
}

/** Sets a variable to what a script prints, in a section `gather-NAME`. */
export function gathered(variable: string, script: Script, askers: Script = sh``): Script {
  const body = sh`exec > "$work/${{ text: variable }}"
${script}`;
  return sh`${section(`gather-${variable}`, body, askers)}
${{ text: variable }}=$(cat -- "$work/${{ text: variable }}")`;
}

/**
 * Functions of every script.
 *
 * `settle NAME [NUMBER...]` waits for the section that was begun last, reports it, and leaves `$status` and `$late`, which
 * is empty where it ended by itself. `watch SECONDS HASTENS` is the process that ends what passes its limit, where HASTENS
 * is not empty the next sooner; it ends with the script, killed or not. All that it asks of /proc it reads by itself: it has no other process than its sleep(1).
 */
export const sectionFunctions: Script = {
  text: String.raw`out=' ' all='' section='' stuck=''
# Called when all else of a script is done; a prelude may define it anew
at_end() { :; }
# NUMBER...: nothing more is to be done for these
drop() { for one; do out="$out$one "; done; }
# NUMBER...: a test that one of these is not dropped
sound() {
  [ "$out" != ' ' ] || return 0
  for one; do case $out in *" $one "*) ;; *) return 0;; esac; done
  return 1
}
settle() {
  section=$! name=$1
  shift
  echo "$section" > "$work/section"
  while :; do
    status=0 signalled=''
    # What a shell says of a process that was killed is not the section's.
    wait "$section" 2>/dev/null || status=$?
    # A signal of the watch ends the wait, and not the section; it may be for one before, which had just ended by itself.
    if [ "$status" -le 128 ] || [ -z "$signalled" ] || is_late; then break; fi
  done
  late=''
  if [ -s "$work/late" ]; then verdict "$@"; fi
  section=''
  mark end "$name" "$status${"${late:+ $late}"}"
}
is_late() { which=''; read -r which < "$work/late"; [ "$which" = "$section" ]; }
# Waits a fifth of a second, of which $turns counts; a whole one where sleep(1) takes no fractions (POSIX.1-2017 knows none)
doze() {
  if sleep 0.2 2>/dev/null; then turns=$((turns + 1)); else sleep 1 && turns=$((turns + 5)); fi
}
verdict() {
  read -r which < "$work/late"
  whose='' turns=0
  # One that came too late to be waited for may still be there.
  until { read -r whose ending < "$work/verdict"; [ "$whose" = "$which" ]; } || [ $turns -ge 50 ]; do
    doze || break
  done
  if [ "$which" = "$section" ] && [ "$status" -ne 0 ]; then
    # How it ended and after how many seconds, then what is left of it.
    if [ "$whose" = "$which" ]; then
      late=$ending
      { read -r whose
        while read -r line; do printf '%s\n' "$line" >&2; done
      } < "$work/verdict"
    fi
    case $late in stuck*) stuck=1;; esac
    drop "$@"
  fi
  : > "$work/late"
  : > "$work/verdict"
}
# PID: sets $comm, $state, $parent and $began of a process; fails where it is gone
seen() {
  { read -r stat < "/proc/$1/stat"; } 2>/dev/null || return 1
  comm=${"${stat#*\\(}"}
  comm=${"${comm%\\)*}"}
  set -- ${"${stat##*) }"}
  state=$1 parent=$2 began=${"${20}"}
  [ "$state" != Z ] && [ "$state" != X ]
}
# Those of $tree that are still there
left() {
  alive=''
  for entry in $tree; do
    if seen "${"${entry%%:*}"}" && [ "$began" = "${"${entry#*:}"}" ]; then alive="$alive $entry"; fi
  done
  [ -n "$alive" ]
}
# What a section has started, and it itself: PID:BEGAN, for a number may be another's soon
tree_of() {
  pids=" $1 " tree="$1:$began" turns=0 more=1
  while [ $more = 1 ] && [ $turns -lt 20 ]; do
    more=0 turns=$((turns + 1))
    for file in /proc/[0-9]*; do
      pid=${"${file#/proc/}"}
      case $pids in *" $pid "*) continue;; esac
      seen "$pid" || continue
      case $pids in *" $parent "*) pids="$pids$pid " tree="$tree $pid:$began" more=1;; esac
    done
  done
}
end_section() {
  read -r section < "$work/section" && seen "$section" && [ "$parent" = $$ ] || return 0
  tree_of "$section"
  echo "$section" > "$work/late"
  for signal in TERM KILL; do
    for entry in $tree; do ! seen "${"${entry%%:*}"}" || [ "$began" != "${"${entry#*:}"}" ] || kill -$signal "${"${entry%%:*}"}"; done
    turns=0
    while left && [ $turns -lt 10 ]; do
      doze
    done
  done
  verdict="$section ended $limit"
  if left; then
    verdict="$section stuck $limit"
    for entry in $alive; do
      seen "${"${entry%%:*}"}" || continue
      wchan=''
      read -r wchan < "/proc/${"${entry%%:*}"}/wchan"
      verdict="$verdict
$comm (process ${"${entry%%:*}"}) waits in the kernel${"${wchan:+: $wchan}"}"
    done
  fi
  printf '%s\n' "$verdict" > "$work/verdict"
  seen self && [ "$parent" = $$ ] && kill -USR1 $$
}
watch() {
  trap '[ -z "$nap" ] || kill $nap; exit' TERM
  nap='' quiet=0 limit=$1 step=$(( ($1 + 3) / 4 )) least=10
  [ $step -le 5 ] || step=5
  [ $least -le $limit ] || least=$limit
  while :; do
    sleep $step &
    nap=$!
    wait $nap || exit
    # Its number may be another's by now.
    nap=''
    # Of a script that was killed nobody else cleans up.
    if ! seen self || [ "$parent" != $$ ]; then
      rm -rf -- "$work"
      exit
    fi
    if [ -s "$signs" ]; then
      : > "$signs"
      quiet=0
    else
      quiet=$((quiet + step))
    fi
    if [ $quiet -ge $limit ]; then
      end_section
      quiet=0
      # Where many wait for one server, not each of them is to wait as long.
      if [ -n "$2" ]; then limit=$((limit / 2)); fi
      if [ $limit -lt $least ]; then limit=$least; fi
    fi
  done
}`,
};

/** A folder of the script's own, `$work`, and its watch; with the script both go. */
export function beginSections(idleMs: number, hastens: boolean): Script {
  return sh`for folder in /run "$XDG_RUNTIME_DIR" /dev/shm /tmp /var/tmp; do
  [ -n "$folder" ] && [ -w "$folder" ] && mkdir -- "$folder/$mark" || continue
  # A file system that is full may still have room for a folder.
  echo > "$folder/$mark/signs" && work=$folder/$mark && break
  rm -rf -- "$folder/$mark"
done 2>/dev/null
if [ -z "$work" ]; then
  echo 'no folder for temporary files can be made in /run, /dev/shm, /tmp or /var/tmp' >&2
  exit ${noFolderStatus}
fi
signs=$work/signs
export signs
: > "$work/late"
: > "$work/verdict"
: > "$signs"
trap signalled=1 USR1
trap '[ -z "$section" ] || kill "$section"
exit 143' TERM
# By exec: a shell keeps a copy of what a function's redirections replace, and who reads the script's output waits for it.
( exec </dev/null >/dev/null 2>&1 9>&-
watch ${Math.ceil(idleMs / 1000)} ${hastens ? "1" : ""} ) &
watcher=$!
trap 'status=$?
trap - EXIT
at_end
kill $watcher 2>/dev/null
rm -rf -- "$work"
work='"''"' signs='"''"'
mark over
exit $status' EXIT`;
}

/** EX_CANTCREAT (sysexits.h). */
const noFolderStatus = 73;
