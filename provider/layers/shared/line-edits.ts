import type { Step } from "../../engine/layer";
import { putInPlace } from "../../remote/shell/atomic-write";
import { type Script, sh } from "../../remote/shell/sh";

/**
 * Changes a line of the guest's fstab, or of another file of lines, on what stands there then: so those of several shares
 * commute. Without `from` it is added, before those that are mounted in it, else at the end; without `to` it is taken
 * out. Lines are bytes, a character each. `hadFile` false: the file was not there before, and goes with its last line.
 */
export function editLine(
  does: string,
  from: string,
  to: string,
  hadFile: boolean,
  file = "/etc/fstab",
): Step {
  const edit = (one: string, other: string): Script =>
    sh`edit_lines ${file} ${word(one)} ${word(other)} ${hadFile ? "keep" : ""}`;
  return { does, run: edit(from, to), undo: edit(to, from) };
}

/** A word of these bytes; what is no UTF-8 by printf's octal escapes. */
function word(text: string): Script {
  const bytes = Buffer.from(text, "latin1");
  if (bytes.equals(Buffer.from(bytes.toString("utf8")))) return sh`${bytes.toString("utf8")}`;
  return sh`"$(printf ${[...bytes].map((byte) => `\\${byte.toString(8).padStart(3, "0")}`).join("")})"`;
}

/**
 * `edit_lines FILE FROM TO KEEP`, as {@link editLine}. TO that is there already is not added again; it fails where its
 * mount point has another line. FROM that is gone with its mount point need not be taken out.
 *
 * All other bytes stay: lines are compared as bytes (LC_ALL=C) and without their ends. A file without an end of the last
 * line gets one in front of ours, which goes with it; ends are CRLF where all others are. How many bytes there are tells
 * awk whether the last line has an end, and that it lost no NUL; how many were written, that the disk is not full.
 */
export const editLines: Script = sh`again=''
edit_lines() {
  name=$1 file=$1 old=/dev/null had=0
  shift
  if [ -L "$file" ]; then file=$(readlink -f -- "$file") || file=$name; fi
  fresh=$file.virtio9p
  trap 'rm -f -- "$fresh"' EXIT
  if [ -e "$file" ]; then
    cp -a -- "$file" "$fresh"
    old=$file had=$(wc -c < "$file")
  else ( umask 022; : > "$fresh" ); fi
  : > "$fresh"
  exec 6<"$old"
  ended=0
  from=$1 to=$2 fresh=$fresh had=$had awk '
function point(l, f) {
  sub(/^[ \t]+/, "", l)
  if (l ~ /^#/ || split(l, f, /[ \t]+/) < 3 || f[2] !~ /^\//) return ""
  gsub(/\/+/, "/", f[2]); while (sub(/\/\.\//, "/", f[2])); sub(/\/\.?$/, "", f[2])
  return f[2] "/"
}
function crlf(last, i) { for (i = 1; i <= last; i++) if (line[i] !~ /\r$/) return 0; return last > 0 }
function bare(l) { sub(/\r$/, "", l); return l }
{ line[NR] = $0; got += length($0) + 1 }
END {
  ended = !NR || got == ENVIRON["had"] + 0
  if (!ended && got != ENVIRON["had"] + 1) exit 5
  from = ENVIRON["from"]; to = ENVIRON["to"]
  mine = from != "" ? from : to; key = point(mine)
  n = NR
  for (i = 1; i <= n; i++) {
    p = point(line[i])
    if (bare(line[i]) == mine) at = i
    else if (p != "" && p == key) other = i
    else if (p != "" && index(key, p) == 1) within = i
    else if (!inner && p != "" && index(p, key) == 1) inner = i
  }
  if (!at && (other || from != "" && to != "")) exit 3
  if (at && from != "" && to != "") line[at] = to (line[at] ~ /\r$/ ? "\r" : "")
  else if (at && from != "") {
    if (at == n && !ended && crlf(n - 2)) sub(/\r$/, "", line[n - 1])
    for (n--; at <= n; at++) line[at] = line[at + 1]
  } else if (!at && from == "") {
    end = crlf(ended ? n : n - 1) ? "\r" : ""
    if (inner > within) {
      for (i = n++; i >= inner; i--) line[i + 1] = line[i]
      line[inner] = to end
    } else if (ended) line[++n] = to end
    else { line[n] = line[n] end; line[++n] = to }
  }
  for (i = 1; i <= n; i++) {
    size += length(line[i]) + 1
    printf "%s%s", line[i], (i < n || ended ? "\n" : "") > ENVIRON["fresh"]
  }
  close(ENVIRON["fresh"])
  while ((getline l < ENVIRON["fresh"]) > 0) back += length(l) + 1
  if (back != size) exit 4
}' <&6 || ended=$?
  # Somebody without the lock has written to it meanwhile: once more, on what stands there now.
  if { [ $ended -eq 5 ] || [ "$old" -nt "$fresh" ] || ! [ "$old" -ef /proc/self/fd/6 ]; } && [ "$again" != aaaa ]; then
    again=a$again
    edit_lines "$name" "$@"
    return
  fi
  again=''
  case $ended in
  0) ;;
  3) echo "the line is not in $name any more as it was: it is left as it is" >&2; return 1 ;;
  5) echo "$name is written to all the time, or has bytes that this awk does not read" >&2; return 1 ;;
  *) echo "the new $name could not be written whole: is the disk full?" >&2; return 1 ;;
  esac
  if [ -z "$3" ] && ! [ -s "$fresh" ]; then rm -f -- "$file" "$fresh"
  else ${putInPlace(sh`"$fresh"`, sh`"$file"`)}
  fi
  # What somebody has appended to the former file meanwhile, without the lock.
  while IFS= read -r line <&6 || [ -n "$line" ]; do printf '%s\n' "$line" >> "$file"; done
  exec 6<&-
  trap - EXIT
  echo > "$work/reload"
  changed_in "$${{ text: "{file%/*}" }}/"
}
# FOLDER: a name in it was changed, and is on the disk when the script has ended, though the power is cut then
changed_in() { printf '%s\n' "$1" >> "$work/folders"; }
on_disk() {
  [ -s "$work/folders" ] || return 0
  set --
  while IFS= read -r folder; do set -- "$@" "$folder"; done < "$work/folders"
  sync "$@"
}
# systemd reads fstab anew, once for all that was written. It takes seconds, for which nobody waits: mount(8) reads the
# file itself, and so does the next boot. (systemctl of systemd 252 waits for it with --no-block, too.)
at_end() {
  [ -s "$work/reload" ] && [ -d /run/systemd/system ] || return 0
  ( exec </dev/null >/dev/null 2>&1 9>&-
  systemctl daemon-reload ) &
}`;
