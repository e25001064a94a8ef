import type { Fact, Refusal, Step } from "../engine/concern";
import { telling } from "../engine/machine-lock";
import { DirectoryTrees } from "../formats/directory-tree";
import type { Mount } from "../formats/mountinfo";
import { decodeOctalEscapes, encodeOctalEscapes } from "../formats/octal-escape";
import { putInPlace } from "../formats/put-in-place";
import { lines, type Script, sh } from "../formats/shell";
import { directoriesAbove } from "../formats/system-path";
import { identityFormat, nestedIdentity } from "../formats/without-links";
import { makeLedger, nameOf, recordsOf } from "./ledger";
import { treeKeys, type Named } from "./tree-facts";
import { ledgerOf, type TreeAt } from "./tree-scripts";

/**
 * Other file systems and subvolumes that begin in a share's directory, where they are to be taken over with it: each is
 * a tree for itself, with a ledger of its own, for inodes are those of one file system.
 *
 * They are known by what they are and not by where they are: a guest renames the directories that lead to them, and one
 * disk takes the place of another.
 */

/** File systems in a tree that are told; with more of them all are refused. */
const mostNested = 2000;

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

/** What is told of a share's nested file systems. */
export interface NestedSeen {
  readonly nested: NestedRoots;
  readonly takenWith: readonly TakenWith[];
  readonly takenOnHost: ReadonlySet<string>;
  /** The directories of all shares. */
  readonly recorded: readonly string[];
  readonly mounts: readonly Mount[];
}

/** By which the list of a directory is named, as its ledger is. */
const outerOf = (path: string): string => nameOf(ledgerOf("owners", { path }));

const nameOfRoot = (outer: string, identity: string): string =>
  nameOf(ledgerOf("owners", { path: outer, outer, identity }));

/** What was taken over with `path`, and where it is now. */
export function takenIn({ nested, takenWith: all }: Pick<NestedSeen, "nested" | "takenWith">): readonly {
  readonly roots: readonly NestedRoot[];
  readonly taken: TakenWith;
}[] {
  const named = nested.roots.map((root) => [nameOf(ledgerOf("owners", root)), root] as const);
  return all.map((taken) => ({
    roots: named.flatMap(([name, root]) => (name === taken.name ? [root] : [])),
    taken,
  }));
}

/** What was taken over and cannot be given back as it is: with nothing given back by half. */
export function unreturnable(path: string, seen: Pick<NestedSeen, "nested" | "takenWith">): Refusal[] {
  return takenIn(seen).flatMap(({ roots, taken }): Refusal[] => {
    if (roots.length === 0) {
      return [
        {
          code: "sourceVanished",
          what: `${taken.path}, which was taken over with ${path}, is not in it now${seen.nested.more ? ", or not by a path that can be used" : ""}`,
          remedy: seen.nested.more
            ? "let it have a shorter path, of UTF-8, and run it again"
            : `mount it there again, and run it again; if it is gone for good, rm -f ${["owners", "links"].map((of) => `${recordsOf(of as "owners", taken.name)}*`).join(" ")} on the host, where it is written down what its entries had`,
        },
      ];
    }
    if (roots.length === 1) return [];
    return [
      {
        code: "treeOfFileSystems",
        what: `${roots.map((root) => root.path).join(" and ")} have one UUID, and one of them was taken over with ${path}`,
        remedy: "unmount the copy, and run it again",
      },
    ];
  });
}

/** Whether one of these was taken over with the directory of another share that there still is. */
function isTakenElsewhere(
  path: string,
  identities: readonly string[],
  { takenOnHost: names, recorded }: Pick<NestedSeen, "takenOnHost" | "recorded">,
): boolean {
  const shares = recorded.filter((one) => one !== path);
  return identities.some((identity) => shares.some((share) => names.has(nameOfRoot(share, identity))));
}

/** A share that begins in what another one took over would find, and give back, what that one made of it. */
export function inTaken(
  path: string,
  seen: Pick<NestedSeen, "takenOnHost" | "recorded"> & { readonly above: readonly string[] },
): Refusal[] {
  if (!isTakenElsewhere(path, seen.above, seen)) return [];
  return [
    {
      code: "treeOfFileSystems",
      what: `the file system, or the subvolume, that ${path} is on was taken over with the directory of another share`,
      remedy:
        "destroy that one first, and create it again with directory.otherFileSystems: leave; or share its directory",
    },
  ];
}

function isBelow(path: string, above: string): boolean {
  return path === above || path.startsWith(`${above}/`);
}

const shareAway = "the directory of a share is not there";

/** On the disk before anything of them changes. What is not there now stays in the list. */
export function keepNested(
  path: string,
  roots: readonly NestedRoot[],
  shares: readonly { readonly path: string; readonly identity: string | undefined }[],
): Step {
  // A guest may have renamed what leads to one that lies in a nested tree: it would be taken over a second time.
  const displaced = shares.map(({ path: one, identity }) =>
    identity === undefined
      ? sh`[ -d ${one} ] || away=${one}`
      : sh`[ "$(stat -c ${identityFormat} -- ${one} 2>/dev/null)" = ${identity} ] || away=${one}`,
  );
  const known = roots.map(
    (root) => `${nameOf(ledgerOf("owners", root))} ${encodeOctalEscapes(root.path, /[\\ \t\n\v\f\r]/g)}`,
  );
  return {
    does: `remember which file systems in ${path} are taken over with it: ${pathsOf(roots)}`,
    run: sh`away=''
${lines(displaced)}
[ -z "$away" ] || { printf '%s: %s\n' ${shareAway} "$away" >&2; exit 1; }
${makeLedger(ledgerOf("owners", { path }))}
{ printf '%s\n' ${known}
[ ! -e ${listOf(path)} ] || cat -- ${listOf(path)}
} | sort -s -u -t ' ' -k 1,1 > ${listOf(path)}.new
${placed(path)}`,
    undo: withoutForgotten(path),
    failures: [
      {
        answer: shareAway,
        code: "sourceMoved",
        what: `a share has a directory in ${path} that is not where it was, and may be in a file system that is to be taken over`,
        remedy: "put it back, or destroy that share, or write directory.otherFileSystems: leave",
      },
    ],
    changes: [takenWith(path).key],
  };
}

/** When all of them are given back. */
export function forgetNested(path: string, names: readonly string[]): Step {
  const files = names.flatMap((name) => [
    sh`rm -f -- "$records"/owners/${name} "$records"/owners/${name}.* "$records"/links/${name} "$records"/links/${name}.*`,
  ]);
  return {
    does: `forget what the entries of file systems in ${path} had`,
    run: lines([
      ...files,
      withoutForgotten(path),
      sh`rmdir -- "$records"/owners "$records"/links 2>/dev/null || :`,
    ]),
    changes: [...treeKeys(path), takenWith(path).key],
  };
}

function pathsOf(roots: readonly TreeAt[]): string {
  return roots.map((root) => root.path).join(", ");
}

/** The list of what was taken over with a directory. */
function listOf(path: string): Script {
  return sh`"$records"/owners/nested.${outerOf(path)}`;
}

function placed(path: string): Script {
  return putInPlace(sh`${listOf(path)}.new`, listOf(path), sh`"$records"/owners`);
}

/** Takes out of the list what has no ledger. */
function withoutForgotten(path: string): Script {
  return sh`if [ -e ${listOf(path)} ]; then
while read -r name path; do
  if [ -e "$records/owners/$name" ] || [ -e "$records/links/$name" ]; then printf '%s %s\n' "$name" "$path"; fi
done < ${listOf(path)} > ${listOf(path)}.new
if [ -s ${listOf(path)}.new ]; then
${placed(path)}
else rm -f -- ${listOf(path)}.new ${listOf(path)}; fi
fi`;
}

/** What of a tree cannot be taken over with it. */
export function unnestable(path: string, seen: NestedSeen, mapped: boolean): Refusal[] {
  const {
    nested: { roots, more },
    mounts,
    recorded,
  } = seen;
  const leave = "write directory.otherFileSystems: leave";
  if (more) {
    return [
      {
        code: "treeOfFileSystems",
        what: `more than ${mostNested} file systems or subvolumes begin in ${path}, or one whose name is not UTF-8`,
        remedy: leave,
      },
    ];
  }
  const refuse: Refusal[] = [];
  const say = (found: readonly string[], code: Refusal["code"], what: string, remedy: string): void => {
    const some = [...new Set(found)];
    const shown = `${some.slice(0, 5).join(", ")}${some.length > 5 ? ", ..." : ""}`;
    if (some.length > 0) refuse.push({ code, what: `${shown}: ${what}`, remedy: `${remedy}, or ${leave}` });
  };
  const those = (matches: (root: NestedRoot) => boolean): string[] =>
    roots.filter(matches).map((root) => root.path);
  const trees = new DirectoryTrees(mounts);
  const inside = mounts.map(({ mountPoint }) => mountPoint).filter((one) => one.startsWith(`${path}/`));
  const known = new Set(those(() => true));
  say(
    [
      ...inside.filter((one) => !known.has(one)),
      ...[...known, ...inside].filter((one) => trees.isSeenOutside(one, path)),
    ],
    "treeOfFileSystems",
    `what is there has another path, or a part of it has, outside of ${path}, or is a file`,
    "unmount it here or there",
  );
  say(
    those((root) => roots.some((other) => other !== root && other.identity === root.identity)),
    "treeOfFileSystems",
    "they have one UUID, and cannot be told apart",
    "unmount the copy",
  );
  say(
    those((root) => recorded.some((one) => isBelow(one, root.path))),
    "treeOfFileSystems",
    "a share has that directory, or one in it",
    "remove that share",
  );
  say(
    those((root) => isTakenElsewhere(path, [root.identity], seen)),
    "treeOfFileSystems",
    "it was taken over with the directory of another share",
    "destroy that share",
  );
  say(
    those(({ lacks }) => lacks.includes("birth")),
    "treeWithoutBirth",
    "its file system does not say when a file was made, or is an overlay or a tmpfs, whose files are others later",
    "unmount it",
  );
  say(
    those(({ lacks }) => mapped && lacks.includes("attributes")),
    "noUserAttributes",
    "its file system takes no user attributes, in which accessMode mapped keeps owners and modes",
    "unmount it",
  );
  say(
    those(({ lacks }) => lacks.includes("writing")),
    "fileSystemReadOnly",
    "it is mounted read-only, or is a read-only snapshot",
    "make it writable",
  );
  return refuse;
}
