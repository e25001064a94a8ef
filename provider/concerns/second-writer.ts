import type { Context, Fact, Gathering, Refusal, Tool } from "../engine/concern";
import { DirectoryTrees } from "../formats/directory-tree";
import { type DomainExport, parseDomainExports } from "../formats/domain-exports";
import type { Mount } from "../formats/mountinfo";
import { sh } from "../formats/shell";
import { virsh } from "./domain-facts";

/** Who else can write to a share's tree: what has to be seen for it, and what is refused. */

const awk: Tool = { program: "awk", packages: ["mawk", "gawk"] };

/** Every export of every domain, its source without links. */
export type HostExports = readonly (DomainExport & { readonly realPath: string })[];

/**
 * Every `<filesystem>` of every domain of this libvirt, live and persistent: a line each, where its source
 * really leads and its XML, `/srv/a<TAB><domain><name>web1</name>...</domain>`.
 *
 * 200 domains a command: an argument has 128 KiB at most. A domain that went while it was asked is dropped;
 * one that is listed before and after, and of which nothing came, makes it an error, as a definition does that
 * was cut off and a libvirt that stopped answering: the output then has the line `<cut off>`. Only when that was
 * so three times, for whoever defines a domain anew may undefine it first. A line end or a tab in a real path is
 * shown as `?` or `&#10;`; no share has such a path.
 */
const exportsOfAll: Gathering = {
  variable: "exports",
  script: sh`for turn in 1 2 3; do
domains=$(vsh list --all --uuid) || { printf '\t<cut off>\n'; exit; }
exports=$({
    printf '%s\n' "$domains" | xargs -n 200 | sed 's/[^ ][^ ]*/dumpxml --inactive &; dumpxml &;/g' |
      while IFS= read -r commands; do vsh "$commands" 2>/dev/null </dev/null; done
    printf '%s\n' '<still>'
    vsh list --all --uuid && printf '%s\n' '<asked>' "$domains"
  } | awk '/^<still>/ { part = 1 } /^<asked>/ { part = 2 }
    part == 1 { still[$1] = 1; next }
    part == 2 { if (NF && $1 in still && !($1 in came)) missing = 1; asked = 1; next }
    /^<domain / { open = 1; head = / id=/ ? "<domain id=\"live\">" : "<domain>" } /^<\/domain>/ { open = 0; came[id] = 1 }
    /^  <name>/ { name = $0 }
    /^  <uuid>/ { uuid = $0; id = $0; gsub(/ *<\/?uuid> */, "", id) }
    /^    <filesystem / { xml = ""; inside = 1 }
    inside && !/<alias |<address / { xml = xml $0 "&#10;" }
    /^    <\/filesystem>/ { inside = 0; if (xml ~ /<source dir=/) print head name uuid xml "</domain>" }
    END { if (open || missing || !asked) print "<cut off>" }' | sort -u)
case $exports in (*'<cut off>'*) sleep 1;; (*) break;; esac
done
printf '%s\n' "$exports" |
  sed "s/.*<source dir='\([^']*\)'.*/\1/; s/&lt;/</g; s/&gt;/>/g; s/&quot;/\"/g; s/&apos;/'/g; s/&amp;/\&/g; s/^$/?/" |
  xargs -r -d '\n' readlink -z -m -- | tr '\n\t\000' '??\n' | paste - /dev/fd/3 3<<EXPORTS
$exports
EXPORTS`,
};

/** All of them: whether two are one directory is told by the host's mounts. */
export const hostExports: Fact<HostExports> = {
  key: "exports of all domains",
  place: "host",
  does: "see what other domains export",
  gathers: exportsOfAll,
  tools: [virsh, awk],
  script: sh`printf '%s\n' "$exports"
case $exports in *'<cut off>'*) echo 'libvirt ended, or left a domain out, while its domains were read' >&2; exit 1;; esac`,
  failure: {
    code: "lookFailed",
    what: "what other domains export cannot be seen whole",
    remedy: "try again; virsh list --all, and virsh dumpxml of each domain that it names, must answer",
  },
  parse: (output) =>
    output
      .split("\n")
      .map((line) => line.split("\t"))
      .flatMap(([realPath = "", ...xml]) =>
        parseDomainExports(xml.join("\t")).map((one) => ({ ...one, realPath })),
      ),
};

/** The same, where SELinux is enabled; elsewhere empty. */
export const hostExportsOnSelinux: Fact<HostExports> = {
  ...hostExports,
  key: "exports of all domains, with SELinux",
  gathers: { ...exportsOfAll, when: sh`[ -e /sys/fs/selinux/enforce ]` },
};

/**
 * Those of one directory, of what lies in it and what it lies in, by their real paths: what must not change
 * between the look and the write. Other domains come and go meanwhile.
 */
export function exportsNear(path: string): Fact<string> {
  return {
    key: `exports near ${path}`,
    place: "host",
    does: `see what other domains export of ${path}`,
    gathers: exportsOfAll,
    guard: true,
    tools: [virsh, awk],
    script: sh`printf '%s\n' "$exports" | sed 's/<domain id="live">/<domain>/' | sort -u | own=${path} awk -F '\t' '
  $1 != "" && (index($1 "/", ENVIRON["own"] "/") == 1 || index(ENVIRON["own"] "/", $1 "/") == 1 || $1 == "/") ||
  $2 == "<cut off>"'`,
    parse: (output) => output,
  };
}

/** What one share would write to. */
export interface Writer {
  readonly source: string;
  readonly tag: string;
  readonly domain: string;
}

/**
 * Refuses with `secondWriter` where any other export can write to the same tree: the directory itself, one
 * in it, or one that it lies in, by any name, in any domain of the same libvirt.
 *
 * QEMU does not lock what it exports, and the guests' caches know nothing of each other.
 */
export function secondWriters(
  own: Writer,
  seen: {
    readonly exports: HostExports;
    readonly mounts: readonly Mount[];
    readonly domainUuid: string | undefined;
  },
  context: Context,
): Refusal[] {
  const trees = new DirectoryTrees(seen.mounts);
  const declared = seen.exports
    .filter((one) => !one.readOnly && !(one.uuid === seen.domainUuid && context.tags.has(one.tag)))
    .map((one) => ({ path: one.realPath, who: `${one.domain} (${one.driver}, ${one.tag}, ${one.source})` }));
  const coming = context.others
    .filter(({ spec }) => !spec.readOnly)
    .map(({ name, spec }) => ({
      path: spec.source,
      who: `${spec.domain} (the share ${name ?? spec.tag} of this program, ${spec.source})`,
    }));
  const found = [...declared, ...coming]
    .map((one) => ({ ...one, how: relation(trees, own.source, one.path) }))
    .find(({ how }) => how !== undefined);
  if (!found) return [];
  return [
    {
      code: "secondWriter",
      what: `${own.source} would be written to by ${own.domain} (${own.tag}) and by ${found.who}: ${found.how ?? ""}`,
      remedy:
        "give one of the two readOnly: true, or share another directory; otherWriters: allow lets both write. A resource that was renamed keeps its tag, or needs an alias",
    },
  ];
}

function relation(trees: DirectoryTrees, own: string, other: string): string | undefined {
  if (trees.isSame(own, other)) return "it is the same directory";
  if (trees.isInside(own, other)) return "the first lies in the second";
  return trees.isInside(other, own) ? "the second lies in the first" : undefined;
}
