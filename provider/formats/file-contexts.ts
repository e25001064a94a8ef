/**
 * SELinux's file contexts: rules of a pattern and a context, and equivalences of two paths.
 *
 * Which rule holds for a path is never judged here: libselinux is asked (`selinux-facts.ts`).
 *
 * Source: file_contexts(5) of libselinux 3.4, src/label_file.c and label_support.c.
 */

/** One line of `file_contexts` or `file_contexts.local`. */
export interface FileContextRule {
  /** A regular expression (PCRE2) that is anchored at both ends: `/foo/bar(/.*)?`. */
  readonly pattern: string;
  /** For which entries: `--` plain files, `-d` directories, ...; empty: all. */
  readonly kind: string;
  /** `system_u:object_r:svirt_image_t:s0`, or `<<none>>`. */
  readonly context: string;
}

/** Reads rules in their order. A line of another shape is left out, as libselinux does. */
export function parseFileContexts(text: string): FileContextRule[] {
  return linesOf(text)
    .filter((words) => words.length === 2 || words.length === 3)
    .map(([pattern = "", second = "", third]) =>
      third === undefined
        ? { pattern, kind: "", context: second }
        : { pattern, kind: second, context: third },
    );
}

/** A path and what is looked up in its place: `/run /var/run` in file_contexts.subs. */
interface Equivalence {
  readonly from: string;
  readonly to: string;
}

/** The policy's equivalences, and the host's own. */
export interface Equivalences {
  readonly distribution: readonly Equivalence[];
  readonly local: readonly Equivalence[];
}

/** Reads file_contexts.subs or file_contexts.subs_dist. */
export function parseEquivalences(text: string): Equivalence[] {
  return linesOf(text).flatMap(([from = "", to]) => (to === undefined ? [] : [{ from, to }]));
}

/**
 * Under which path the rules of `path` are looked up: the local equivalences apply first, and then the distribution's
 * to what came of it, each once; of several in one file the last that fits.
 *
 * Source: libselinux 3.4 and 3.11, src/label_file.c (`selabel_sub_key`, `selabel_sub`), the same in both. A path under
 * `/data /` loses `/data`; a slash at the end of `from` makes it fit nothing.
 */
export function equivalentOf(path: string, { local, distribution }: Equivalences): string {
  return [local, distribution].reduce((at, equivalences) => {
    const found = equivalences.findLast(({ from }) => at === from || at.startsWith(`${from}/`));
    if (!found) return at;
    const rest = at.slice(found.from.length);
    return found.to === "/" && rest !== "" ? rest : found.to + rest;
  }, path);
}

const ofTree = "(/.*)?";

/** The pattern of a directory and all in it. Sample: `/srv/a\.b\x20c(/.*)?`. */
export function treePattern(path: string): string {
  return escapePath(path) + ofTree;
}

/**
 * A path as the regular expression that it is. What PCRE takes as itself stays, its own characters get a
 * backslash; all else is `\xHH`, byte by byte: semanage takes no blanks, and strips quotes from what it reads.
 */
export function escapePath(path: string): string {
  return Buffer.from(path, "utf8")
    .toString("latin1")
    .replace(/(?<!\w)[-,:=@%~]|[^-\w/,:=@%~]/g, (character) =>
      /[.^$?*+|[({)}\]\\]/.test(character)
        ? `\\${character}`
        : `\\x${character.charCodeAt(0).toString(16).padStart(2, "0")}`,
    );
}

/** What a pattern without any wildcard, but for the tree's at its end, stands for; undefined: it has others. */
export function literalOf(pattern: string): { readonly path: string; readonly tree: boolean } | undefined {
  const tree = pattern.endsWith(ofTree);
  const text = tree ? pattern.slice(0, -ofTree.length) : pattern;
  if (!/^(\\x[0-9a-fA-F]{2}|\\[^A-Za-z0-9]|[^\\.^$?*+|[({])*$/su.test(text)) return undefined;
  const bytes = Buffer.from(text, "utf8")
    .toString("latin1")
    .replace(/\\(?:x(..)|(.))/gs, (_, hex: string | undefined, character: string) =>
      hex === undefined ? character : String.fromCharCode(Number.parseInt(hex, 16)),
    );
  return { path: Buffer.from(bytes, "latin1").toString("utf8"), tree };
}

/** A rule for exactly this directory and all in it, whatever kind of entry, however it is written. */
export function isTreeRule({ pattern, kind }: FileContextRule, path: string): boolean {
  const literal = literalOf(pattern);
  return kind === "" && literal?.tree === true && literal.path === path;
}

/** One path alone: libselinux looks at such rules first, wherever they stand (3.4 label_file.h, `spec_hasMetaChars`). */
export function isOfOnePath({ pattern }: FileContextRule): boolean {
  return !/[.^$?*+|[({]/.test(pattern.replaceAll(/\\./gsu, ""));
}

/** False where no path inside the directory can match the pattern. For names that are not there yet: libselinux knows the rest. */
export function mayMatchInside(pattern: string, path: string): boolean {
  const inside = `${path}/`;
  const literal = literalOf(pattern);
  if (literal)
    return literal.path.startsWith(inside) || (literal.tree && inside.startsWith(`${literal.path}/`));
  const lead = leadOf(pattern);
  return lead.startsWith(inside) || inside.startsWith(lead);
}

/** What every path begins with that a pattern matches; empty where that cannot be told. */
function leadOf(pattern: string): string {
  // Quotes and comments may hide what a quantifier belongs to.
  if (isAlternation(pattern) || /\\[QE]|\(\?#/.test(pattern)) return "";
  const [text = ""] = /^(?:\\x[0-9a-fA-F]{2}|\\[^A-Za-z0-9]|[^\\.^$?*+|[\](){}])*/su.exec(pattern) ?? [];
  const isOptional = /^[?*{]/.test(pattern.slice(text.length));
  const certain = isOptional ? text.replace(/(?:\\x[0-9a-fA-F]{2}|\\.|[^\\])$/su, "") : text;
  const lead = literalOf(certain)?.path ?? "";
  // A part of a character is none.
  return lead.includes("\ufffd") ? "" : lead;
}

/** Whether a pattern has, or may have, an alternative to all of it: a bar outside every group. */
function isAlternation(pattern: string): boolean {
  // Where brackets may be text, groups cannot be told.
  if (/\[|\(\?/.test(pattern)) return pattern.includes("|");
  const group = /\([^()]*\)/g;
  let outside = pattern.replaceAll(/\\./gsu, "");
  while (outside.search(group) !== -1) outside = outside.replaceAll(group, "");
  return outside.includes("|");
}

/**
 * Type and range of `system_u:object_r:svirt_image_t:s0`; of what is no context both are empty. Samples of ranges, which
 * not every policy has: `s0`, `s0:c1,c2`, `s0-s0:c0.c1023`.
 */
export function parseContext(text: string): { readonly type: string; readonly range: string } {
  const [, , type = "", ...range] = text.split(":");
  return { type, range: range.join(":") };
}

/** The words of each line that has any and is no comment. */
function linesOf(text: string): string[][] {
  return text
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "" && !line.startsWith("#"))
    .map((line) => line.split(/\s+/));
}
