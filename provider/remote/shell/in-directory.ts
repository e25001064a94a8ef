import { identityFormat } from "./inode";
import { type Script, sh } from "./sh";

/** What a script says that finds another directory than it was made for. */
export const anotherDirectory = "another directory has taken the place of the one that was looked at";

/**
 * Runs a script on a directory, `at`, from within it, and only if it is the one that is meant: it may lie in another share,
 * whose guest can put a link, or another directory, in its place at any moment.
 *
 * `identity`: inode and birth ({@link identityFormat}), or the inode alone where no link is above it, for an overlay gives a
 * directory another birth with its first change. Undefined: it was made just now, and may be reached by no link.
 */
export function inDirectory(
  directory: string,
  identity: string | undefined,
  run: (at: Script) => Script,
): Script {
  const [inode = ""] = identity?.split(":") ?? [];
  const same = sh`[ "$(stat -c ${identityFormat} -- "$at")" = ${identity ?? ""} ]`;
  const sameInode = sh`{ [ "$(stat -c %i -- "$at")" = ${inode} ] && ${isAt(directory)}; }`;
  return sh`( at=.
if ! cd -P -- ${directory}; then
  # A user's own, which that user may not enter: only its mode can be changed, and nobody else has it.
  [ "$(id -u)" != 0 ] || exit 1
  at=${directory}
fi
${identity === undefined ? isAt(directory) : sh`${same} || ${sameInode}`} || {
  echo ${anotherDirectory} >&2
  exit 1
}
${run(sh`"$at"`)}
)`;
}

/** Succeeds where the working directory is the one of this path, with no link above it. */
export function isAt(directory: string): Script {
  return sh`[ "$(pwd -P && echo .)" = ${`${directory}\n.`} ]`;
}
