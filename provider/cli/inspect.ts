import { shownName } from "../formats/shown-name";
import { formatOctalMode } from "../formats/octal-mode";
import { type FileType, type Seen, seenByGuest, type Status } from "../formats/virtfs";
import type { Listed } from "./entries";

/** What `virtio9p inspect` prints of one entry: what a guest sees of it. */

/** The letters of ls(1). */
const letters: Readonly<Record<FileType, string>> = {
  file: "-",
  directory: "d",
  link: "l",
  fifo: "p",
  socket: "s",
  block: "b",
  character: "c",
};

/** Sample: `drwxr-s---+  1000  100     4096 2026-11-27 10:04 sub/a  [damaged: user.virtfs.uid has 2 bytes, not 4]`. */
export function formatText(entry: Listed, path: string): string {
  const { status, acl, damage } = seenByGuest(entry.host, entry.attributes);
  const size = status.device ? `${status.device.major}, ${status.device.minor}` : String(entry.sizeBytes);
  const time = new Date(entry.modified * 1000);
  // Some file systems take times that no calendar of JavaScript has.
  const when = Number.isNaN(time.getTime())
    ? `@${entry.modified}`.padEnd(16)
    : time.toISOString().replace("T", " ").slice(0, -8);
  const fields = [
    `${modeText(status)}${acl ? "+" : " "}`,
    String(status.uid).padStart(5),
    String(status.gid).padStart(5),
    size.padStart(10),
    when,
    shownName(path),
  ];
  return fields.join(" ") + (damage.length === 0 ? "" : `  [damaged: ${damage.join("; ")}]`);
}

/**
 * One line of JSON: `{"path":"sub/a","type":"file","mode":"0644","uid":1000,"gid":100,"size":12,
 * "modified":1763877000,"acl":false,"host":{"type":"file","mode":"0600","uid":64055,"gid":64055},
 * "attributes":["user.virtfs.uid"],"damage":[]}`; `device` of devices, `"8:1"`; `type` is null where there is none.
 */
export function formatJson(entry: Listed, path: string): string {
  const { status, acl, damage } = seenByGuest(entry.host, entry.attributes);
  return JSON.stringify({
    path: shownName(path),
    ...statusJson(status),
    size: entry.sizeBytes,
    modified: entry.modified,
    acl,
    host: statusJson(entry.host),
    attributes: [...entry.attributes.keys()],
    damage,
  });
}

/** Whether it is as somebody can have meant it. */
export function damageOf(entry: Listed): Seen["damage"] {
  return seenByGuest(entry.host, entry.attributes).damage;
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
