import { createHash } from "node:crypto";
import { ShareError } from "../errors";
import type { Fact, Json, LayerName, Step } from "./layer";
import { later, type Migration, migrated } from "./migration";
import { lines, type Script, sh } from "../remote/shell/sh";

/**
 * What first contact found of one thing, kept on the host as long as a share holds it.
 *
 * A line for the thing, and one for each holder, so that one more is one line more:
 *
 * ```
 * {"version":2,"layer":"directory","identity":"/foo/bar","before":{"created":true}}
 * "5a0c2f9e-6f0b-4f0e-9a53-0d5d5f6f3b11/foobar"
 * ```
 * A holder is a domain's UUID and a tag. In what 0.1.0 wrote one with `inside ` before it has something that lies in this.
 */
export interface Baseline {
  readonly layer: LayerName;
  readonly identity: string;
  readonly before: Json;
  readonly references: readonly string[];
}

/** Where an entry is kept: by directory for what belongs to the host, by domain for the rest. */
export interface BaselineKey {
  readonly layer: LayerName;
  /** The layer's, where that has one thing only. */
  readonly name: string;
  readonly identity: string;
  readonly scope: "host" | "domain";
}

/** The first form of a record that a release has written. */
const firstVersion = 2;

/** From each form of a record to the next; a release that re-forms one adds its own at the end. */
const migrations: readonly Migration<StoredRecord>[] = [];

/** The form of the records that this release writes. */
const version = firstVersion + migrations.length;

type StoredRecord = Omit<Baseline, "references">;

/**
 * Shell variables of the host's prelude: `$records`, root-only, outlives a boot; and of a domain's scope:
 * `$recorded`, the domain's UUID as libvirt has it, or as the state knew it when it is gone.
 *
 * Where libvirt is the user's own session the records are the user's (XDG Base Directory 0.8).
 */
export function recordsDirectory(libvirtUri: string): Script {
  return libvirtUri === "qemu:///session"
    ? sh`records="$HOME/.local/state/virtio9p"`
    : sh`records=/var/lib/virtio9p`;
}

/** The entries of a share, by {@link placeKey}. */
export type Records = ReadonlyMap<string, Baseline>;

/** By which an entry of a place is found among others. */
export function placeKey(at: BaselineKey): string {
  return `${at.scope} ${nameOf(at)}`;
}

/**
 * Reads the entries of all these places that there are, by one process. Refuses with `recordUnreadable`. An `inside` holder
 * is one as long as it holds something else.
 *
 * Another share may remove its own meanwhile, under a lock that a look does not take. Sample of what is printed:
 *
 * ```
 * host/directory-0f3c....json:{"version":2,"layer":"directory","identity":"/foo/bar","before":{"created":true}}
 * host/directory-0f3c....json:"5a0c2f9e-6f0b-4f0e-9a53-0d5d5f6f3b11/foobar"
 * ```
 */
export function recordsOf(places: readonly BaselineKey[]): Fact<Records> {
  const known = new Map(places.map((at) => [placeKey(at), at]));
  return {
    place: "host",
    perDomain: true,
    does: `read the records of ${[...known.values()].map(named).join(", ")}`,
    precondition: true,
    script: sh`cd -- "$records" 2>/dev/null || exit 0
for turn in 1 2 3; do
  set --
  for file in ${{ text: [...known.values()].map((at) => fileOf(at).text).join(" ") }}; do [ ! -e "$file" ] || set -- "$@" "$file"; done
  [ $# -gt 0 ] || exit 0
  text=$(grep -H '' -- "$@") || [ $? -eq 1 ] || { for file; do [ -e "$file" ] || continue 2; done; exit 1; }
  printf '%s\n' "$text" | while IFS= read -r line; do
    case $line in *:'"inside '*) grep -qxF -e "\"$${{ text: "{line#*inside }" }}" -- host/*.json || continue;; esac
    printf '%s\n' "$line"
  done
  exit
done
exit 1`,
    parse(output) {
      const texts = new Map<string, string>();
      for (const line of output.split("\n")) {
        const [, folder, name, rest] = /^(host|domains)\/(?:[^:]*\/)?([^:/]+):(.*)$/.exec(line) ?? [];
        if (folder === undefined) continue;
        const key = `${folder === "host" ? "host" : "domain"} ${name ?? ""}`;
        texts.set(key, `${texts.get(key) ?? ""}${rest ?? ""}\n`);
      }
      return new Map(
        [...texts].flatMap(([key, text]) => {
          const at = known.get(key);
          return at ? [[key, entryIn(text, at)] as const] : [];
        }),
      );
    },
  };
}

function entryIn(text: string, at: BaselineKey): Baseline {
  const entry = parse(text);
  const record = `the record of ${named(at)} in /var/lib/virtio9p`;
  const where = { layer: at.layer, machine: "the KVM host" };
  if (!entry) {
    const what = `${record} is damaged`;
    const remedy = "look into that file: it says what was there before the share";
    throw new ShareError({ code: "recordUnreadable", ...where, what, remedy });
  }
  if (entry === later) {
    const what = `a later release of pulumi-virtio9p wrote ${record}`;
    const remedy = "install that release or a later one";
    throw new ShareError({ code: "laterRelease", ...where, what, remedy });
  }
  return entry;
}

/** Of a layer, all that the host or the domain has a record of, and what was found; one that cannot be read is left out. */
export function recordsIn(scope: BaselineKey["scope"], layer: LayerName): Fact<readonly Recorded[]> {
  return {
    place: "host",
    perDomain: scope === "domain",
    does: `see of which ${layer} of the ${scope} there are records`,
    script: firstLines(scope, layer),
    parse: (output) =>
      output.split("\n").flatMap((line) => {
        const entry = parse(line);
        return entry && entry !== later ? [{ identity: entry.identity, before: entry.before }] : [];
      }),
  };
}

/** What a record says of its thing. */
type Recorded = Pick<Baseline, "identity" | "before">;

/** Prints the line for the thing of each record. Another process may remove one at any moment, under its own lock. */
function firstLines(scope: BaselineKey["scope"], layer: LayerName): Script {
  return sh`for file in "$records"/${folderOf(scope)}/${layer}-*.json; do
  if [ -e "$file" ]; then head -n 1 -- "$file" || { [ ! -e "$file" ] || exit 1; }; fi
done`;
}

/** A command that prints the identity in each first line of a record: of JSON no more than `\"` and `\\` stands in a path. */
export const identityInRecord = sh`sed -n 's/.*"identity":"\(\([^"\\]\|\\.\)*\)".*/\1/p' | sed 's/\\\(.\)/\1/g'`;

/** Prints the identity of everything of a layer that the host has a record of, a line each. */
export function eachIdentity(layer: LayerName): Script {
  return sh`{ ${firstLines("host", layer)}
} | ${identityInRecord}`;
}

/** Of an entry, the names of the share that lets go of it. */
export interface Release {
  readonly at: BaselineKey;
  readonly leaving: readonly string[];
}

/** What a share holds of a thing, or is to hold; its former names leave. */
export interface Hold extends Release {
  /** What first contact found, for an entry that is not there yet. */
  readonly before: Json;
  readonly joining: readonly string[];
}

/**
 * Holds entries, whoever else does at the same time: one that is not there is made, so that it is on the disk before the
 * next step runs, and a crash finds it whole or not at all.
 */
export function holdRecords(holds: readonly Hold[]): Step {
  const each = (does: string, words: (hold: Hold) => readonly string[]): Script =>
    lines(holds.map((hold) => sh`${{ text: does }} ${fileOf(hold.at)} ${words(hold)}`));
  const folders = new Set(holds.map(({ at: { scope } }) => sh`"$records"/${folderOf(scope)}`.text));
  return {
    does: `remember what was found of ${namesOf(holds)}`,
    run: sh`mkdir -p -m 0700 -- "$records" ${{ text: [...folders].join(" ") }}
cd -- "$records"
${rewriting}
hold() { # FILE FIRST-LINE HOLDER... '' FORMER-HOLDER...
  if ! [ -e "$1" ]; then made "$1"; : > "$made"; fi
  rewrite "$@"
}
${each("hold", ({ at: { layer, identity }, before, joining, leaving }) => [
  JSON.stringify({ version, layer, identity, before }),
  ...joining.map(quoted),
  "",
  ...leaving.map(quoted),
])}
in_place`,
    undo: sh`[ -z "$ended" ] || exit 0
cd -- "$records"
${rewriting}
let_go() { # FILE '' FORMER-HOLDER... '' HOLDER...: what this script has made goes with its last holder
  rewrite "$@"
  made "$1"
  if [ -e "$made" ] && [ -z "$held" ]; then gone "$1"; fi
}
${each("let_go", ({ joining, leaving }) => ["", ...leaving.map(quoted), "", ...joining.map(quoted)])}
in_place`,
  };
}

/**
 * `rewrite FILE FIRST-LINE HOLDER... '' HOLDER...` writes FILE.new with the second holders taken out and the first ones in,
 * and FIRST-LINE where there is no file; `$held` says whether anybody holds it then. `in_place` puts all of them in place, but
 * for what is `gone`. The shell reads and writes by itself.
 */
const rewriting = sh`fresh=''
made() { made=$${{ text: "{1%/*}" }}; made="$work/made-$${{ text: "{made##*/}" }}-$${{ text: "{1##*/}" }}"; }
rewrite() {
  file=$1 first_line=$2
  shift 2
  joining='' list=joining leaving='' held=''
  for word; do
    if [ -z "$word" ]; then list=leaving
    elif [ $list = joining ]; then joining="$joining$word
"
    else leaving="$leaving$word
"; fi
  done
  {
    if [ -e "$file" ]; then
      while IFS= read -r line; do
        case "
$joining$leaving" in *"
$line
"*) continue;; esac
        case $line in '"'*) held=1;; esac
        printf '%s\n' "$line"
      done < "$file"
    else printf '%s\n' "$first_line"; fi
    printf %s "$joining"
  } > "$file.new"
  held=$held$joining fresh="$fresh $file"
}
gone() {
  rm -f -- "$1" "$1.new"
  fresh=$${{ text: '{fresh% "$1"}' }}
  rmdir -- "$${{ text: "{1%/*}" }}" 2>/dev/null || :
}
in_place() {
  [ -n "$fresh" ] || return 0
  set --
  for file in $fresh; do set -- "$@" "$file.new"; done
  sync "$@" || { rm -f -- "$@"; exit 1; }
  folders=''
  for file in $fresh; do
    mv -f -- "$file.new" "$file"
    case " $folders " in *" $${{ text: "{file%/*}" }} "*) ;; *) folders="$folders $${{ text: "{file%/*}" }}";; esac
  done
  sync $folders
}`;

/** Lets go of entries, and leaves what nobody holds then to whoever gives back what it is of. */
export function leaveRecords(releases: readonly Release[]): Step {
  return {
    does: `let go of what was found of ${namesOf(releases)}`,
    run: letGoOf(releases, sh`:`),
  };
}

/** Lets go of entries, and removes those that nobody holds then, with the folders that they were the last in. */
export function forgetRecords(releases: readonly Release[]): Step {
  const ofDomain = releases.some(({ at }) => at.scope === "domain");
  return {
    does: `forget what was found of ${namesOf(releases)}`,
    run: lines([letGoOf(releases, sh`[ -n "$held" ] || gone "$1"`), ...(ofDomain ? [sweepDomain] : [])]),
  };
}

/** Does what gives a thing back whose record on the host has at most `own` holders, and else nothing. */
export function unlessHeld(at: BaselineKey, giveBack: Script, own = 0): Script {
  return sh`if [ -e "$records"/${fileOf(at)} ]; then
  holds=$(grep -c '^"' -- "$records"/${fileOf(at)}) || [ $? -eq 1 ] || exit 1
  [ "$holds" -le ${own} ] || exit 0
fi
${giveBack}`;
}

function letGoOf(releases: readonly Release[], then: Script): Script {
  return sh`cd -- "$records" 2>/dev/null || exit 0
${rewriting}
leave() { # as rewrite
  [ -e "$1" ] || return 0
  rewrite "$@"
  ${then}
}
${lines(releases.map(({ at, leaving }) => sh`leave ${fileOf(at)} ${["", "", ...leaving.map(quoted)]}`))}
in_place`;
}

/** The log of power cycles goes with the last record of a domain. */
const sweepDomain = sh`if [ -d "domains/$recorded" ] && ! ls "domains/$recorded" | grep -qv '^power$'; then
  for file in log job lock current; do rm -f -- "domains/$recorded/power/$file"; done
  rmdir -- "domains/$recorded/power" "domains/$recorded" 2>/dev/null || :
fi`;

function named(at: BaselineKey): string {
  return `${at.name} ${at.identity}`.trim();
}

function namesOf(all: readonly Release[]): string {
  return all.map(({ at }) => named(at)).join(", ");
}

function quoted(holder: string): string {
  return JSON.stringify(holder);
}

/** As seen from `$records`. */
function folderOf(scope: BaselineKey["scope"]): Script {
  return { text: scope === "host" ? "host" : '"domains/$recorded"' };
}

/** Named by a hash, for an identity is a path of any length; 128 bits of SHA-256. */
function nameOf(at: BaselineKey): string {
  const of = at.name === at.layer ? at.identity : `${at.name} ${at.identity}`;
  return `${at.layer}-${createHash("sha256").update(of).digest("hex").slice(0, 32)}.json`;
}

function fileOf(at: BaselineKey): Script {
  return sh`${folderOf(at.scope)}/${nameOf(at)}`;
}

/** Undefined: it is no record; `later`: one of a later release. */
export function parse(text: string, chain = migrations): Baseline | typeof later | undefined {
  const [first = "", ...rest] = text.split("\n");
  try {
    const entry = JSON.parse(first) as Partial<StoredRecord & { readonly version: number }> | null;
    const { layer, identity, before } = entry ?? {};
    if (typeof entry?.version !== "number" || entry.version < firstVersion) return undefined;
    if (layer === undefined || identity === undefined || before === undefined) return undefined;
    const found = migrated({ layer, identity, before }, entry.version, chain, firstVersion);
    if (found === later) return later;
    return {
      ...found,
      references: rest.filter((line) => line !== "").map((line) => JSON.parse(line) as string),
    };
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}
