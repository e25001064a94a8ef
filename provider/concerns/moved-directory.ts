import type { Fact } from "../engine/concern";
import { lineOf } from "../engine/record";
import { identityFormat, isSameIdentity } from "../formats/identity";
import { lines, type Script, sh } from "../formats/shell";
import { openLedger } from "./ledger";
import { without, withoutMounts } from "./tree-mounts";

const hadInode: Script = { text: '"${had%%:*}"' };

/** A directory that is not where its record says, in a larger share's tree. */
export interface MovedDirectory {
  /** The directory of the larger share, whose tree was taken over. */
  readonly outer: string;
  /** Inode and birth. */
  readonly identity: string;
}

/**
 * Where a share's directory is now: the guest of a larger share may have moved it, or its disk is away, which is another
 * thing. Looked for in the trees of `directories` that were taken over, and only where it is not at its path. What cannot
 * be walked is not found: its ledger is kept then.
 *
 * Sample: `0 6029396:1763877000.123456789`.
 */
export function movedDirectory(
  path: string,
  directories: readonly string[],
): Fact<readonly MovedDirectory[]> {
  return {
    key: `moved ${path}`,
    place: "host",
    does: `see whether what was ${path} was moved in the tree of a larger share`,
    guard: true,
    script: lines([
      sh`around=`,
      ...directories.map(
        (one, index) => sh`${openLedger({ of: "owners", path: one })}
if [ -e "$ledger" ] && [ -d ${one} ]; then around="$around "${index}; fi`,
      ),
      sh`[ -n "$around" ] || exit 0
had=$({ ${lineOf("directory", path)}; } | sed -n 's/.*"inode":"\([0-9]*\)","born":"\([0-9.]*\)".*/\1:\2/p')
[ -n "$had" ] || exit 0
is() { ${isSameIdentity(sh`$1`, sh`"$had"`)}; }
if is "$(stat -c ${identityFormat} -- ${path} 2>/dev/null)"; then exit 0; fi
export had
found() {
  while read -r one; do
    if is "$one"; then printf '%s %s\n' "$1" "$one"; fi
  done
}`,
      ...directories.map(
        (one, index) => sh`case "$around " in (*" "${index}" "*) {
${withoutMounts(one, lines([without(sh`printf '%s\n' "$mounts"`, "."), sh`find . -xdev "$@" -type d -inum ${hadInode} -exec stat -c ${identityFormat} -- {} ';'`]))}
} 2>/dev/null | found ${index} ;; esac`,
      ),
    ]),
    parse: (output) =>
      output.split("\n").flatMap((line) => {
        const [index, identity] = line.split(" ");
        const outer = directories[Number(index)];
        return identity === undefined || outer === undefined ? [] : [{ outer, identity }];
      }),
  };
}
