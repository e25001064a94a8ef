import type { Step } from "../engine/concern";
import { type FileContextRule, treePattern } from "../formats/file-contexts";
import { lines, sh } from "../formats/shell";
import { contextFiles, selinuxPolicy } from "./selinux-facts";
import { whenStoreIsFree } from "./policy-store";

/**
 * Changes of the host's local file-context rules, all of one script in one transaction of semanage: one costs
 * as much as many (measured on an emulated host: one rule 10 s, three 14 s).
 *
 * A later rule wins, so a rule has to stand before those for what lies inside its tree. semanage appends (3.4 to 3.11):
 * what has to come behind is taken out and put in again in the same transaction, in its order.
 */

/** Where the rule stands: see `RulePlace` of selinux-checks.ts. */
interface Place {
  readonly at: number;
  readonly inside: readonly number[];
  /** Whether it stands where it has to. */
  readonly placed: boolean;
}

/** The rule of a tree is made, or gets this context; where it stands wrongly, it is put where it has to stand. */
export function setRule(
  path: string,
  context: string,
  rules: readonly FileContextRule[],
  { at, inside, placed }: Place,
): Step {
  const now = rules[at];
  const pattern = now?.pattern ?? treePattern(path);
  const undo: Item = now ? ["set", now.pattern, now.context] : ["remove", pattern];
  return {
    ...transaction([
      ...(now && !placed ? [["remove", pattern]] : []),
      ["add", pattern, context, treePattern(path).slice(0, -"(/.*)?".length)],
      ...inside.flatMap((one) => rules[one] ?? []).map((rule) => ["behind", rule.pattern, rule.kind]),
    ]),
    does: `label ${path} and all in it as ${context} (the rule ${pattern})`,
    undo: lines([sh`queued=${textOf([undo])}`, carryOut]),
  };
}

/** The rule that was made is gone. */
export function removeRule(rule: FileContextRule): Step {
  return {
    ...transaction([["remove", rule.pattern]]),
    does: `take the rule ${rule.pattern} out`,
  };
}

/** The rule that stood there gets its former context back, in its place. */
export function giveRuleBack(rule: FileContextRule, context: string): Step {
  return {
    ...transaction([["set", rule.pattern, context]]),
    does: `give the rule ${rule.pattern} its context ${context} back`,
  };
}

type Item = readonly string[];

function transaction(items: readonly Item[]): Omit<Step, "does"> {
  return { run: carryOut, queued: textOf(items) };
}

function textOf(items: readonly Item[]): string {
  return items.map((item) => `${item.join("\t")}\n`).join("");
}

/**
 * Reads the rules and what is asked for, and prints what semanage has to do: from the first rule on that changes
 * all are taken out, and put in as they shall be. Nothing where nothing changes.
 *
 * In single quotes, as `semanage export` prints them, or in double ones where the pattern has a single one: what has
 * double ones cannot be written (semanage 3.4, `mkargv`).
 *
 * From 3.5 on, `semanage import` takes lines that have `-d` anywhere in them first, in a transaction of their own. So
 * each line has it: a first type, in whose place the second is taken. Else a failure would leave the host without the
 * rules that were to be put in again, and a pattern with `-d` in it would come before its turn.
 */
const plan = `
function standing(pattern, kind,  i) {
  for (i = 1; i <= count; i++) if (new_pattern[i] == pattern && new_kind[i] == kind) return i
  return 0
}
function insert(at, pattern, context, path,  i) {
  for (i = count; i >= at; i--) {
    new_pattern[i + 1] = new_pattern[i]; new_kind[i + 1] = new_kind[i]; new_context[i + 1] = new_context[i]
    added[i + 1] = added[i]
  }
  new_pattern[at] = pattern; new_kind[at] = ""; new_context[at] = context; added[at] = path; count++
}
function remove(at,  i) {
  for (i = at; i < count; i++) {
    new_pattern[i] = new_pattern[i + 1]; new_kind[i] = new_kind[i + 1]; new_context[i] = new_context[i + 1]
    added[i] = added[i + 1]
  }
  count--
}
function letter(kind) { return kind == "" ? "a" : kind == "--" ? "f" : substr(kind, 2) }
function quoted(text) {
  if (text ~ /"/) { print "a rule with double quotes cannot be moved: " text > "/dev/stderr"; bad = 1 }
  return text ~ /\\047/ ? "\\"" text "\\"" : "\\047" text "\\047"
}
/^[ \\t]*(#|$)/ { next }
{
  count++; new_pattern[count] = $1; new_kind[count] = NF > 2 ? $2 : ""; new_context[count] = $NF
  old_pattern[count] = $1; old_kind[count] = new_kind[count]; old_context[count] = $NF
}
END {
  before = count
  items = split(ENVIRON["queued"], item, "\\n")
  for (i = 1; i <= items; i++) {
    fields = split(item[i], field, "\\t")
    if (field[1] == "set" || field[1] == "add") {
      at = standing(field[2], "")
      if (at) { new_context[at] = field[3]; continue }
      if (field[1] == "set") continue
      split("", behind)
      for (j = i + 1; j <= items && item[j] ~ /^behind\\t/; j++) { split(item[j], moved, "\\t"); behind[moved[2] "\\t" moved[3]] = 1 }
      for (at = 1; at <= count; at++)
        if ((new_pattern[at] "\\t" new_kind[at]) in behind || index(added[at], field[4] "/") == 1) break
      insert(at, field[2], field[3], field[4])
    }
    if (field[1] == "remove" && (at = standing(field[2], ""))) remove(at)
  }
  for (same = 1; same <= before && same <= count; same++)
    if (old_pattern[same] != new_pattern[same] || old_kind[same] != new_kind[same] || old_context[same] != new_context[same]) break
  for (i = same; i <= before; i++) print "fcontext -d -f " letter(old_kind[i]) " " quoted(old_pattern[i])
  for (i = same; i <= count; i++) {
    split(new_context[i], part, ":")
    range = new_context[i]; if (!sub(/^[^:]*:[^:]*:[^:]*:/, "", range)) range = ""
    said = " -t in-delete-order" (new_context[i] == "<<none>>" ? " -t " quoted("<<none>>") : " -s " part[1] " -t " part[3] (range == "" ? "" : " -r " quoted(range)))
    print "fcontext -a -f " letter(new_kind[i]) said " " quoted(new_pattern[i])
  }
  exit bad
}`;

const carryOut = sh`${selinuxPolicy}
export queued
rules=$(cat ${contextFiles}/file_contexts.local 2>/dev/null || :)
todo=$(printf '%s\n' "$rules" | awk ${plan})
if [ -n "$todo" ]; then
  ${whenStoreIsFree(sh`printf '%s\n' "$todo" | semanage import`)}
fi`;
