import { type Script, sh } from "../remote/shell/sh";

/**
 * The lock of a machine: a file that one process at a time holds (flock(1) of util-linux 2.38), while it looks at
 * something again and writes.
 *
 * A takeover of a million entries takes minutes. So whoever holds it touches the file at every sign of progress, and
 * whoever wants it waits for as long as that goes on: a holder that stands still is the engine's to end, or somebody's
 * to look at.
 */

/** With what a script exits when another process holds the lock too long (EX_TEMPFAIL, sysexits.h). */
export const lockHeldStatus = 75;

/** Seconds that a write waits for a process that shows no progress. */
const quietSeconds = 60;

/** Sets `lock`, which the shell's `mark` and the program that walks trees touch; `file` is a word of the shell. */
export function takeLock(file: Script, quiet = quietSeconds): Script {
  return sh`exec 9>>${file}
since='' turn=''
# That of busybox knows no -w: then a second later.
until flock -n 9 || { [ -n "$turn" ] && flock -w ${Math.min(quiet, 5)} 9 2>/dev/null; }; do
  [ "$(date +%s)" != "$turn" ] || sleep 1 || exit
  turn=$(date +%s) || exit
  [ -n "$since" ] || since=$turn
  touched=$(stat -c %Y -- ${file} 2>/dev/null) || touched=$since
  [ "$touched" -le "$since" ] || since=$touched
  if [ $((turn - since)) -ge ${quiet} ]; then
    echo 'another process holds the lock of this machine' >&2
    exit ${lockHeldStatus}
  fi
  printf '\n%s wait\n' "$mark" >&2
done
lock=${file}
export lock
${signOfLife}`;
}

/** What still goes on is no longer under it; what cannot be ended still has the file open. */
export const letGo = sh`[ -z "$stuck" ] || flock -u 9 2>/dev/null
exec 9>&-
lock=''`;

/**
 * In a shell: a sign of progress, to the script's watch (engine/section.ts) and, where the lock is held, to who waits.
 * Where that fails (a full disk) nothing else does.
 */
export const signOfLife = sh`{ [ -z "$lock" ] || command : > "$lock"
  [ -z "$signs" ] || echo > "$signs"
  } 2>/dev/null || :`;
