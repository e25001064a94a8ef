import { type Script, sh } from "./sh";

/**
 * Moves a file that was written beside another over it: a reader sees the old one or the new one, and so does a
 * machine whose power is cut. Both the bytes and the name are on the disk before the script goes on. Where it cannot be
 * moved (the file is immutable, or a mount of its own), the fresh one goes.
 *
 * `folder` is where both are; without it the name may come to the disk later. sync(1) of a file, and its errors: coreutils 8.24 and later; an older one, and busybox
 * without that feature, write everything.
 */
export function putInPlace(fresh: Script, file: Script, folder?: Script): Script {
  return sh`{ sync ${fresh} && mv -f -- ${fresh} ${file}; } || { rm -f -- ${fresh}; exit 1; }
${folder ? sh`sync ${folder}` : sh`:`}`;
}
