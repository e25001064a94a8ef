import type { Step } from "../../engine/layer";
import { escapePath, type FileContextRule, treePattern } from "../../formats/file-contexts";
import { lines, sh } from "../../remote/shell/sh";
import { whenStoreIsFree } from "../shared/policy-store";
import type { RulePlace } from "./checks";
import { contextFiles, selinuxPolicy } from "./probes";

/**
 * Changes of the host's local file-context rules, all of one script in one transaction of semanage: one costs
 * as much as many (measured on an emulated host: one rule 10 s, three 14 s).
 *
 * A later rule wins, so a rule has to stand before those for what lies inside its tree. semanage appends (3.4 to 3.11):
 * what has to come behind is taken out and put in again in the same transaction, in its order.
 */

/** The rule of a tree is made, or gets this context; where it is not `placed`, it is put where it has to stand. */
export function setRule(
  path: string,
  context: string,
  rules: readonly FileContextRule[],
  { at, inside, placed }: Pick<RulePlace, "at" | "inside"> & { readonly placed: boolean },
): Step {
  const now = rules[at];
  const pattern = now?.pattern ?? treePattern(path);
  const undo: Item = now ? ["set", now.pattern, now.context] : ["remove", pattern];
  const step = transaction(`label ${path} and all in it as ${context} (the rule ${pattern})`, [
    ...(now && !placed ? [["remove", pattern]] : []),
    ["add", pattern, context, escapePath(path)],
    ...inside.flatMap((one) => rules[one] ?? []).map((rule) => ["behind", rule.pattern, rule.kind]),
  ]);
  return { ...step, undo: lines([sh`queued=${textOf([undo])}`, carryOut]) };
}

/** The rule that was made is gone. */
export function removeRule({ pattern }: FileContextRule): Step {
  return transaction(`take the rule ${pattern} out`, [["remove", pattern]]);
}

/** The rule that stood there gets its former context back, in its place. */
export function giveRuleBack({ pattern }: FileContextRule, context: string): Step {
  return transaction(`give the rule ${pattern} its context ${context} back`, [["set", pattern, context]]);
}

type Item = readonly string[];

function transaction(does: string, items: readonly Item[]): Step {
  return { does, run: carryOut, queued: textOf(items) };
}

function textOf(items: readonly Item[]): string {
  return items.map((item) => `${item.join("\t")}\n`).join("");
}

/**
 * Reads the rules and what is asked for, and prints what semanage has to do: from the first rule on that changes
 * all are taken out, and put in as they shall be. Nothing where nothing changes. A rule is `pattern<TAB>kind<TAB>context`, and
 * its key what comes before the context; `added` has the paths of the trees whose rules this transaction adds.
 *
 * In single quotes, as `semanage export` prints them, or in double ones where the pattern has a single one: what has
 * double ones cannot be written (semanage 3.4, `mkargv`).
 *
 * From 3.5 on, `semanage import` takes lines that have `-d` anywhere in them first, in a transaction of their own. So
 * each line has it: a first type, in whose place the second is taken. Else a failure would leave the host without the
 * rules that were to be put in again, and a pattern with `-d` in it would come before its turn.
 */
const plan = `
function key(text) { sub(/\\t[^\\t]*$/, "", text); return text }
function letter(kind) { return kind == "" ? "a" : kind == "--" ? "f" : substr(kind, 2) }
function quoted(text) {
  if (text ~ /"/) { print "a rule with double quotes cannot be moved: " text > "/dev/stderr"; bad = 1 }
  return text ~ /\\047/ ? "\\"" text "\\"" : "\\047" text "\\047"
}
/^[ \\t]*(#|$)/ { next }
{ rule[++count] = old[++before] = $1 "\\t" (NF > 2 ? $2 : "") "\\t" $NF }
END {
  items = split(ENVIRON["queued"], item, "\\n")
  for (i = 1; i <= items; i++) {
    split(item[i], field, "\\t")
    own = field[2] "\\t"
    for (at = 1; at <= count && key(rule[at]) != own; at++);
    if (at <= count && field[1] == "remove") {
      for (count--; at <= count; at++) rule[at] = rule[at + 1]
    } else if (at <= count && field[1] ~ /^(set|add)$/) {
      rule[at] = own "\\t" field[3]
    } else if (field[1] == "add") {
      split("", behind)
      for (j = i + 1; j <= items && item[j] ~ /^behind\\t/; j++) behind[substr(item[j], 8)] = 1
      for (at = 1; at <= count; at++)
        if ((key(rule[at]) in behind) || index(added[key(rule[at])], field[4] "/") == 1) break
      for (j = count++; j >= at; j--) rule[j + 1] = rule[j]
      rule[at] = own "\\t" field[3]; added[own] = field[4]
    }
  }
  for (same = 1; same <= before && same <= count && rule[same] == old[same]; same++);
  for (i = same; i <= before; i++) {
    split(old[i], field, "\\t")
    print "fcontext -d -f " letter(field[2]) " " quoted(field[1])
  }
  for (i = same; i <= count; i++) {
    split(rule[i], field, "\\t"); split(field[3], part, ":")
    range = field[3]; if (!sub(/^[^:]*:[^:]*:[^:]*:/, "", range)) range = ""
    said = " -t in-delete-order" (field[3] == "<<none>>" ? " -t " quoted("<<none>>") : " -s " part[1] " -t " part[3] (range == "" ? "" : " -r " quoted(range)))
    print "fcontext -a -f " letter(field[2]) said " " quoted(field[1])
  }
  exit bad
}`;

const localRulesFile = sh`${contextFiles}/file_contexts.local`;
const carryOut = sh`${selinuxPolicy}
export queued
${whenStoreIsFree(sh`rules=$(cat ${localRulesFile} || [ ! -e ${localRulesFile} ]) && todo=$(printf '%s\n' "$rules" | awk ${plan}) &&
  { [ -z "$todo" ] || printf '%s\n' "$todo" | semanage import; }`)}`;
