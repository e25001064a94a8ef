import { type Script, sh } from "./shell";
import { identityFormat } from "./identity";

/** What a script says that finds another directory than it was made for. */
export const anotherDirectory = "another directory has taken the place of the one that was looked at";

/**
 * Runs a script with a directory as its working directory, `.`, and only if it is the one that is meant: it may lie in
 * another share, whose guest can put a link, or another directory, in its place at any moment.
 *
 * `identity`: inode and birth ({@link identityFormat}). Undefined: it was made just now, and may be reached by no link.
 */
export function inDirectory(directory: string, identity: string | undefined, run: Script): Script {
  return sh`( cd -P -- ${directory}
${identity === undefined ? isAt(directory) : sh`[ "$(stat -c ${identityFormat} .)" = ${identity} ]`} || {
  echo ${anotherDirectory} >&2
  exit 1
}
${run}
)`;
}

/** Succeeds where the working directory is the one of this path, with no link above it. */
export function isAt(directory: string): Script {
  return sh`[ "$(pwd -P && echo .)" = ${`${directory}\n.`} ]`;
}
