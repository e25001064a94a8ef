import { alone, asWanted, type Layer, type Context, type Json, type Plan, refuse } from "../../engine/layer";
import { DirectoryTrees } from "../../formats/directory-tree";
import {
  contextOf,
  counted,
  isInPlace,
  placeOf,
  refusals,
  ruleOf,
  rulesInside,
  selinuxDriftNeeds,
  selinuxRestoreNeeds,
  type SelinuxSeenBack,
  typeOf,
  unlabelledAt,
  wantedType,
  wrongLabels,
} from "./checks";
import { selinuxFacts, type SelinuxSeen, type SelinuxWant } from "./probes";
import { forgetLabels, giveLabelsBack, relabel, rememberLabels, type Tree } from "./labels";
import { giveRuleBack, removeRule, setRule } from "./rules";

/** What first contact found: the rule's context, and the label of the directory; each null where there was none. */
export interface SelinuxBefore {
  readonly [key: string]: Json;
  readonly rule: string | null;
  readonly label: string | null;
  /** That the first share wanted: by it a share that only lies in this directory knows the rule for ours. */
  readonly type: string;
}

/**
 * The label by which a confined QEMU may use the directory: a file-context rule for it and all in it, and the
 * labels themselves.
 *
 * libvirt labels disks and never a shared directory. What every entry had is written down before it changes
 * (`selinux-labels.ts`), and comes back on delete.
 *
 * Refuses with `seLinuxNotAvailable`, `toolMissing`, `seLinuxTypeUnknown`, `seLinuxTypeTaken`, `labelOverruled`,
 * `notRelabelable`, `treeOfOthers`, `newFilesUnusable`.
 * Source: file_contexts(5), semanage-import(8), restorecon(8) of SELinux userspace 3.4.
 */
export const hostSelinux: Layer<
  SelinuxWant,
  SelinuxSeen,
  SelinuxBefore | null,
  typeof selinuxRestoreNeeds,
  typeof selinuxDriftNeeds
> = {
  layer: "selinux",
  place: "host",
  up: "host",
  down: "hostLast",
  scope: "host",
  usedByQemu: true,

  want: (spec) =>
    spec.selinux.manage === "never" || spec.host.libvirtUri === "qemu:///session"
      ? undefined
      : {
          path: spec.source,
          type: spec.selinux.type,
          readOnly: spec.readOnly,
          always: spec.selinux.manage === "always",
          newFiles: spec.selinux.newFiles,
          recursive: spec.directory.recursive,
          giveBack: spec.directory.onDelete === "restore",
        },

  identity: (want) => want.path,

  facts: selinuxFacts,

  needs: { restore: selinuxRestoreNeeds, drift: selinuxDriftNeeds },

  plan(want, seen, before, known, context = alone) {
    if (!seen.state.enabled) return { ...(want.always ? { refuse: [notEnabled] } : {}), steps: [] };
    const first = before === undefined && !known && context.foreign === undefined;
    const adopted = first || (before?.rule ?? null) !== null;
    const problems = refusals(want, seen, first, context, adopted);
    if (problems.length > 0 || unlabelledAt(want.path, seen.mounts)) return { refuse: problems, steps: [] };
    const type = wantedType(want, seen, context.others);
    const place = placeOf(want, seen);
    const rule = seen.rules[place.at];
    const placed = isInPlace(place, adopted);
    const ruled = typeOf(rule) === type && placed;
    const labelled = seen.labels !== undefined && wrongLabels(want, seen, type).length === 0;
    if (ruled && labelled) return { steps: [] };
    const tree = treeOf(want, seen);
    const sharesInside = seen.recorded
      .map(({ identity }) => identity)
      .filter((path) => path.startsWith(`${want.path}/`));
    // A record without it, too: killed in between, nothing is labelled yet.
    const toRemember =
      seen.labels !== undefined && !seen.remembered && (first || (before?.label ?? null) !== null);
    return {
      steps: [
        ...(toRemember ? [rememberLabels(tree, sharesInside)] : []),
        ...(ruled ? [] : [setRule(place.path, contextOf(type, seen), seen.rules, { ...place, placed })]),
        ...(labelled ? [] : [relabel(tree, toRemember)]),
      ],
      warnings: first ? rulesInside(want, seen, type) : [],
    };
  },

  remember: (want, seen) =>
    seen.state.enabled && !unlabelledAt(want.path, seen.mounts)
      ? {
          rule: ruleOf(want, seen)?.context ?? null,
          label: seen.labels?.own ?? null,
          type: wantedType(want, seen),
        }
      : null,

  restore(old, before, seen, context = alone) {
    if (before === null) return { steps: [] };
    const forget = seen.remembered ? [forgetLabels(old.path)] : [];
    if (!seen.state.enabled || !old.giveBack) return { steps: forget };
    const user = otherUser(old, seen, context);
    if (user !== undefined) {
      return {
        steps: forget,
        warnings: [
          `the label of ${old.path} and its rule are left, for ${user}, which no share manages, still exports it; to take them out later: semanage fcontext -d '${ruleOf(old, seen)?.pattern ?? old.path}', restorecon -RF ${old.path}`,
        ],
      };
    }
    const { steps = [], warnings = [] } = ruleBack(old, before, seen);
    const changed = seen.entry?.kind === "directory" && (seen.remembered || steps.length > 0);
    return {
      steps: [...steps, ...(changed ? [giveLabelsBack(treeOf(old, seen)), forgetLabels(old.path)] : forget)],
      warnings,
    };
  },

  drift(want, seen) {
    if (!seen.state.enabled) {
      return want.always ? { state: "missing", args: {}, notes: [notEnabled.what] } : asWanted;
    }
    const problems = refusals(want, seen, false, alone).map(({ what }) => what);
    if (problems.length > 0) return { state: "missing", args: {}, notes: problems };
    if (unlabelledAt(want.path, seen.mounts)) return asWanted;
    const type = wantedType(want, seen);
    const { at, behind } = placeOf(want, seen);
    const rule = seen.rules[at];
    const has = typeOf(rule);
    const wrong = wrongLabels(want, seen, type);
    const notes = [
      !rule && `no file-context rule says what ${want.path} is`,
      rule && has !== type && `the rule ${rule.pattern} says ${String(has)}, wanted is ${type}`,
      rule &&
        at < behind &&
        `the rule ${seen.rules[behind]?.pattern ?? ""} stands behind ${rule.pattern}, and holds for ${want.path} in its place`,
      wrong.length > 0 && `labelled otherwise in ${want.path}: ${counted(wrong)}; wanted is ${type}`,
    ].filter((note) => typeof note === "string");
    if (notes.length === 0) return asWanted;
    const args = has !== undefined && has !== type && want.type !== undefined ? { "selinux.type": has } : {};
    return { state: rule ? "differs" : "missing", args, notes };
  },
};

const [notEnabled] = refuse(
  "seLinuxNotAvailable",
  "SELinux is not enabled here, and selinux.manage is always",
  "enable SELinux on the host, or set selinux.manage to auto",
);

/** What our types are: a rule that says another was changed by somebody since. */
function ruleBack(old: SelinuxWant, before: SelinuxBefore, seen: SelinuxSeenBack): Partial<Plan> {
  const rule = ruleOf(old, seen);
  if (!rule || rule.context === before.rule) return {};
  if (![old.type, before.type, "svirt_image_t", "virt_content_t"].includes(typeOf(rule))) {
    return {
      warnings: [`the rule ${rule.pattern} says ${rule.context}, which this share did not set: it was left`],
    };
  }
  return { steps: [before.rule === null ? removeRule(rule) : giveRuleBack(rule, before.rule)] };
}

/** A domain that exports the directory, and that has no part in its record. */
function otherUser(old: SelinuxWant, seen: SelinuxSeenBack, context: Context): string | undefined {
  const own = seen.persistent ?? seen.live;
  const trees = new DirectoryTrees(seen.mounts ?? []);
  return seen.exports?.find(
    (one) =>
      !one.live &&
      trees.isSame(one.realPath, old.path) &&
      !(one.uuid === own?.uuid && context.tags.has(one.tag)),
  )?.domain;
}

function treeOf(
  want: SelinuxWant,
  seen: Partial<Pick<SelinuxSeenBack, "labels" | "mounts" | "exports">>,
): Tree {
  const trees = new DirectoryTrees(seen.mounts ?? []);
  // In every access mode but mapped a link that a guest makes is one on the host; in that one it can move one about.
  // What could not be looked at is taken for the worse.
  const guestLinks =
    seen.exports === undefined ||
    seen.exports.some(
      ({ live, readOnly, accessMode, realPath }) =>
        live &&
        !readOnly &&
        (accessMode !== "mapped" || seen.labels?.links !== false) &&
        (trees.isInside(realPath, want.path) || trees.isInside(want.path, realPath)),
    );
  return { path: want.path, whole: want.recursive !== false, guestLinks };
}
