import { createHash } from "node:crypto";
import { ShareError } from "../errors";
import type { Fact, Json, Layer, Step } from "./concern";
import { lines, type Script, sh } from "../formats/shell";

/**
 * What first contact found of one thing, kept on the host as long as a share holds it.
 *
 * Sample: `{"version":1,"layer":"directory","identity":"/foo/bar","before":{"created":true},
 * "holders":["5a0c.../foobar"]}`. A holder is a domain's UUID and a tag.
 */
export interface RecordEntry {
  readonly version: 1;
  readonly layer: Layer;
  readonly identity: string;
  readonly before: Json;
  readonly holders: readonly string[];
}

/** Where an entry is kept: by directory for what belongs to the host, by domain for the rest. */
export interface RecordPlace {
  readonly layer: Layer;
  readonly identity: string;
  readonly scope: "host" | "domain";
}

/**
 * Shell variables of the host's prelude: `$records`, root-only, outlives a boot. `$recorded` is the
 * domain's UUID as libvirt has it, or as the state knew it when it is gone.
 *
 * Where libvirt is the user's own session the records are the user's (XDG Base Directory 0.8).
 */
export function recordsDirectory(libvirtUri: string): Script {
  return libvirtUri === "qemu:///session"
    ? sh`records="$HOME/.local/state/virtio9p"`
    : sh`records=/var/lib/virtio9p`;
}

/** Reads one entry; undefined: there is none. Refuses with `recordUnreadable`. */
export function recordOf(at: RecordPlace): Fact<RecordEntry | undefined> {
  return {
    key: `record ${at.scope} ${at.layer} ${at.identity}`,
    place: "host",
    does: `read the record of ${at.layer} ${at.identity}`,
    guard: true,
    script: sh`if [ -e ${pathOf(at)} ]; then cat -- ${pathOf(at)}; fi`,
    parse(output) {
      if (output === "") return undefined;
      const entry = parse(output);
      if (!entry) throw unreadable(at);
      return entry;
    },
  };
}

/**
 * Writes an entry so that it is on the disk before the next step runs: a crash finds the old one or
 * the new one. `former` is what undo puts back.
 */
export function writeRecord(at: RecordPlace, entry: RecordEntry, former: RecordEntry | undefined): Step {
  return {
    does: `remember what was found of ${at.layer} ${at.identity}`.trim(),
    run: save(at, entry),
    undo: former ? save(at, former) : remove(at),
  };
}

/** Removes an entry, and the folders that it was the last in. */
export function removeRecord(at: RecordPlace): Step {
  return { does: `forget what was found of ${at.layer} ${at.identity}`.trim(), run: remove(at) };
}

function save(at: RecordPlace, entry: RecordEntry): Script {
  return sh`mkdir -p -m 0700 -- "$records" ${folderOf(at)}
printf '%s\n' ${JSON.stringify(entry)} > ${pathOf(at)}.new
sync ${pathOf(at)}.new
mv -f -- ${pathOf(at)}.new ${pathOf(at)}
sync ${folderOf(at)}`;
}

function remove(at: RecordPlace): Script {
  return lines([
    sh`rm -f -- ${pathOf(at)}`,
    ...(at.scope === "domain"
      ? [
          sh`if [ -d ${folderOf(at)} ] && ! ls ${folderOf(at)} | grep -qv '^power$'; then
  rm -f -- ${folderOf(at)}/power/log ${folderOf(at)}/power/job ${folderOf(at)}/power/lock ${folderOf(at)}/power/current
  rmdir -- ${folderOf(at)}/power 2>/dev/null || :
fi`,
        ]
      : []),
    sh`rmdir -- ${folderOf(at)} 2>/dev/null || :`,
  ]);
}

function folderOf(at: RecordPlace): Script {
  return at.scope === "host" ? sh`"$records/host"` : sh`"$records/domains/$recorded"`;
}

/** Named by a hash, for an identity is a path of any length; 128 bits of SHA-256. */
function pathOf(at: RecordPlace): Script {
  const name = `${at.layer}-${createHash("sha256").update(at.identity).digest("hex").slice(0, 32)}.json`;
  return sh`${folderOf(at)}/${name}`;
}

function parse(text: string): RecordEntry | undefined {
  try {
    const entry = JSON.parse(text) as Partial<RecordEntry>;
    return entry.version === 1 && entry.before !== undefined && Array.isArray(entry.holders)
      ? (entry as RecordEntry)
      : undefined;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

function unreadable(at: RecordPlace): ShareError {
  return new ShareError({
    code: "recordUnreadable",
    layer: at.layer,
    machine: "the KVM host",
    what: `the record of ${at.layer} ${at.identity} in /var/lib/virtio9p cannot be read by this release`,
    remedy: "use the release that wrote it, or look into that file: it says what was there before the share",
  });
}
