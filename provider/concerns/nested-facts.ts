import type { Fact } from "../engine/concern";
import { telling } from "../engine/machine-lock";
import { decodeOctalEscapes } from "../formats/octal-escape";
import { type Script, lines, sh } from "../formats/shell";
import { directoriesAbove } from "../formats/system-path";
import { nestedIdentity } from "../formats/identity";
import { nameOf } from "./ledger";
import type { Named } from "./tree-facts";
import { ledgerOf, type TreeAt } from "./tree-at";

/**
 * Other file systems and subvolumes that begin in a share's directory, where they are to be taken over with it: each is
 * a tree for itself, with a ledger of its own, for inodes are those of one file system.
 *
 * They are known by what they are and not by where they are: a guest renames the directories that lead to them, and one
 * disk takes the place of another.
 */

/** File systems in a tree that are told; with more of them all are refused. */
export const mostNested = 2000;

/** A directory in a share's tree at which another file system begins. */
export interface NestedRoot extends TreeAt {
  readonly outer: string;
  /** Why it cannot be taken over: it does not keep what is needed for that. */
  readonly lacks: readonly ("birth" | "attributes" | "writing")[];
}

/** What begins in a tree, the deepest first. */
export interface NestedRoots {
  readonly roots: readonly NestedRoot[];
  /** Whether there are more, which cannot be told: too many, or their names are no UTF-8. */
  readonly more: boolean;
}

/**
 * Looked for where it is `asked`, or where some were taken over before. Samples, with NULs between them:
 *
 * ```
 * 3f1c...:256:1763877000.123456789 writes,attributes,ext2/ext3 /srv/a/sub
 * ```
 */
export function nestedRoots(path: string, asked: boolean): Fact<NestedRoots> {
  return {
    key: `nested roots ${path} ${asked}`,
    place: "host",
    does: `see which file systems begin in ${path}`,
    script: sh`[ -d ${path} ] && { ${asked ? sh`:` : sh`false`} || [ -e ${listOf(path)} ]; } || exit 0
find ${path} -type d -printf '%d %D %i %p\0' 2>/dev/null | awk -v mark="$mark" -v most=${mostNested} 'BEGIN { RS = "\0" }
${{ text: telling }}
{ device[$1] = $2 }
$1 > 0 && $2 != device[$1 - 1] {
  if (++count > most) { printf "%c", 0; exit }
  printf "%s%c", $2 " " $3, 0
  sub(/^[^ ]* [^ ]* [^ ]* /, "")
  printf "%s%c", $0, 0
}' | xargs -0 -r -n 2 sh -c '[ -n "$1" ] || { printf "\0"; exit; }
  has=writes
  [ -w "$2" ] || has=
  getfattr -h --absolute-names -n user.virtfs.uid -- "$2" 2>&1 >/dev/null | grep -q "not supported" || has=$has,attributes
  # Too deep for a system call.
  [ $(printf %s "$2" | wc -c) -lt 4096 ] || { printf "\0"; exit; }
  has=$has,$(stat -f -c %T -- "$2" 2>/dev/null | tr " " _)
  is=$(${nestedIdentity(sh`"$2"`)}) 2>/dev/null
  # Not what a guest put there, or above it, since find(1) was there.
  [ "$1" != "$(stat -c "%d %i" -- "$2" 2>/dev/null)" ] || printf "%s %s %s\0" "$is" "$has" "$2"' sh`,
    parse(_output, bytes) {
      const decoder = new TextDecoder("utf-8", { fatal: true });
      let more = false;
      const roots = split(bytes).flatMap((one) => {
        try {
          const [identity = "", has = "", ...rest] = decoder.decode(one).split(" ");
          if (identity !== "")
            return [{ path: rest.join(" "), identity, outer: path, lacks: lacksOf(identity, has) }];
        } catch {
          // A name that no script can be given.
        }
        more = true;
        return [];
      });
      return { roots: roots.sort((a, b) => (a.path < b.path ? 1 : -1)), more };
    },
  };
}

/** At NULs. */
function split(bytes: Buffer): Buffer[] {
  const parts: Buffer[] = [];
  for (let at = 0, end = bytes.indexOf(0); end >= 0; at = end + 1, end = bytes.indexOf(0, at))
    parts.push(bytes.subarray(at, end));
  return parts;
}

/** An overlay gives a file another inode when its owner changes, and a tmpfs is another one after a boot. */
function lacksOf(identity: string, has: string): NestedRoot["lacks"] {
  const words = has.split(",");
  const tellsBirth =
    Number(identity.split(":").at(-1)) > 0 &&
    !["overlayfs", "tmpfs", "ramfs"].some((one) => words.includes(one));
  return [
    ...(tellsBirth ? [] : (["birth"] as const)),
    ...(words.includes("attributes") ? [] : (["attributes"] as const)),
    ...(words.includes("writes") ? [] : (["writing"] as const)),
  ];
}

/** A file system that was taken over with the directory of a share. */
export interface TakenWith {
  /** Its ledger. */
  readonly name: string;
  /** Where it was when it was taken over last. */
  readonly path: string;
  /** Whether the guest sees of all in it what it had. */
  readonly viewKept: boolean;
  /** Whether links in it were mapped, and are to come back. */
  readonly linksMapped: boolean;
  readonly hadPrivileges: Named;
}

/**
 * What was taken over with a directory. Samples: ledger, path, what there is of it, how many had privileges, and names
 * of those.
 *
 * ```
 * 77b2... /srv/a/sub owners,view 1
 * = ./bin/su
 * ```
 */
export function takenWith(directory: string): Fact<readonly TakenWith[]> {
  return {
    key: `taken over with ${directory}`,
    place: "host",
    does: `see which file systems were taken over with ${directory}`,
    guard: true,
    script: sh`cat -- ${listOf(directory)} 2>/dev/null | while read -r name path; do
  inner="$records/owners/$name" links="$records/links/$name" has='' count=0
  if [ -e "$inner" ]; then has=owners; fi
  if [ -e "$inner.view" ]; then has="$has,view"; fi
  if [ -e "$links" ] || [ -e "$links.suffix" ]; then has="$has,links"; fi
  if [ -e "$inner.privileged" ]; then count=$(wc -l < "$inner.privileged"); fi
  printf '%s %s %s %s\n' "$name" "$path" ",$has" "$count"
  if [ "$count" -gt 0 ]; then head -n 5 -- "$inner.privileged" | sed 's/^/= /'; fi
done
:`,
    parse(output) {
      const found: (TakenWith & { readonly hadPrivileges: { names: string[] } })[] = [];
      for (const line of output.split("\n").filter((one) => one !== "")) {
        if (line.startsWith("= ")) {
          found.at(-1)?.hadPrivileges.names.push(decodeOctalEscapes(line.slice(2).replace(/^\.\//, "")));
          continue;
        }
        const [name = "", path = "", list = "", count] = line.split(" ");
        const has = list.split(",");
        // A killed run may not have come to some of them.
        if (!has.includes("owners") && !has.includes("links")) continue;
        found.push({
          name,
          path: decodeOctalEscapes(path),
          viewKept: has.includes("view") || !has.includes("owners"),
          linksMapped: has.includes("links"),
          hadPrivileges: { count: Number(count), names: [] },
        });
      }
      return found;
    },
  };
}

/** The ledgers of all file systems that were taken over with directories of this host. */
export const takenOnHost: Fact<ReadonlySet<string>> = {
  key: "file systems taken over with directories",
  place: "host",
  does: "see which file systems were taken over with directories that they begin in",
  script: sh`cat -- "$records"/owners/nested.* 2>/dev/null | while read -r name path; do
  if [ -e "$records/owners/$name" ]; then echo "$name"; fi
done
:`,
  parse: (output) => new Set(output.split("\n").filter((name) => name !== "")),
};

/** What a directory and those above it are, as nested ones; nothing where none was taken over. */
export function identitiesAbove(path: string): Fact<readonly string[]> {
  const places = [path, ...directoriesAbove(path)];
  return {
    key: `nested above ${path}`,
    place: "host",
    does: `see which file systems ${path} is in`,
    script: lines([
      sh`ls "$records"/owners/nested.* >/dev/null 2>&1 || exit 0`,
      ...places.map((one) => sh`if [ -d ${one} ]; then printf '%s\n' "$(${nestedIdentity(sh`${one}`)})"; fi`),
    ]),
    parse: (output) => output.split("\n").filter((line) => line !== ""),
  };
}

/** The list of what was taken over with a directory. */
export function listOf(path: string): Script {
  return sh`"$records"/owners/nested.${outerOf(path)}`;
}

/** By which the list of a directory is named, as its ledger is. */
const outerOf = (path: string): string => nameOf(ledgerOf("owners", { path }));

export const nameOfRoot = (outer: string, identity: string): string =>
  nameOf(ledgerOf("owners", { path: outer, outer, identity }));
