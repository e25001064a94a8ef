/**
 * The programs that every script may use, asked for before anything else is run. What only some need is asked for by the
 * fact that needs it (`tools` of engine/layer.ts).
 */

const both = [
  ..."awk cat chmod chown cp cut date grep head ls mkdir mv readlink".split(" "),
  ..."rm rmdir sed sha256sum sleep sort stat sync tail tr wc".split(" "),
];

/** On a KVM host, too. */
export const hostPrograms: readonly string[] = [
  ...both,
  ..."find flock id mktemp paste setsid uniq xargs".split(" "),
];

/** In a guest, which may have no more than busybox. */
export const guestPrograms: readonly string[] = [...both, ..."find mount umount xargs".split(" ")];

const others: Readonly<Record<string, readonly [debian: string, fedora: string]>> = {
  awk: ["mawk", "gawk"],
  find: ["findutils", "findutils"],
  flock: ["util-linux", "util-linux"],
  grep: ["grep", "grep"],
  setsid: ["util-linux", "util-linux"],
  mount: ["mount", "util-linux"],
  sed: ["sed", "sed"],
  umount: ["mount", "util-linux"],
  xargs: ["findutils", "findutils"],
};

/** What brings one of them: Debian and Ubuntu; Fedora and EL. */
export function packagesOf(program: string): readonly [debian: string, fedora: string] {
  return others[program] ?? ["coreutils", "coreutils"];
}
