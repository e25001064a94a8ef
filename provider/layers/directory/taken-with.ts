import type { Fact, Refusal, Step } from "../../engine/layer";
import { decodeField } from "../../formats/fstab";
import { nestedIdentity } from "../../remote/shell/inode";
import { linesIn } from "../../formats/lines-in";
import { lines, type Script, sh } from "../../remote/shell/sh";
import { nameOf, recordsOf } from "../shared/inode-snapshot";
import type { TreeAt } from "../shared/tree-at";

/**
 * Other file systems and subvolumes in a share's directory that release 0.1.0 took over with it
 * (`directory.otherFileSystems: take`). Each has a snapshot of its own, and comes back with the tree. Nothing takes one
 * over any more.
 */
export interface TakenWith {
  /** Its snapshot. */
  readonly name: string;
  /** Where it was when it was taken over. */
  readonly path: string;
  /** By what it is known; undefined: it is not there now, or another one is. */
  readonly root: TreeAt | undefined;
  /** Whether links in it were mapped, and are to come back. */
  readonly linksMapped: boolean;
  /** Files that had setuid, setgid or capabilities. */
  readonly hadPrivileges: number;
}

/**
 * What was taken over with a directory. Samples: snapshot, path, what there is of it, how many had privileges, and by what
 * it is known; `-` where it is not there.
 *
 * ```
 * 77b2... /srv/a/with\040blank owners,links 1 3f1c8a6b4d2e9071:256:1763877000.123456789
 * ```
 */
export function takenWith(directory: string): Fact<readonly TakenWith[]> {
  return {
    place: "host",
    does: `see which file systems were taken over with ${directory}`,
    precondition: true,
    script: sh`[ -e ${listOf(directory)} ] || exit 0
while read -r name field; do
  owners="$records/owners/$name" links="$records/links/$name" has='' count=0 is=-
  if [ -e "$owners" ]; then has=owners; fi
  if [ -e "$links" ] || [ -e "$links.suffix" ]; then has="$has,links"; fi
  [ -n "$has" ] || continue
  if [ -e "$owners.privileged" ]; then count=$(wc -l < "$owners.privileged"); fi
  path=$(printf "$(printf %s "$field" | sed 's/%/%%/g').")
  path=$${{ text: "{path%.}" }}
  if [ -d "$path" ]; then is=$(${nestedIdentity(sh`"$path"`)}); fi
  [ "$(printf %s ${directory} " $is" | sha256sum | cut -c 1-32)" = "$name" ] || is=-
  printf '%s %s %s %s %s\n' "$name" "$field" "$has" "$count" "$is"
done < ${listOf(directory)}`,
    parse: (_output, bytes) =>
      linesIn(bytes.toString("latin1")).map((line) => {
        const [name = "", field = "", has = "", count, identity = "-"] = line.split(" ");
        const path = decodeField(field);
        return {
          name,
          path,
          root: identity === "-" ? undefined : { path, identity, outer: directory },
          linksMapped: has.includes("links"),
          hadPrivileges: Number(count),
        };
      }),
  };
}

/** Where what was taken over is not there: nothing is given back by half. */
export function unreturnable(directory: string, taken: readonly TakenWith[]): Refusal[] {
  return taken
    .filter(({ root }) => root === undefined)
    .map(({ name, path }) => ({
      code: "sourceVanished",
      what: `${path}, which was taken over with ${directory}, is not there now`,
      remedy: `mount it there again, and run it again; if it is gone for good, rm -f ${recordsOf("owners", name)}* ${recordsOf("links", name)}* on the host, where it is written down what its entries had`,
    }));
}

/** When all of them are given back. */
export function forgetTakenWith(directory: string, taken: readonly TakenWith[]): Step[] {
  if (taken.length === 0) return [];
  return [
    {
      does: `forget what the entries of file systems in ${directory} had`,
      run: lines([
        ...taken.map(
          ({ name }) =>
            sh`rm -f -- "$records"/owners/${name} "$records"/owners/${name}.* "$records"/links/${name} "$records"/links/${name}.*`,
        ),
        sh`rm -f -- ${listOf(directory)}
rmdir -- "$records"/owners "$records"/links 2>/dev/null || :`,
      ]),
    },
  ];
}

/** The list of what was taken over with a directory, named as its snapshot is. */
function listOf(path: string): Script {
  return sh`"$records"/owners/nested.${nameOf(path)}`;
}
