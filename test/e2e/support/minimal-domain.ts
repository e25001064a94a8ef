import { output, run } from "./run";

/** A domain that never boots: enough for what is only defined, or runs paused. */
export interface MinimalDomain {
  /** Defines it anew, with these devices and `more` behind them; one that runs goes on as it is. */
  readonly define: (devices: string, more?: string) => Promise<void>;
  readonly virsh: (command: string, ...args: readonly string[]) => Promise<string>;
  /** Takes a filesystem out of the persistent definition. */
  readonly detach: (tag: string) => Promise<void>;
  readonly remove: () => Promise<void>;
}

const connection = ["-q", "-c", "qemu:///system"] as const;

/** Arguments for QEMU that make a 9p device of which libvirt knows nothing. */
export function onCommandLine(source: string, tag: string): string {
  return `<qemu:commandline xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
<qemu:arg value='-fsdev'/><qemu:arg value='local,id=byhand,path=${source},security_model=none'/>
<qemu:arg value='-device'/><qemu:arg value='virtio-9p-pci,fsdev=byhand,mount_tag=${tag},addr=0x1d'/>
</qemu:commandline>`;
}

/** By the exact name, for virsh takes digits for a running number; empty: there is none. */
export async function uuidOf(name: string): Promise<string> {
  const listed = await output("virsh", [...connection, "list", "--all", "--uuid", "--name"]);
  const line = listed.split("\n").find((one) => one.trim().endsWith(` ${name}`));
  return line?.trim().split(/\s+/)[0] ?? "";
}

/** Behind a pipe, for virsh cannot open the socket that is Node's standard input of a child. */
function withXml(xml: string, ...args: readonly string[]): Promise<string> {
  return output("sh", ["-c", 'cat | virsh "$@"', "sh", ...connection, ...args], { input: xml });
}

/** Memory is shared, for virtiofs; no disk, no network, no agent. */
export function minimalDomain(name: string, uuid?: string): MinimalDomain {
  const virsh = (command: string, ...args: readonly string[]): Promise<string> =>
    output("virsh", [...connection, command, name, ...args]);
  return {
    virsh,
    define: async (devices, more = "") => {
      const known = uuid ?? (await uuidOf(name));
      const xml = `<domain type='qemu'><name>${name}</name>${known === "" ? "" : `<uuid>${known}</uuid>`}
<memory unit='MiB'>64</memory><memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>
<os><type arch='x86_64' machine='q35'>hvm</type></os>
<devices>${devices}<memballoon model='none'/></devices>${more}</domain>`;
      await withXml(xml, "define", "/dev/stdin");
    },
    detach: async (tag) => {
      const xml = `<filesystem type='mount'><source dir='/'/><target dir='${tag}'/></filesystem>`;
      await withXml(xml, "detach-device", name, "/dev/stdin", "--config");
    },
    remove: async () => {
      await run("virsh", [...connection, "destroy", name]);
      await run("virsh", [...connection, "undefine", name]);
    },
  };
}
