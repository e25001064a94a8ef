import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Tool } from "../../engine/layer";
import { type Script, sh } from "../../remote/shell/sh";

/**
 * The tree helper: modules of tree/, which are programs for python3 (3.6 and later) that walk a tree by descriptors. It is
 * sent whole, in the script that runs it, for nothing of ours is installed on a machine.
 */

/** What brings it: hosts with virt-install, semanage(8) or cloud-init have it. */
export const python: Tool = { program: "python3", packages: ["python3", "python3"] };

/** By function, the module that has it. */
const modules = {
  count: "count",
  take: "takeover",
  take_for_good: "takeover",
  restore: "takeover",
  undo: "takeover",
  map_links: "symlinks",
  undo_links: "symlinks",
  restore_links: "symlinks",
  write_down: "labels",
  give_labels: "labels",
} as const;

const texts = new Map<string, string>();

/** A module's text, with those that it imports before it, each once. */
export function textOf(module: string, known = new Set<string>()): string {
  const text = texts.get(module) ?? readFileSync(join(__dirname, "tree", `${module}.py`), "utf8");
  texts.set(module, text);
  known.add(module);
  const imported = [...text.matchAll(/^from (\w+) import .*\n/gm)].map(([, name = ""]) => name);
  const before = imported.filter((name) => isOurs(name) && !known.has(name));
  const own = text.replace(/^from (\w+) import .*\n/gm, (line, name: string) => (isOurs(name) ? "" : line));
  return before.map((name) => (known.has(name) ? "" : textOf(name, known))).join("\n\n") + own;
}

function isOurs(module: string): boolean {
  return ["base", "entry", "walk", "snapshot", "search"].includes(module);
}

/**
 * Calls a function of the helper on the working directory; arguments are strings, or words of the shell.
 *
 * It wants what `mark`, `lock` and `signs` hold in its environment. Isolated (-I) from what a user's environment says of
 * Python, and without site packages (-S).
 */
export function inTree(command: keyof typeof modules, ...args: readonly (string | Script)[]): Script {
  const words = args.map((arg) => (typeof arg === "string" ? sh`${arg}` : arg).text);
  return sh`python3 -I -S -B - ${{ text: words.join(" ") }} <<'END_OF_PROGRAM'
${{ text: textOf(modules[command]) }}

run(${{ text: command }})
END_OF_PROGRAM`;
}
