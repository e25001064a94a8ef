import { readFileSync } from "node:fs";
import { directory, type Guest, records } from "./lab";

/**
 * Host and guest as far as a share may touch them, to be compared as a whole.
 *
 * Left out or sorted is only what another way to the same state may change: the order of fstab's lines
 * and of devices, their PCI addresses and aliases, the numbers of mounts.
 */
export async function snapshot(
  guest: Guest,
  sources: readonly string[],
): Promise<Readonly<Record<string, string>>> {
  const [definition, live, uuid, seen] = await Promise.all([
    guest.definition(),
    guest.virsh("dumpxml"),
    guest.virsh("domuuid"),
    guest.sh(inGuest),
  ]);
  const directories = await Promise.all(sources.map(directory));
  const kept = await Promise.all([uuid.trim(), ...sources].map(records));
  return {
    ...Object.fromEntries(sources.map((source, index) => [source, directories[index] ?? ""])),
    definition: definition.replace(filesystem, ""),
    declared: devices(definition),
    live: devices(live),
    guest: seen,
    records: [...new Set(kept.flat())]
      .sort()
      .map((file) => `${file} ${readFileSync(file, "utf8").trim()}`)
      .join("\n"),
  };
}

/** One `<filesystem>` as `virsh dumpxml` of libvirt 9.0 indents it. */
const filesystem = /^ {4}<filesystem [^]*?^ {4}<\/filesystem>\n/gm;

/** Sample: `<filesystem type='mount' accessmode='mapped'><source dir='/srv/a'/><target dir='a'/></filesystem>`, a line each. */
function devices(xml: string): string {
  return [...xml.matchAll(filesystem)]
    .map(([element]) => element.replace(/^ *<(alias|address) .*\n/gm, "").replace(/\n */g, ""))
    .map((element) => element.trim())
    .sort()
    .join("\n");
}

const inGuest = `sort /etc/fstab
ls -A /etc
for file in /etc/fstab /etc/modules-load.d/*; do
  if [ -f "$file" ]; then stat -c '%n %u:%g %a' "$file"; fi
done
cat /etc/modules-load.d/* 2>/dev/null
find /mnt -exec stat -c '%n %F %u:%g %a' {} + | sort
grep ' 9p ' /proc/mounts | sort; :`;
