import type { Step } from "../engine/concern";
import { encodeOctalEscapes } from "../formats/octal-escape";
import { putInPlace } from "../formats/put-in-place";
import { lines, type Script, sh } from "../formats/shell";
import { identityFormat, isSameIdentity } from "../formats/identity";
import { makeLedger, nameOf } from "./ledger";
import { listOf, type NestedRoot, takenWith } from "./nested-facts";
import { treeKeys } from "./tree-facts";
import { ledgerOf, type ShareInside, type TreeAt } from "./tree-at";

/** Remembers which file systems are taken over with a tree, and forgets them. */

const shareAway = "the directory of a share is not there";

/** On the disk before anything of them changes. What is not there now stays in the list. */
export function keepNested(path: string, roots: readonly NestedRoot[], shares: readonly ShareInside[]): Step {
  // A guest may have renamed what leads to one that lies in a nested tree: it would be taken over a second time.
  const displaced = shares.map(({ path: one, identity }) =>
    identity === undefined
      ? sh`[ -d ${one} ] || away=${one}`
      : sh`${isSameIdentity(sh`$(stat -c ${identityFormat} -- ${one} 2>/dev/null)`, identity)} || away=${one}`,
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

function placed(path: string): Script {
  return putInPlace(sh`${listOf(path)}.new`, listOf(path), sh`"$records"/owners`);
}

/** Takes out of the list what has no ledger. */
export function withoutForgotten(path: string): Script {
  return sh`if [ -e ${listOf(path)} ]; then
while read -r name path; do
  if [ -e "$records/owners/$name" ] || [ -e "$records/links/$name" ]; then printf '%s %s\n' "$name" "$path"; fi
done < ${listOf(path)} > ${listOf(path)}.new
if [ -s ${listOf(path)}.new ]; then
${placed(path)}
else rm -f -- ${listOf(path)}.new ${listOf(path)}; fi
fi`;
}
