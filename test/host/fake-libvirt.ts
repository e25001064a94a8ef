import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export const uuid = "00000000-0000-4000-8000-00000000000b";

/**
 * Just enough of `virsh` for a session's domain `web1` that is off: its devices are files. Whatever a
 * share changes is in one folder, and needs no libvirt and no root.
 */
const virsh = `#!/bin/sh
cd "\${0%/*}/.." || exit
shift 3 # -q -c URI
case $1 in
  *';'*) # several commands in one argument
    printf '%s\n' "$1" | tr ';' '\n' | while read -r command; do
      if [ -n "$command" ]; then "$PWD/bin/virsh" -q -c URI $command; fi
    done
    exit;;
esac
case $1 in
  echo) shift; printf %s "$*";;
  list) case $* in *--name*) echo '${uuid} web1';; *) echo '${uuid}';; esac;;
  dominfo) printf '%s\\n' 'UUID: ${uuid}' 'Name: web1' 'State: shut off' 'Persistent: yes' 'Managed save: no' "CPU time: $(date +%s.%N)s";;
  domstate) echo 'shut off';;
  domjobinfo) echo 'Job type: None';;
  capabilities) echo '<capabilities><host/></capabilities>';;
  dumpxml) printf '%s\n' "<domain type='kvm'>" '  <name>web1</name>' '  <uuid>${uuid}</uuid>' "  <devices>$(cat device 2>/dev/null)</devices>" '</domain>';;
  attach-device)
    case $(cat fault 2>/dev/null) in
      refuses) echo 'error: no more slots' >&2; exit 1;;
      kills) kill -KILL 0;;
    esac
    cat > device;;
  detach-device) rm device;;
  *) echo "no such command: $*" >&2; exit 1;;
esac
`;

/** Stands before the real one for the provider's scripts alone, which choose their own PATH. */
const shell = `#!/bin/sh
if [ "$*" != -s ]; then exec /bin/sh "$@"; fi
sed "s|^PATH=|PATH=\${0%/*}:|" | /bin/sh -s
`;

/** A host of its own for one provider process. */
export class FakeLibvirt {
  readonly folder = mkdtempSync(join(tmpdir(), "virtio9p-fake-"));
  /** The environment of a provider process that works there. */
  readonly env: NodeJS.ProcessEnv;

  constructor() {
    const bin = join(this.folder, "bin");
    mkdirSync(bin);
    for (const [name, text] of Object.entries({ virsh, sh: shell })) {
      writeFileSync(join(bin, name), text, { mode: 0o755 });
    }
    this.env = { HOME: this.folder, PATH: `${bin}:${process.env["PATH"] ?? ""}` };
  }

  /** A share of that domain, whose directory is not there yet. */
  share(tag: string) {
    const source = join(this.folder, `srv-${tag}`);
    return {
      source,
      domain: "web1",
      tag,
      accessMode: "passthrough",
      host: { libvirtUri: "qemu:///session" },
    };
  }

  /** From now on it refuses to declare a device, or kills the script that asks for it. */
  fail(fault: "refuses" | "kills"): void {
    writeFileSync(join(this.folder, "fault"), fault);
  }

  remove(): void {
    rmSync(this.folder, { recursive: true });
  }
}
