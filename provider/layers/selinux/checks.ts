import { type Context, type Needed, type Refusal, refuse, needs } from "../../engine/layer";
import { countOf } from "../../formats/count";
import { DirectoryTrees } from "../../formats/directory-tree";
import {
  equivalentOf,
  type FileContextRule,
  isOfOnePath,
  isTreeRule,
  mayMatchInside,
  parseContext,
  treePattern,
} from "../../formats/file-contexts";
import { type Mount, mountHolding } from "../../formats/mountinfo";
import { packageOf, type SelinuxSeen, type SelinuxWant } from "./probes";

/** What a share wants of the host's SELinux, what can be seen of it, and what cannot be. Pure. */

/** To compare, the rules and labels that a share makes; what others write to decides over the type of readers. */
export const selinuxDriftNeeds = needs(
  [
    "state",
    "rules",
    "equivalences",
    "rulesAt",
    "labels",
    "mounts",
    "booleans",
    "newRange",
    "typeKnown",
    "persistent",
    "live",
  ],
  ["exports"],
);

/** To give back, the rule and what was written down: neither libselinux nor the policy has to answer. */
export const selinuxRestoreNeeds = needs(
  ["entry", "state", "rules", "equivalences", "remembered", "persistent", "live"],
  ["labels", "mounts", "exports"],
);

/** What is seen for a comparison. */
export type SelinuxSeenNow = Needed<SelinuxSeen, typeof selinuxDriftNeeds>;

/** What is seen on the way down. */
export type SelinuxSeenBack = Needed<SelinuxSeen, typeof selinuxRestoreNeeds>;

/** What a guest may write to, and what it may only read: refpolicy virt.te, the same on Fedora and Debian. */
const writable = "svirt_image_t";
const readable = "virt_content_t";

/** The rule that stands for exactly this tree; of several the one that holds, the last. */
export function ruleOf(
  want: SelinuxWant,
  seen: Pick<SelinuxSeen, "rules" | "equivalences">,
): FileContextRule | undefined {
  const path = equivalentOf(want.path, seen.equivalences);
  return seen.rules.findLast((rule) => isTreeRule(rule, path));
}

/** Where the rule of a tree stands among the host's own, of which a later one holds, and where it has to. */
export interface RulePlace {
  /** The directory under the name by which its rules are looked up. */
  readonly path: string;
  /** Its number; -1: there is none. */
  readonly at: number;
  /** The last other rule that matches the directory itself, and so is for something larger; -1: none. */
  readonly behind: number;
  /** Rules behind that one that may be for something inside: this one has to stand before them. */
  readonly inside: readonly number[];
}

export function placeOf(
  want: Pick<SelinuxWant, "path">,
  seen: Pick<SelinuxSeen, "rules" | "equivalences" | "rulesAt">,
): RulePlace {
  const path = equivalentOf(want.path, seen.equivalences);
  const { rules } = seen;
  const matching = new Set(seen.rulesAt.matching);
  const behind = rules.findLastIndex((rule, at) => matching.has(at) && !isTreeRule(rule, path));
  const inside = rules.flatMap((rule, at) =>
    at > behind && !matching.has(at) && !isOfOnePath(rule) && mayMatchInside(rule.pattern, path) ? [at] : [],
  );
  return { path, at: rules.findLastIndex((rule) => isTreeRule(rule, path)), behind, inside };
}

/** The order of rules that the host had before this share (`adopted`) is kept, as long as this one holds for its directory. */
export function isInPlace({ at, behind, inside }: RulePlace, adopted: boolean): boolean {
  return at > behind && (adopted || !inside.some((one) => one < at));
}

/**
 * The type of rule and tree: `virt_content_t` where nobody but readers has the directory, by what the machine
 * shows and what is on its way.
 */
export function wantedType(want: SelinuxWant, seen: SelinuxSeenNow, others: Context["others"] = []): string {
  if (want.type !== undefined) return want.type;
  const trees = new DirectoryTrees(seen.mounts);
  const isWritten = (path: string, readOnly: boolean): boolean =>
    !readOnly && trees.isInside(want.path, path);
  const written =
    !want.readOnly ||
    // What others export could not be looked at: the rule was set by somebody who knew.
    (seen.exports?.some(({ realPath, readOnly }) => isWritten(realPath, readOnly)) ??
      typeOf(ruleOf(want, seen)) === writable) ||
    others.some(({ spec }) => isWritten(spec.source, spec.readOnly));
  return written ? writable : readable;
}

/** The type that a rule gives. */
export function typeOf(rule: FileContextRule | undefined): string | undefined {
  return rule && parseContext(rule.context).type;
}

/** The context that the rule gives: the least range, where the policy has ranges. */
export function contextOf(type: string, { state }: Pick<SelinuxSeen, "state">): string {
  return `system_u:object_r:${type}${state.ranges ? ":s0" : ""}`;
}

/** Entries of one context in a tree that is labelled. */
interface Entries {
  readonly context: string;
  readonly count: number;
  /** It is the directory itself. */
  readonly own?: true;
  /** The context that a rule for something inside gives them; undefined: the rule of the tree holds, or will. */
  readonly ruled?: string | undefined;
  /** That rule, where it is the host's own. */
  readonly rule?: FileContextRule | undefined;
}

/** What is labelled in a tree, beside the directory itself. */
function entriesIn(want: SelinuxWant, seen: SelinuxSeenNow): Entries[] {
  if (want.recursive === false) return [];
  const { behind } = placeOf(want, seen);
  return (seen.labels?.inside ?? []).map(({ context, count, ruled }) => {
    if (typeof ruled !== "number") return { context, count, ruled };
    const found = seen.rulesAt.matching.includes(ruled) ? undefined : seen.rules[ruled];
    const rule = found && (ruled > behind || isOfOnePath(found)) ? found : undefined;
    return { context, count, ruled: rule?.context, rule };
  });
}

/**
 * What in a tree is not labelled as it should be, by context with its count; the directory itself comes first,
 * with a count of one. What a rule for something inside gives is as it should be, and so is the share's own type there:
 * what a guest makes has its directory's.
 *
 * Categories are wrong where the policy gives new files the directory's range: elsewhere the guest's own have them.
 */
export function wrongLabels(want: SelinuxWant, seen: SelinuxSeenNow, type: string): readonly Entries[] {
  if (!seen.labels) return [];
  const plain = want.newFiles === "inherit" || inherits(seen);
  const own: Entries = { context: seen.labels.own, count: 1, own: true };
  return [own, ...entriesIn(want, seen)].filter(({ context, ruled }) => {
    const has = parseContext(context);
    if (ruled === "<<none>>") return false;
    if (has.type === type) return plain && has.range.includes(":");
    return has.type !== (ruled === undefined ? type : parseContext(ruled).type);
  });
}

/** Whether files that a guest makes get the directory's range, so that the next start of its QEMU can use them. */
function inherits({ state, newRange }: SelinuxSeenNow): boolean {
  return !state.ranges || !newRange.includes(":");
}

/** What decides where the entries of a file system have no labels of their own. */
interface Unlabelled {
  readonly mount: Mount;
  /** All of it has this one, by `context=` of its mount. */
  readonly context: string | undefined;
  /** The kernel gives it one, and this boolean lets QEMU use it. */
  readonly boolean: string | undefined;
}

const booleans = [
  [/^nfs4?$/, "virt_use_nfs"],
  [/^(cifs|smb3?)$/, "virt_use_samba"],
  [/^fuse/, "virt_use_fusefs"],
] as const;

/** Undefined: the entries have labels. */
export function unlabelledAt(path: string, mounts: readonly Mount[]): Unlabelled | undefined {
  const mount = mountHolding(mounts, path);
  const options = [...(mount?.mountOptions ?? []), ...(mount?.superOptions ?? [])];
  // Of a file system whose entries have labels the kernel says so (Linux 6.1 selinux_sb_show_options).
  if (!mount || options.includes("seclabel")) return undefined;
  const context = options.find((option) => option.startsWith("context="))?.replace(/^context="?|"$/g, "");
  const boolean = booleans.find(([type]) => type.test(mount.type))?.[1];
  return { mount, context, boolean };
}

/** All that is known to fail before anything is changed. */
export function refusals(
  want: SelinuxWant,
  seen: SelinuxSeenNow,
  first: boolean,
  context: Context,
  adopted = first,
): Refusal[] {
  const { missing, distribution } = seen.state;
  if (missing.length > 0) {
    return refuse(
      "toolMissing",
      `SELinux is enabled, and ${missing.join(", ")} ${missing.length === 1 ? "is" : "are"} not installed`,
      `install ${missing.map((program) => `${program}: ${packageOf(program, distribution)}`).join("; ")}`,
    );
  }
  const type = wantedType(want, seen, context.others);
  const unlabelled = unlabelledAt(want.path, seen.mounts);
  if (unlabelled) return notRelabelable(want, seen, type, unlabelled);
  return [
    ...(seen.typeKnown
      ? []
      : refuse(
          "seLinuxTypeUnknown",
          `the policy has no type ${type}`,
          "leave selinux.type out, or see which there are: seinfo -t, or semanage fcontext -l",
        )),
    ...overruled(want, seen, type, adopted),
    ...(first ? others(want, seen, type) : []),
    ...typeOfOthers(want, seen, type, context),
    ...newFiles(want, seen),
  ];
}

/** A file system without labels of its own: what it has in their place decides, and no rule does. */
function notRelabelable(
  want: SelinuxWant,
  seen: SelinuxSeenNow,
  type: string,
  { mount, context, boolean }: Unlabelled,
): Refusal[] {
  if (context !== undefined) {
    const has = parseContext(context).type;
    if (has === type || (type === readable && has === writable)) return [];
    return refuse(
      "notRelabelable",
      `${mount.mountPoint} is mounted with context=${context}, which QEMU may not use, and nothing in it can have another label`,
      `mount it with context=${contextOf(type, seen)}, or without context=`,
    );
  }
  if (boolean !== undefined && seen.booleans[boolean] === true) return [];
  return refuse(
    "notRelabelable",
    `${want.path} is on ${mount.type} (${mount.mountPoint}), whose files cannot be labelled`,
    boolean === undefined
      ? `mount it with context=${contextOf(type, seen)}, or share from a file system that has labels`
      : `setsebool -P ${boolean} on lets every guest of this host use what is on ${mount.type}; or share from a file system that has labels`,
  );
}

/** Rules of the host that hold against the tree's, or against which it would: neither is changed. */
function overruled(want: SelinuxWant, seen: SelinuxSeenNow, type: string, adopted: boolean): Refusal[] {
  const { rules } = seen;
  const { exact, matching } = seen.rulesAt;
  const place = placeOf(want, seen);
  if (exact && typeOf(exact) !== type) {
    const isOwn = rules.some(({ pattern, kind }) => pattern === exact.pattern && kind === exact.kind);
    return refuse(
      "labelOverruled",
      `a rule for exactly ${place.path} (${shown(exact)}) holds against every rule for a tree${isOwn ? "" : ", and it is the policy's"}`,
      isOwn
        ? `change it: semanage fcontext -m ${letterOf(exact)}-t ${type} '${exact.pattern}'`
        : "share a directory inside it, or another",
    );
  }
  const rule = rules[place.at];
  const larger = place.at < place.behind ? rules[place.behind] : undefined;
  if (rule && larger && adopted) {
    return refuse(
      "labelOverruled",
      `the rule ${shown(larger)} stands behind ${shown(rule)} and holds for ${place.path} in its place; the order of the host's own rules is left as it is`,
      `take ${rule.pattern} out, if it is not needed: semanage fcontext -d '${rule.pattern}'`,
    );
  }
  const holding = new Set(seen.labels?.inside.map(({ ruled }) => ruled));
  const isLost = (one: FileContextRule, at: number): boolean =>
    at < place.behind && holding.has(at) && !matching.includes(at) && !isOfOnePath(one);
  const lost = larger ? rules.filter(isLost) : [];
  return [
    ...lost.flatMap((one) =>
      refuse(
        "labelOverruled",
        `the rule ${shown(one)} holds for entries in ${place.path}, and would no longer: the rule of the share has to stand behind ${larger ? shown(larger) : ""}, which is behind that one`,
        `put it behind, if that is meant: semanage fcontext -d ${letterOf(one)}'${one.pattern}', and add it again`,
      ),
    ),
    ...(isInPlace(place, adopted) ? [] : unwritable(seen, place)),
  ];
}

/** Rules that semanage cannot write: of a path under an equivalence, or with double quotes (3.4, `validate`, `mkargv`). */
function unwritable({ rules, equivalences }: SelinuxSeenNow, { path, at, inside }: RulePlace): Refusal[] {
  const own = rules[at] ?? { pattern: treePattern(path), kind: "", context: "" };
  const from = Math.min(rules.length, ...[at, ...inside].filter((one) => one >= 0));
  const all = [...equivalences.local, ...equivalences.distribution];
  return [...new Set([own, ...rules.slice(from)])].flatMap((rule) => {
    const under = all.find((one) => rule.pattern.startsWith(`${one.from}/`));
    if (!under && !rule.pattern.includes('"')) return [];
    const why = under
      ? `takes no rule under the equivalence ${under.from} ${under.to}`
      : "takes no double quotes";
    return refuse(
      "labelOverruled",
      `the rule ${rule.pattern} would have to be written, and semanage ${why}`,
      rule === own
        ? "share the directory under the path that it is labelled as"
        : `take that rule out, or write it otherwise: semanage fcontext -d ${letterOf(rule)}'${rule.pattern}'`,
    );
  });
}

/** As `semanage fcontext` takes it: `-f d `. */
function letterOf({ kind }: FileContextRule): string {
  return kind === "" ? "" : `-f ${kind === "--" ? "f" : kind.slice(1)} `;
}

function shown({ pattern, kind, context }: FileContextRule): string {
  return [pattern, kind, context].filter((word) => word !== "").join(" ");
}

/** Rules of the host that hold for entries of a tree and give them other types. */
export function rulesInside(want: SelinuxWant, seen: SelinuxSeenNow, type: string): string[] {
  const counts = new Map<FileContextRule, number>();
  for (const { rule, count } of entriesIn(want, seen)) {
    if (rule && typeOf(rule) !== type) counts.set(rule, (counts.get(rule) ?? 0) + count);
  }
  const path = equivalentOf(want.path, seen.equivalences);
  const moved = seen.equivalences.local.filter(({ from }) => from.startsWith(`${want.path}/`));
  return [
    ...[...counts].map(
      ([rule, count]) =>
        `the host's rule ${shown(rule)} goes on holding in ${path}, for ${countOf(count, "entry", "entries")}: QEMU may be denied there`,
    ),
    ...moved.map(
      ({ from, to }) =>
        `${from} is labelled as ${to} by an equivalence of the host: QEMU may be denied there`,
    ),
  ];
}

/** A tree that has other labels is not changed before that is written out. */
function others(want: SelinuxWant, seen: SelinuxSeenNow, type: string): Refusal[] {
  if (want.recursive !== undefined) return [];
  // QEMU's own, with the categories of a former start, are none of others.
  const wrong = wrongLabels(want, seen, type).filter(
    ({ own, context }) => !own && parseContext(context).type !== type,
  );
  if (wrong.length === 0) return [];
  return refuse(
    "treeOfOthers",
    `${want.path} holds entries with other labels: ${counted(wrong)}`,
    "write directory.recursive: true to label all of them (destroy gives each its own back), or false to label only the directory itself",
  );
}

/** Sample: `12 of system_u:object_r:var_t:s0, 1 of unconfined_u:object_r:user_home_t:s0`. */
export function counted(labels: readonly Entries[]): string {
  const first = labels.slice(0, 8).map(({ context, count }) => `${count} of ${context}`);
  return first.join(", ") + (labels.length > 8 ? ", ..." : "");
}

/** Two shares of one directory with two types that are written out would each undo the other's. */
function typeOfOthers(
  want: SelinuxWant,
  seen: SelinuxSeenNow,
  type: string,
  { others, foreign }: Context,
): Refusal[] {
  const isOther = (other: string | undefined): boolean => other !== undefined && other !== type;
  const coming =
    want.type === undefined
      ? undefined
      : others.find(({ spec }) => spec.source === want.path && isOther(spec.selinux.type));
  const has = typeOf(ruleOf(want, seen));
  const isHeld = isOther(has) && has !== writable && has !== readable;
  if (!coming && !(foreign && isHeld)) return [];
  const other = coming
    ? `the share ${coming.name ?? coming.spec.tag} of this program (${String(coming.spec.selinux.type)})`
    : `${foreign?.references.join(", ") ?? ""} (${has ?? ""})`;
  return refuse(
    "seLinuxTypeTaken",
    `${want.path} would be labelled ${type} for this share, and otherwise for ${other}`,
    "give both the same selinux.type",
  );
}

/** Files that the guest makes and cannot use after the next start of its QEMU. */
function newFiles(want: SelinuxWant, seen: SelinuxSeenNow): Refusal[] {
  if (want.newFiles !== "auto" || want.readOnly || inherits(seen)) return [];
  const label = (seen.persistent ?? seen.live)?.selinuxLabel;
  if (label === "static" || label === "none") return [];
  return refuse(
    "newFilesUnusable",
    "under this host's policy, files that the guest makes carry the categories of its running QEMU; its next start has others, and could not use them",
    'set selinux.newFiles to "inherit" to load a policy module by which they get the directory\'s range (it holds for this whole host, and the last share takes it out), or give the domain a static label: <seclabel type="static" model="selinux" relabel="yes"><label>system_u:system_r:svirt_t:s0:c1,c2</label></seclabel>',
  );
}
