import type { Step } from "../../engine/layer";
import { eachIdentity } from "../../engine/baseline";
import { lines, type Script, sh } from "../../remote/shell/sh";
import { putInPlace } from "../../remote/shell/atomic-write";
import { withoutLinks } from "../../remote/shell/no-symlinks";
import {
  forgetSnapshot,
  innerLines,
  type InodeSnapshot,
  makeSnapshot,
  openSnapshot,
} from "../shared/inode-snapshot";
import { inTree } from "../shared/tree-program";

/**
 * The labels of a tree: what its entries had at first contact, as the rules say, and back.
 *
 * What they had is kept beside the records, root-only, by inode and time of birth: a guest that renames an entry
 * changes nothing of that, and one that it makes in the place of another has a birth of its own. A line for each:
 * `6029396:1763877000.123456789 system_u:object_r:var_t:s0`.
 */
export interface Tree {
  readonly path: string;
  /** Whether all in it is labelled, or the directory alone. */
  readonly whole: boolean;
  /** Whether a running guest can put links into it. */
  readonly guestLinks: boolean;
}

const snapshotOf = (path: string): InodeSnapshot => ({ of: "labels", path });

/**
 * Writes down what every entry has. What lies in a share that was there before takes the label that this one
 * had found.
 */
export function rememberLabels(tree: Tree, sharesInside: readonly string[]): Step {
  const snapshot = snapshotOf(tree.path);
  const write = inTree("write_down", sh`"$snapshot"`, tree.whole ? "deep" : "");
  return {
    does: `write down the labels of ${tree.path}${tree.whole ? " and all in it" : ""}`,
    run: lines([
      makeSnapshot(snapshot),
      sh`{ ${innerLines(snapshot, sharesInside)}
} > "$snapshot.inner"`,
      inOwnMount(tree, write),
    ]),
    undo: forgetSnapshot(snapshot),
  };
}

/** In the tree, in a mount namespace in which nothing is seen of what is mounted there. */
function inOwnMount({ path }: Tree, run: Script): Script {
  return lines([sh`export mark`, withoutLinks(path, false, run)]);
}

/** As the rules say, types that an administrator may choose freely (customizable_types) too. */
export function relabel(tree: Tree, undo: boolean): Step {
  return {
    does: `label ${tree.path}${tree.whole ? " and all in it" : ""} as the rules say`,
    run: withoutLinks(tree.path, tree.guestLinks, asRulesSay(tree)),
    ...(undo
      ? {
          undo: lines([openSnapshot(snapshotOf(tree.path)), inOwnMount(tree, asRemembered(tree))]),
        }
      : {}),
  };
}

/**
 * What was there at first contact gets the label it had; what came later the one that the rules say now.
 *
 * Shares that have a record at that moment count, in whatever order they go: in the tree of a larger one all has the label
 * of the rules, and what it had is the larger one's to give back; what is in a smaller one's tree stays as it is, and what
 * it had is the smaller one's.
 */
export function giveLabelsBack(tree: Tree): Step {
  const { path } = tree;
  return {
    does: `give ${path}${tree.whole ? " and all in it" : ""} the labels back that they had`,
    run: lines([
      makeSnapshot(snapshotOf(path)),
      sh`of=${path} larger='' smaller=''
hand_over() { # DIRECTORY-OF-SHARE SNAPSHOT...: the lines that come first stand
  snapshot="$records/labels/$(printf %s "$1" | sha256sum | cut -c 1-32)"
  shift
  for one; do [ ! -e "$one" ] || cat -- "$one"; done | sort -s -u -t ' ' -k 1,1 > "$snapshot.whole"
  ${putInPlace(sh`"$snapshot.whole"`, sh`"$snapshot"`, sh`"$records/labels"`)}
}
own=$snapshot
${eachIdentity("selinux")} > "$own.shares"
while IFS= read -r share; do
  theirs="$records/labels/$(printf %s "$share" | sha256sum | cut -c 1-32)"
  # One that has labelled its directory alone has not labelled this.
  case $of in "$share"/*)
    if [ -e "$theirs" ] && [ "$(head -n 2 -- "$theirs" | wc -l)" -gt 1 ]; then
      larger=$share
      hand_over "$share" "$theirs" "$own"
    fi ;;
  esac
  case $share in "$of"/*)
    smaller="$smaller$${{ text: '{share#"$of"/}' }}
"
    hand_over "$share" "$own" "$theirs" ;;
  esac
done < "$own.shares"
rm -f -- "$own.shares"
snapshot=$own
export snapshot larger smaller`,
      withoutLinks(path, tree.guestLinks, asRulesSay(tree)),
      sh`[ -n "$larger" ] || {`,
      inOwnMount(tree, asRemembered(tree)),
      sh`}`,
    ]),
  };
}

/** Last of all: what was written down is not needed any more. */
export function forgetLabels(path: string): Step {
  return {
    does: `forget the labels that ${path} had`,
    run: forgetSnapshot(snapshotOf(path)),
  };
}

/** All cores (-T) since policycoreutils 3.4, one file system (-x) since 3.1. Not in directories of `$smaller`, a line each. */
function asRulesSay({ whole }: Tree): Script {
  if (!whole) return sh`restorecon -F -- .`;
  return sh`known=$(restorecon -h 2>&1 | sed -n 's/.*\[-\([A-Za-z0-9]*\)\].*/\1/p' | head -n 1) || :
set -- -R -F
case $known in *x*) set -- "$@" -x;; esac
case $known in *T*) set -- "$@" -T 0;; esac
set -f
IFS='
'
for one in $smaller; do set -- "$@" -e "$PWD/$one"; done
unset IFS
set +f
restorecon "$@" -- .`;
}

/** Not in directories of `$smaller`. */
function asRemembered({ whole }: Tree): Script {
  return sh`[ -e "$snapshot" ] || exit 0
set -f --
IFS='
'
for one in $smaller; do set -- "$@" "$one"; done
unset IFS
set +f
${inTree("give_labels", sh`"$snapshot"`, whole ? "deep" : "", sh`"$@"`)}`;
}
