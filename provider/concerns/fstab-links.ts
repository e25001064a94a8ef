import { posix } from "node:path";
import type { Fact } from "../engine/concern";
import { decodeField, decodeUtf8 } from "../formats/fstab";
import { sh } from "../formats/shell";
import { mountinfo } from "./guest-facts";

/**
 * Mount points through links, sample: `/mnt/link/a\040b /mnt/real/a b`. Both readers follow them: mount(8) of
 * util-linux 2.38 compares canonical paths last (libmount tab.c, `mnt_table_find_target`), and systemd takes links "as far
 * as possible" (systemd-fstab-generator(8), 252). What is mounted is where it says, and may not answer.
 */
export const fstabLinks: Fact<ReadonlyMap<string, string>> = {
  key: "fstab links",
  fixed: true,
  place: "guest",
  does: "see where the mount points in /etc/fstab lead",
  gathers: mountinfo,
  // No process for a line whose path has no link in it: there may be many lines.
  script: sh`[ -e /etc/fstab ] || exit 0
while read -r source field _ || [ -n "$source" ]; do
  case $source in '#'*) continue;; esac
  case $field in /*) ;; *) continue;; esac
  case $mountinfo in *" $field "*) continue;; esac
  path=$field
  case $field in *[\\%]*) path=$(printf "$(printf %s "$field" | sed 's/%/%%/g').") && path=$${{ text: "{path%.}" }};; esac
  at=$path
  until [ -L "$at" ] || [ -z "$at" ]; do at=$${{ text: "{at%/*}" }}; done
  [ -n "$at" ] || continue
  # Below the last link there is none: how the path goes on is as it is spelled.
  real=$(readlink -f -- "$at") || continue
  printf '%s %s\n' "$field" "$real$${{ text: '{path#"$at"}' }}"
done < /etc/fstab`,
  parse: (_output, bytes) =>
    new Map(
      [...bytes.toString("latin1").matchAll(/(\S+) ([^\n]*)\n/g)].map(([, field = "", real = ""]) => [
        decodeField(field),
        posix.normalize(decodeUtf8(real)).replace(/(.)\/$/, "$1"),
      ]),
    ),
};
