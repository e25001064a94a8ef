import type { Fact } from "../../engine/layer";
import { sh } from "../../remote/shell/sh";

/**
 * Files of a `.mount` or `.automount` that somebody has for a mount point; a link to /dev/null, which masks it, too.
 *
 * Looked for where systemd does for what is no generator's work, the first first (systemd.unit(5), 252). Those in /etc
 * and /run stand before what systemd makes of fstab, and of those in /usr a line in fstab takes the place.
 */
export function unitsOf(mountPoint: string): Fact<readonly string[]> {
  const name = unitNameOf(mountPoint);
  return {
    fixed: true,
    place: "guest",
    does: `see whether systemd has a unit for ${mountPoint}`,
    precondition: true,
    script: sh`[ -d /run/systemd/system ] || exit 0
for folder in /etc/systemd/system.control /run/systemd/system.control /run/systemd/transient \
  /etc/systemd/system /run/systemd/system /usr/local/lib/systemd/system /usr/lib/systemd/system /lib/systemd/system; do
  for file in "$folder"/${name}.mount "$folder"/${name}.automount; do
    if [ -e "$file" ] || [ -L "$file" ]; then printf '%s\n' "$file"; fi
  done
done`,
    parse: (output) => output.split("\n").filter((file) => file !== ""),
  };
}

/**
 * The name of a path's unit as `systemd-escape --path` gives it (systemd 252), sample: `mnt-foo\x2dbar` of `/mnt/foo-bar`.
 */
export function unitNameOf(path: string): string {
  const bytes = Buffer.from(path.replace(/^\/+|\/+$/g, "").replace(/\/+/g, "/")).toString("latin1");
  if (bytes === "") return "-";
  return bytes
    .replace(/^\.|[^A-Za-z0-9:_./]/g, (byte) => `\\x${byte.charCodeAt(0).toString(16).padStart(2, "0")}`)
    .replaceAll("/", "-");
}
