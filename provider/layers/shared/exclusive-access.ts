import { type Context, type Fact, type Gathering, type Refusal, refuse } from "../../engine/layer";
import { DirectoryTrees } from "../../formats/directory-tree";
import { type Domain, type DomainExport, parseDomainExports, plainPath } from "../../formats/domain-xml";
import type { Mount } from "../../formats/mountinfo";
import { comment, sh } from "../../remote/shell/sh";
import { virsh } from "./domain";

/** Who else can write to a share's tree: what has to be seen for it, and what is refused. */

type HostExport = DomainExport & { readonly realPath: string };

/**
 * Every export of every domain, its source without links; and the domains whose definitions could not be read, by name,
 * or by UUID where libvirt does not tell that either.
 */
export type HostExports = readonly HostExport[] & {
  readonly unreadable?: readonly { readonly domain: string; readonly uuid: string; readonly why: string }[];
};

/**
 * The definitions of all domains of this libvirt, persistent and live, in which a `<filesystem>` or arguments for
 * QEMU may stand, each behind a line with the script's own mark, which no definition can guess:
 *
 * ```
 * /srv/real<TAB>/srv/link<TAB>1bc66943-7fd0-4114-bc1e-3f6e6a962a47     <filesystem type='mount'>&#10;...
 * MARK names
 * 1bc66943-7fd0-4114-bc1e-3f6e6a962a47 web1
 * MARK persistent 1bc66943-7fd0-4114-bc1e-3f6e6a962a47
 * <domain type='kvm'>
 * ...
 * MARK unreadable 1bc66943-7fd0-4114-bc1e-3f6e6a962a48
 * error: internal error
 * ```
 *
 * The rows at its head are what looks like a directory, with where that really leads, and what looks like its device, by
 * which a later look sees a change. Lines of somebody's metadata may be among them, and do no harm.
 *
 * 200 domains a command: an argument has 128 KiB at most. A domain that gives nothing is asked again for itself. One
 * that went meanwhile is dropped. A libvirt that does not answer leaves `unanswered`.
 */
const exportsOfAll: Gathering = {
  variable: "exports",
  script: sh`dump() { # KIND COMMAND, of the domains on standard input
  xargs -n 200 | sed "s/[^ ][^ ]*/echo $mark $1 & .; $2 &;/g" |
    while IFS= read -r commands; do [ -z "$commands" ] || vsh "$commands" 2>/dev/null </dev/null; done
}
[ "$listed" = 0 ] && running=$(vsh list --uuid) || { echo "$mark unanswered"; exit; }
documents=$({
    printf '%s\n' "$listing" | sed "s/^\([^ ]*\).*/$mark listed \1 ./"
    printf '%s\n' "$listing" | cut -d ' ' -f 1 | dump persistent 'dumpxml --inactive'
    printf '%s\n' "$running" | dump live dumpxml
    ${comment("virsh -q ends an echo without a line end")}
  } | sed -E "s/$mark ([a-z]+ [^ ]*) \./\n$mark \1\n/g" | awk -v mark="$mark" '
  function flush() {
    if (n && kind == "persistent") came[id] = 1
    if (n && (wanted || first !~ /^<domain / || last !~ /^<\/domain>$/)) {
      print mark, kind, id
      for (i = 1; i <= n; i++) print text[i]
    }
    n = wanted = 0
  }
  index($0, mark " ") == 1 { flush(); kind = $2; id = $3; if (kind == "listed") all[++count] = id; next }
  $0 == "" { next }
  { if (!n) first = $0; text[++n] = last = $0 }
  /<filesystem|<qemu:commandline/ { wanted = 1 }
  END {
    flush()
    for (i = 1; i <= count; i++) if (all[i] != "" && !(all[i] in came)) print mark, "missing", all[i]
  }')
documents=$(printf '%s\n' "$documents"
  for id in $(printf '%s\n' "$documents" | sed -n "s/^$mark missing //p"); do
    text=$(vsh dumpxml --inactive "$id" 2>/dev/null) || { sleep 0.2; text=$(vsh dumpxml --inactive "$id" 2>/dev/null) || :; }
    if [ -n "$text" ]; then printf '%s\n' "$mark persistent $id" "$text"
    else
      still=$(vsh list --all --uuid) || { echo "$mark unanswered"; break; }
      case $still in *"$id"*) printf '%s\n' "$mark unreadable $id"; vsh dumpxml --inactive "$id" 2>&1 >/dev/null || :;; esac
    fi
  done)
rows=$(printf '%s\n' "$documents" | awk -v mark="$mark" '
  function flush() { for (i = 1; i <= n; i++) print path[i] "\t" id " " devices; n = 0; devices = "" }
  function take(found) {
    gsub(/&lt;/, "<", found); gsub(/&gt;/, ">", found); gsub(/&quot;/, "\"", found); gsub(/&apos;/, "\047", found)
    gsub(/&amp;/, "\\&", found)
    if (found ~ /^\// && found !~ /\t/) path[++n] = found
  }
  index($0, mark " ") == 1 { flush(); id = $3; next }
  /<filesystem |<source dir=|<target dir=|<readonly\/>|<qemu:arg / { line = $0; gsub(/\t/, "\\&#9;", line); devices = devices line "&#10;" }
  match($0, /<source dir=\047[^\047]*/) { take(substr($0, RSTART + 13, RLENGTH - 13)) }
  match($0, /<qemu:arg value=\047[^\047]*/) {
    value = "," substr($0, RSTART + 17, RLENGTH - 17)
    gsub(/,,/, "\001", value)
    if (sub(/.*,path=/, "", value)) { sub(/,.*/, "", value); gsub(/\001/, ",", value); take(value) }
  }
  END { flush() }' | sort -u)
printf '%s\n' "$rows" | sed 's/\t.*//' | xargs -r -d '\n' readlink -z -m -- | tr '\n\t\000' '??\n' | paste - /dev/fd/3 3<<ROWS
$rows
ROWS
printf '%s\n' "$mark names" "$listing" "$documents"`,
};

const ofExports = { place: "host", fixed: true, gathers: exportsOfAll, tools: [virsh] } as const;

/** All of them: whether two are one directory is told by the host's mounts. */
export const hostExports: Fact<HostExports> = {
  ...ofExports,
  does: "see what other domains export",
  script: sh`printf '%s\n' "$mark" "$exports"
case $exports in *"$mark unanswered"*) echo 'libvirt stopped answering while its domains were read' >&2; exit 1;; esac`,
  failure: {
    code: "lookFailed",
    what: "what other domains export cannot be seen whole",
    remedy: "try again; virsh list --all must answer",
  },
  parse: parseExports,
};

function parseExports(output: string): HostExports {
  const [mark = ""] = output.split("\n", 1);
  const [rows = "", ...parts] = output.slice(mark.length).split(`\n${mark} `);
  const realPaths = new Map(
    rows.split("\n").map((row) => {
      const [real = "", path = ""] = row.split("\t");
      return [path, real];
    }),
  );
  const names = new Map<string, string>();
  const unreadable = new Map<string, { domain: string; uuid: string; why: string }>();
  const exports = parts.flatMap((part) => {
    const [, kind, uuid = "", text = ""] = /^(\S+) ?(\S*)\n?([^]*)$/.exec(part) ?? [];
    if (kind === "missing") return [];
    if (kind === "names") {
      for (const [, id = "", name = ""] of text.matchAll(/^(\S+) (.*)$/gm)) names.set(id, name.trim());
      return [];
    }
    try {
      if (kind === "unreadable") throw new Error(text.trim());
      return parseDomainExports(text).map((one) => ({
        ...one,
        realPath: realPaths.get(one.source) ?? one.source,
      }));
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      unreadable.set(uuid, { domain: names.get(uuid) ?? uuid, uuid, why });
      return [];
    }
  });
  return unreadable.size === 0 ? exports : Object.assign(exports, { unreadable: [...unreadable.values()] });
}

/**
 * Those of one directory, of what lies in it and what it lies in, by their real paths: what must not change
 * between the look and the write. Other domains come and go meanwhile.
 */
export function exportsNear(path: string): Fact<string> {
  return {
    ...ofExports,
    does: `see what other domains export of ${path}`,
    precondition: true,
    script: sh`printf '%s\n' "$exports" | own=${path} awk -v mark="$mark" -F '\t' '
  index($0, mark " ") == 1 { exit }
  $1 != "" && (index($1 "/", ENVIRON["own"] "/") == 1 || index(ENVIRON["own"] "/", $1 "/") == 1 || $1 == "/")'`,
    parse: (output) => output,
  };
}

/**
 * Refuses with `secondWriter` where any other export can write to the same tree: the directory itself, one
 * in it, or one that it lies in, by any name, in any domain of the same libvirt.
 *
 * QEMU does not lock what it exports, and the guests' caches know nothing of each other.
 */
export function secondWriters(
  own: { source: string; tag: string; domain: string; uuid: string | undefined },
  exports: HostExports,
  mounts: readonly Mount[],
  context: Context,
): Refusal[] {
  const trees = new DirectoryTrees(mounts);
  const isOwn = (one: HostExport): boolean =>
    one.uuid === own.uuid &&
    one.onCommandLine !== true &&
    (context.tags.has(one.tag) || (trees.isSame(own.source, one.realPath) && isGoing(one, exports)));
  const declared = exports
    .filter((one) => !one.readOnly && !isOwn(one))
    .map((one) => ({
      path: one.realPath,
      who: `${one.domain} (${one.driver}${one.onCommandLine ? " on QEMU's command line" : ""}, ${one.tag}, ${one.source})`,
    }));
  const names = new Map([
    [own.uuid, own.domain],
    ...exports.map(({ uuid, domain }) => [uuid, domain] as const),
  ]);
  const coming = context.others
    .filter(({ spec }) => !spec.readOnly)
    .map(({ name, spec }) => ({
      path: spec.source,
      who: `${names.get(spec.domain.toLowerCase()) ?? spec.domain} (the share ${name ?? spec.tag} of this program, ${spec.source})`,
    }));
  for (const { path, who } of [...declared, ...coming]) {
    const how = relation(trees, own.source, path);
    if (how === undefined) continue;
    return refuse(
      "secondWriter",
      `${own.source} would be written to by ${own.domain} (${own.tag}) and by ${who}: ${how}`,
      "give one of the two readOnly: true, or share another directory; otherWriters: allow lets both write. A resource that was renamed keeps its tag, or needs an alias",
    );
  }
  return [];
}

/** A device that the running QEMU still has, and that the domain's definition has no more: the next power cycle takes it. */
function isGoing(one: HostExport, exports: HostExports): boolean {
  const stays = exports.some(
    (other) =>
      other.uuid === one.uuid && !other.live && other.tag === one.tag && other.realPath === one.realPath,
  );
  return one.live && !stays;
}

/** What is not known of other domains, and so is not held against a share. */
export function unknownWriters(
  source: string,
  exports: HostExports | undefined,
  own: string | undefined,
): string[] {
  return (exports?.unreadable ?? [])
    .filter(({ uuid }) => uuid !== own)
    .map(
      ({ domain, why }) =>
        `the definition of ${domain} cannot be read (${why}): whether it exports ${source} too is not known`,
    );
}

/**
 * How else the domain's definition, live or persistent, spells the directory of a share: with slashes more, or through
 * a link. Empty where the directory is not there.
 */
export function otherSpellings(source: string): Fact<readonly string[]> {
  return {
    ...ofExports,
    perDomain: true,
    does: `see how the domain's definition spells ${source}`,
    script: sh`[ -n "$domain" ] || exit 0
printf '%s\n' "$exports" | awk -v mark="$mark" -v id="$domain" -F '\t' '
  index($0, mark " ") == 1 { exit }
  index($3, id " ") == 1 { print $2 }' |
  while IFS= read -r path; do
    if [ "$path" != ${source} ] && [ "$path" -ef ${source} ]; then printf '%s\n' "$path"; fi
  done`,
    parse: (output) => output.split("\n").filter((path) => path !== ""),
  };
}

/** A domain whose devices have the share's own spelling of its directory. */
export function spelledAs(source: string, spellings: readonly string[] | undefined, domain: Domain): Domain {
  const others = new Set(spellings?.map(plainPath));
  const devices9p = domain.devices9p.map((one) => (others.has(one.source) ? { ...one, source } : one));
  return { ...domain, devices9p };
}

function relation(trees: DirectoryTrees, own: string, other: string): string | undefined {
  if (trees.isSame(own, other)) return "it is the same directory";
  if (trees.isInside(own, other)) return "the first lies in the second";
  return trees.isInside(other, own) ? "the second lies in the first" : undefined;
}
