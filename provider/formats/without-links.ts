import { type Script, sh } from "./shell";

/**
 * Runs a script in a directory in which no link is followed, whatever somebody puts there meanwhile: in a mount
 * namespace of its own, with the directory mounted on itself `nosymfollow`. It is the working directory, and `.`
 * is the whole tree.
 *
 * Linux before 5.10 and mount(8) before 2.37 know no such mount, and some of them say nothing of it: whether it is one
 * is read from what the kernel says of the last mount. Where it is none `ofGuest` decides: true, a guest could put links
 * there, and it is an error; else nobody but the host does.
 *
 * The script sees exported variables alone. Source: mount_setattr(2) of man-pages 6.03; mount(8) of util-linux 2.38.
 */
export function withoutLinks(directory: string, ofGuest: boolean, run: Script): Script {
  const inside = sh`set -e
mount --bind -- ${directory} ${directory}
mount -o remount,bind,nosymfollow -- ${directory} || :
${ofGuest ? verified : sh`:`}
cd -P -- ${directory}
${run}`;
  return sh`unshare --mount --propagation private sh -c ${inside.text}`;
}

const verified = sh`tail -n 1 /proc/self/mountinfo | cut -d ' ' -f 6 | grep -q '\bnosymfollow\b' || {
  echo 'a running guest could put links into the tree, which this kernel or mount(8) cannot be kept from following' >&2
  exit 1
}`;
