import { type Script, sh } from "../../remote/shell/sh";

/**
 * Prints where something is mounted in the tree of `path`, a line each: what lies under a mount is seen by nobody, and a
 * bind mount is another tree. Each is a pattern of find(1) without the path and the `/` behind it.
 *
 * In /proc/self/mountinfo a blank, a tab, a line end and a backslash stand as octal digits (proc(5)); in a pattern any byte
 * stands for a line end here. A mount that another one above it hides is none. To be asked outside of
 * remote/shell/no-symlinks.ts, whose own mount hides all of them.
 */
export function mountsIn(path: string): Script {
  return sh`of=${path} awk '{ gsub(/\\040/, " ", $5); gsub(/\\011/, "\t", $5); gsub(/\\012/, "\n", $5); gsub(/\\134/, "\\", $5)
  of = ENVIRON["of"]; parent[$1] = $2; point[$1] = $5; order[NR] = $1
  above = $5 == "/" ? "/" : $5 "/"
  if (($5 == of || index(of, above) == 1) && length($5) >= length(point[holder])) holder = $1
}
END {
  for (n = 1; n <= NR; n++) {
    name = point[order[n]]
    if (index(name, of "/") != 1) continue
    for (up = parent[order[n]]; up in parent && up != holder && index(point[up], of "/") == 1;) up = parent[up]
    if (up != holder) continue
    name = substr(name, length(of) + 2)
    gsub(/[][*?\\]/, "\\\\&", name)
    gsub(/\n/, "?", name)
    print name
  }
}' /proc/self/mountinfo`;
}

/**
 * Sets "$@" to what find(1) is given first so that it stays out of them: out of what `mounts` prints, in a tree that it walks
 * as `start`. `told`: what it does with each.
 */
export function without(mounts: Script, start: string, told = sh``): Script {
  return sh`set -f --
IFS='
'
for one in $(${mounts}); do set -- "$@" -path ${start.replace(/[[\]*?\\]/g, "\\$&")}/"$one" -prune ${told} -o; done
unset IFS
set +f`;
}

/**
 * Runs a script in a directory, with nothing seen of what is mounted in it: a mount of a user's own (FUSE) lets not even
 * root ask for its status, and one whose server is away never answers. `$mounts` has what {@link mountsIn} prints.
 *
 * In a mount namespace of its own, where only the directory's file system is mounted on it (a bind mount takes what is
 * mounted below along only with `--rbind`: mount(8) of util-linux 2.38). Who may not make one walks as it is.
 */
export function withoutMounts(path: string, run: Script): Script {
  const inside = sh`mount --bind -- ${path} ${path} && cd -P -- ${path} && eval "$run"`;
  return sh`mounts=$(${mountsIn(path)})
run=${run.text}
export mark mounts run
if [ -n "$mounts" ] && unshare --mount --propagation private mount --bind -- ${path} ${path} 2>/dev/null; then
  unshare --mount --propagation private sh -c ${inside.text}
else
  cd -P -- ${path} && eval "$run"
fi`;
}
