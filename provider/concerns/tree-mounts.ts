import { type Script, sh } from "../formats/shell";

/**
 * Sets "$@" to what find(1) is given first so that it stays out of directories that something is mounted on, in the tree
 * of `path` that it walks as `start`: what lies under a mount is seen by nobody, and a bind mount is another tree.
 *
 * In /proc/self/mountinfo a blank, a tab, a line end and a backslash stand as octal digits (proc(5)); in a pattern any byte
 * stands for a line end here. `told`: find's -printf for each of them.
 */
export function withoutMounts(path: string, start: string, told = ""): Script {
  const pattern = start.replace(/[[\]*?\\]/g, "\\$&");
  return sh`set -f --
IFS='
'
for one in $(of=${path} awk '{ gsub(/\\040/, " ", $5); gsub(/\\011/, "\t", $5); gsub(/\\012/, "\n", $5); gsub(/\\134/, "\\", $5) }
index($5, ENVIRON["of"] "/") == 1 {
  name = substr($5, length(ENVIRON["of"]) + 2)
  gsub(/[][*?\\]/, "\\\\&", name)
  gsub(/\n/, "?", name)
  print name
}' /proc/self/mountinfo); do set -- "$@" -path ${pattern}/"$one" -prune -printf ${told} -o; done
unset IFS
set +f`;
}
