import { shownName } from "../formats/shown-name";
import { formatOctalMode } from "../formats/octal-mode";
import { type Seen, seenByGuest, type Status } from "../drivers/ninep/attributes";
import type { Listed } from "./entries";

/** What `virtio9p inspect` prints of one entry: what a guest sees of it. */

/** The letters of ls(1). */
const letters = { file: "-", directory: "d", link: "l", fifo: "p", socket: "s", block: "b", character: "c" };

/** Sample: `drwxr-s---+  1000  100     4096 2026-11-27 10:04 sub/a  [damaged: user.virtfs.uid has 2 bytes, not 4]`. */
export function formatText(entry: Listed, path: string): string {
  const seen = seenOf(entry);
  const device = seen?.status.device;
  const size = device ? `${device.major}, ${device.minor}` : String(entry.sizeBytes);
  const time = new Date(entry.modified * 1000);
  // Some file systems take times that no calendar of JavaScript has.
  const when = Number.isNaN(time.getTime())
    ? `@${entry.modified}`.padEnd(16)
    : time.toISOString().replace("T", " ").slice(0, -8);
  const fields = [
    seen ? `${modeText(seen.status)}${seen.acl ? "+" : " "}` : `${"?".repeat(10)} `,
    String(seen?.status.uid ?? "?").padStart(5),
    String(seen?.status.gid ?? "?").padStart(5),
    size.padStart(10),
    when,
    shownName(path),
  ];
  const damage = seen?.damage.join("; ") ?? "";
  return fields.join(" ") + (damage === "" ? "" : `  [damaged: ${damage}]`);
}

/**
 * One line of JSON: `{"path":"sub/a","type":"file","mode":"0644","uid":1000,"gid":100,"size":12,
 * "modified":1763877000,"acl":false,"host":{"type":"file","mode":"0600","uid":64055,"gid":64055},
 * "attributes":["user.virtfs.uid"],"damage":[]}`; `device` of devices, `"8:1"`; `type` is null where there is none; all
 * that its attributes say is null where they may not be read, `attributes` too.
 */
export function formatJson(entry: Listed, path: string): string {
  const seen = seenOf(entry);
  return JSON.stringify({
    path: shownName(path),
    ...(seen ? statusJson(seen.status) : { type: null, mode: null, uid: null, gid: null }),
    size: entry.sizeBytes,
    modified: entry.modified,
    acl: seen?.acl ?? null,
    host: statusJson(entry.host),
    attributes: entry.attributes ? [...entry.attributes.keys()] : null,
    damage: seen?.damage ?? [],
  });
}

/** What a guest sees of an entry; undefined: its attributes may not be read. */
export function seenOf({ host, attributes }: Listed): Seen | undefined {
  return attributes && seenByGuest(host, attributes);
}

function statusJson({ type, mode, uid, gid, device }: Status): object {
  return {
    type: type ?? null,
    mode: formatOctalMode(mode),
    uid,
    gid,
    ...(device ? { device: `${device.major}:${device.minor}` } : {}),
  };
}

/** As ls(1) writes it: `rwxr-sr-t`. */
function modeText({ type, mode }: Status): string {
  const three = (shift: number, special: number, letter: string): string => {
    const bits = mode >> shift;
    const runs = (bits & 1) !== 0;
    const x = (mode & special) === 0 ? (runs ? "x" : "-") : runs ? letter : letter.toUpperCase();
    return `${bits & 4 ? "r" : "-"}${bits & 2 ? "w" : "-"}${x}`;
  };
  const permissions = three(6, 0o4000, "s") + three(3, 0o2000, "s") + three(0, 0o1000, "t");
  return `${type === undefined ? "?" : letters[type]}${permissions}`;
}
