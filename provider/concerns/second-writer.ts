import type { Context, Fact, Refusal } from "../engine/concern";
import { DirectoryTrees } from "../formats/directory-tree";
import { type DomainExport, parseDomainExports } from "../formats/domain-exports";
import { type Mount, parseMountinfo } from "../formats/mountinfo";
import { sh } from "../formats/shell";
import { virsh } from "./domain-facts";

/** Who else can write to a share's tree: what has to be seen for it, and what is refused. */

/** `/proc/self/mountinfo` of the host. */
export const hostMounts: Fact<readonly Mount[]> = {
  key: "host mountinfo",
  place: "host",
  does: "read the host's mounts",
  script: sh`cat /proc/self/mountinfo`,
  parse: parseMountinfo,
};

/** Every export of every domain, its source without links. */
export type HostExports = readonly (DomainExport & { readonly realPath: string })[];

/**
 * Every `<filesystem>` of every domain of this libvirt, live and persistent.
 *
 * Of each definition only the lines that matter are printed; then, behind a NUL, each source and where it
 * really leads: `/srv/link`, NUL, `/srv/a`, NUL. 200 domains a command: an argument has 128 KiB at most.
 */
export const hostExports: Fact<HostExports> = {
  key: "exports of all domains",
  place: "host",
  does: "see what other domains export",
  guard: true,
  tools: [virsh],
  script: sh`exports=$(vsh list --all --uuid | xargs -n 200 | sed 's/[^ ][^ ]*/dumpxml --inactive &; dumpxml &;/g' |
  while IFS= read -r commands; do vsh "$commands" 2>/dev/null </dev/null; done |
  sed -n -e 's/^<domain .*/<domain>/p' -e '/^<\/domain>/p' -e '/^  <name>/p' -e '/^  <uuid>/p' -e '/^    <filesystem /,/^    <\/filesystem>/p' |
  grep -v '<alias \|<address ')
printf '%s\n\000' "$exports"
printf '%s\n' "$exports" | sed -n "s/^      <source dir='\(.*\)'\/>$/\1/p" | sort -u | while IFS= read -r text; do
  path=$(printf %s "$text" | sed "s/&lt;/</g; s/&gt;/>/g; s/&quot;/\"/g; s/&apos;/'/g; s/&amp;/\&/g")
  printf '%s\000%s\000' "$path" "$(readlink -m -- "$path")"
done`,
  parse(output) {
    const [text = "", ...rest] = output.split("\0");
    const paths = new Map(
      rest.flatMap((path, index) => (index % 2 === 0 ? [[path, rest[index + 1] ?? path] as const] : [])),
    );
    return parseDomainExports(text).map((one) => ({ ...one, realPath: paths.get(one.source) ?? one.source }));
  },
};

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
