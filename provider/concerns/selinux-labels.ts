import { createHash } from "node:crypto";
import type { Fact, Step } from "../engine/concern";
import { putInPlace } from "../formats/put-in-place";
import { lines, type Script, sh } from "../formats/shell";
import { withoutLinks } from "../formats/without-links";
import { labelsOf } from "./selinux-facts";

/**
 * The labels of a tree: what its entries had at first contact, as the rules say, and back.
 *
 * What they had is kept beside the records, root-only, by inode and time of birth: a guest that renames an entry
 * changes nothing of that, and one that it makes in the place of another has a birth of its own. A line for each,
 * sorted: `6029396:1763877000.123456789 system_u:object_r:var_t:s0`.
 */
export interface Tree {
  readonly path: string;
  /** Whether all in it is labelled, or the directory alone. */
  readonly whole: boolean;
  /** Whether a running guest can put links into it. */
  readonly guestLinks: boolean;
}

/** Sets `$ledger`, which the scripts below read. */
function ledgerOf(path: string): Script {
  return sh`ledger=${ledgerFile(path)}
export ledger`;
}

/** Named by a hash, as the records are, for a path has any length. */
function ledgerFile(path: string): Script {
  return sh`"$records/labels/"${createHash("sha256").update(path).digest("hex").slice(0, 32)}`;
}

/** Whether something is written down of a directory. */
export function labelsRemembered(path: string): Fact<boolean> {
  return {
    key: `labels remembered of ${path}`,
    place: "host",
    does: `see whether the labels that ${path} had are written down`,
    guard: true,
    script: sh`${ledgerOf(path)}
if [ -e "$ledger" ]; then echo remembered; fi`,
    parse: (output) => output !== "",
  };
}

/** With what a script ends in the working directory: `.`, or all below it on the same file system. */
function entriesOf({ whole }: Tree): Script {
  return whole ? sh`find . -xdev -print0` : sh`printf '.\0'`;
}

/**
 * Writes down what every entry has. What lies in a share that was there before takes the label that this one
 * had found.
 */
export function rememberLabels(tree: Tree, sharesInside: readonly string[]): Step {
  const write = withoutLinks(
    tree.path,
    tree.guestLinks,
    sh`${entriesOf(tree)} | xargs -0 -r stat --printf '%i:%.9W %C\n' -- > "$ledger.new"
[ -s "$ledger.new" ]`,
  );
  const others = sharesInside.map(ledgerFile);
  return {
    does: `write down the labels of ${tree.path}${tree.whole ? " and all in it" : ""}`,
    run: sh`mkdir -p -m 0700 -- "$records" "$records/labels"
${ledgerOf(tree.path)}
${write}
for other in ${{ text: others.map(({ text }) => text).join(" ") }}; do [ ! -e "$other" ] || cat -- "$other"; done > "$ledger.inner"
cat -- "$ledger.inner" "$ledger.new" | sort -s -u -t ' ' -k 1,1 > "$ledger.whole"
rm -f -- "$ledger.inner" "$ledger.new"
${putInPlace(sh`"$ledger.whole"`, sh`"$ledger"`, sh`"$records/labels"`)}`,
    undo: forget(tree.path),
    changes: [labelsRemembered(tree.path).key],
  };
}

/** As the rules say, types that an administrator may choose freely (customizable_types) too. */
export function relabel(tree: Tree, undo: boolean): Step {
  return {
    does: `label ${tree.path}${tree.whole ? " and all in it" : ""} as the rules say`,
    run: withoutLinks(tree.path, tree.guestLinks, asRulesSay(tree)),
    ...(undo
      ? { undo: lines([ledgerOf(tree.path), withoutLinks(tree.path, tree.guestLinks, asRemembered(tree))]) }
      : {}),
    changes: [labelsOf(tree.path).key],
  };
}

/** What was there at first contact gets the label it had; what came later the one that the rules say now. */
export function giveLabelsBack(tree: Tree): Step {
  return {
    does: `give ${tree.path}${tree.whole ? " and all in it" : ""} the labels back that they had`,
    run: lines([
      ledgerOf(tree.path),
      withoutLinks(tree.path, tree.guestLinks, lines([asRulesSay(tree), asRemembered(tree)])),
    ]),
    changes: [labelsOf(tree.path).key],
  };
}

/** Last of all: what was written down is not needed any more. */
export function forgetLabels(path: string): Step {
  return {
    does: `forget the labels that ${path} had`,
    run: forget(path),
    changes: [labelsRemembered(path).key],
  };
}

function forget(path: string): Script {
  return sh`${ledgerOf(path)}
rm -f -- "$ledger" "$ledger".*
rmdir -- "$records/labels" 2>/dev/null || :`;
}

/** All cores (-T) since policycoreutils 3.4, one file system (-x) since 3.1. */
function asRulesSay({ whole }: Tree): Script {
  if (!whole) return sh`restorecon -F -- .`;
  return sh`known=$(restorecon -h 2>&1 | sed -n 's/.*\[-\([A-Za-z0-9]*\)\].*/\1/p' | head -n 1) || :
set -- -R -F
case $known in *x*) set -- "$@" -x;; esac
case $known in *T*) set -- "$@" -T 0;; esac
restorecon "$@" -- .`;
}

/**
 * Entries are known by inode and birth, names are bytes: within a line, line ends of a name stand as NULs.
 * Each label that differs is given back by one chcon for many entries.
 */
function asRemembered(tree: Tree): Script {
  return sh`[ -e "$ledger" ] || exit 0
trap 'rm -f -- "$ledger.now" "$ledger.differ"' EXIT
${entriesOf(tree)} | xargs -0 -r stat --printf '%i:%.9W %C %n\0' -- | tr '\0\n' '\n\0' | sort > "$ledger.now"
join -t ' ' -- "$ledger" "$ledger.now" | sed -E '/^[^ ]+ ([^ ]+) \1 /d' > "$ledger.differ"
cut -d ' ' -f 2 "$ledger.differ" | sort -u | {
  failed=''
  while IFS= read -r context; do
    literal=$(printf '%s' "$context" | sed 's/[.]/[.]/g')
    grep -a "^[^ ]* $literal " "$ledger.differ" | cut -d ' ' -f 4- | tr '\n\0' '\0\n' |
      xargs -0 -r chcon -h -- "$context" || failed=1
  done
  [ -z "$failed" ]
}`;
}
