import { identityFormat, nestedIdentity } from "./inode";
import { anotherDirectory, isAt } from "./in-directory";
import { type Script, sh } from "./sh";

/**
 * Runs a script in a directory in which no link is followed, whatever somebody puts there meanwhile: in a mount
 * namespace of its own, with the directory mounted on itself `nosymfollow`. It is the working directory, and `.`
 * is the whole tree.
 *
 * Linux before 5.10 and mount(8) before 2.37 know no such mount, and some of them say nothing of it: whether it is one
 * is read from what the kernel says of it. Where it is none `ofGuest` decides: true, a guest could put links
 * there, and it is an error; else nobody but the host does.
 *
 * `identity` is what stat(1) says of the directory ({@link identityFormat}): `6029396:1763877000.123456789`. Where the
 * directory lies in another share, its guest may have put a link in the directory's own place. One that another file
 * system begins at has a {@link nestedIdentity}, and there may be no link above it either; nor where none is given.
 *
 * The script sees exported variables alone. Source: mount_setattr(2) of man-pages 6.03; mount(8) of util-linux 2.38.
 */
export function withoutLinks(directory: string, ofGuest: boolean, run: Script, identity?: string): Script {
  const is =
    identity?.split(":").length === 3
      ? sh`[ "$(${nestedIdentity(sh`.`)})" = ${identity} ] && ${isAt(directory)}`
      : identity === undefined
        ? isAt(directory)
        : sh`[ "$(stat -c ${identityFormat} .)" = ${identity} ]`;
  const inside = sh`set -e
mount --bind -- ${directory} ${directory}
mount -o remount,bind,nodev,nosymfollow -- ${directory} || mount -o remount,bind,nodev -- ${directory}
cd -P -- ${directory}
${ofGuest ? verified : sh`:`}
${is} || {
  echo ${anotherDirectory} >&2
  exit 1
}
${run}`;
  return sh`unshare --mount --propagation private sh -c ${inside.text}`;
}

/** Of the very mount that the working directory is on (mnt_id: proc(5), Linux 3.15). */
const verified = sh`exec 8<.
mount=$(sed -n 's/^mnt_id:[[:space:]]*//p' /proc/self/fdinfo/8)
exec 8<&-
awk -v mount="$mount" '$1 == mount && ("," $6 ",") ~ /,nosymfollow,/ { found = 1 } END { exit !found }' /proc/self/mountinfo || {
  echo 'a running guest could put links into the tree, which this kernel or mount(8) cannot be kept from following' >&2
  exit 1
}`;
