import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { lab } from "./lab";
import { output, run } from "./run";
import { freePort } from "./ssh-server";
import type { ConnectionArgs } from "./via";

/** Where the host has the small guest that its domains are made of. */
const small = "/var/lib/libvirt/images/small";

/**
 * A KVM host of its own, as a VM: with SELinux enforcing, or with AppArmor. It is reached over SSH as root, and its
 * guests are emulated inside it.
 */
export class ConfinedHost {
  readonly domain: string;
  readonly #folder = mkdtempSync(join(tmpdir(), "virtio9p-confined-"));
  #args: ConnectionArgs | undefined;

  constructor(
    name: string,
    readonly kind: "selinux" | "apparmor",
  ) {
    this.domain = `v9p-${name}`;
  }

  /** How to get there, once it was booted. */
  get connection(): ConnectionArgs {
    if (!this.#args) throw new Error(`${this.domain} was not booted`);
    return this.#args;
  }

  /** A fresh one, whose libvirt answers. Under emulation its kernel hung in one of seven boots: then anew. */
  async boot(): Promise<void> {
    await this.define();
    const virsh = (...words: string[]) =>
      output("virsh", ["-q", "-c", "qemu:///system", ...words, this.domain]);
    for (let left = 2; ; left -= 1) {
      await virsh("start");
      if (await this.#answersWithin(300)) return;
      if (left === 0) throw new Error(`the libvirt of ${this.domain} does not answer over SSH`);
      process.stderr.write(`${this.domain}: it does not answer, and is started anew\n`);
      await virsh("destroy");
    }
  }

  /** A fresh one that is off. */
  async define(): Promise<void> {
    const port = await freePort();
    const artifact = (await lab("build", "selinux")).trim();
    await lab("define", this.domain, this.kind, "--ssh", String(port));
    const read = (name: string): string => readFileSync(join(artifact, name), "utf8");
    const [type = "", key = ""] = read("host_key.pub").split(" ");
    const hostKey = `${type} ${key}`.trim();
    this.#args = { host: "127.0.0.1", port, user: "root", privateKey: read("key"), hostKey };
    writeFileSync(join(this.#folder, "key"), this.#args.privateKey);
    chmodSync(join(this.#folder, "key"), 0o600);
    writeFileSync(join(this.#folder, "known_hosts"), `[127.0.0.1]:${port} ${hostKey}\n`);
  }

  /** Whether libvirt answers over SSH before these seconds are over. */
  async #answersWithin(seconds: number): Promise<boolean> {
    const until = Date.now() + seconds * 1000;
    while (Date.now() < until) {
      const ended = await this.#ssh("virsh -q -c qemu:///system list --all", 60_000);
      if (ended.code === 0) return true;
      await new Promise((resolve) => setTimeout(resolve, 2000));
    }
    return false;
  }

  async remove(): Promise<void> {
    rmSync(this.#folder, { recursive: true, force: true });
    await lab("remove", this.domain);
  }

  /** Runs a script there as root; rejects with all that it printed where it fails. */
  async sh(script: string): Promise<string> {
    const ended = await this.#ssh(script);
    if (ended.code !== 0)
      throw new Error(`a script in ${this.domain} ended with ${ended.code}:\n${ended.stdout}${ended.stderr}`);
    return ended.stdout;
  }

  #ssh(script: string, timeoutMs = 600_000) {
    const options = [
      ["IdentityFile", join(this.#folder, "key")],
      ["UserKnownHostsFile", join(this.#folder, "known_hosts")],
      ["IdentitiesOnly", "yes"],
      ["BatchMode", "yes"],
      ["ConnectTimeout", "10"],
      ["ControlMaster", "auto"],
      ["ControlPersist", "60"],
      ["ControlPath", join(this.#folder, "control")],
    ].flatMap(([name, value]) => ["-o", `${name}=${value}`]);
    const words = ["-F", "none", ...options, "-p", String(this.#args?.port), "root@127.0.0.1", "sh -s"];
    return run("ssh", words, { input: `LC_ALL=C; export LC_ALL\n${script}\n`, timeoutMs });
  }

  /**
   * Defines a domain of the small guest, off; `more` goes into its definition. Gives its UUID.
   *
   * Disk and serial devices are on the root bus: the PCI Express ports that libvirt adds else are a sixth of a boot.
   */
  async defineGuest(name: string, more = ""): Promise<string> {
    const xml = `<domain type='qemu'>
  <name>${name}</name>
  <memory unit='MiB'>256</memory>
  <vcpu>1</vcpu>
  <os>
    <type arch='x86_64' machine='q35'>hvm</type>
    <kernel>${small}/kernel</kernel>
    <initrd>${small}/ramdisk</initrd>
    <cmdline>console=ttyS0 quiet root=/dev/vda rw mitigations=off random.trust_cpu=on tsc=reliable no_timer_check init_on_alloc=0 cryptomgr.notests=1 lsm= audit=0 net.ifnames=0</cmdline>
  </os>
  <features><acpi/><apic/></features>
  <cpu mode='custom' match='exact' check='none'><model fallback='forbid'>Nehalem</model><feature policy='require' name='rdrand'/></cpu>
  <on_poweroff>destroy</on_poweroff>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2' cache='unsafe'/>
      <source file='/var/lib/libvirt/images/${name}.qcow2'/>
      <target dev='vda' bus='virtio'/>
      <address type='pci' domain='0' bus='0' slot='2' function='0'/>
    </disk>
    <controller type='virtio-serial' index='0'><address type='pci' domain='0' bus='0' slot='3' function='0'/></controller>
    <controller type='usb' model='none'/>
    <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
    <serial type='pty'><target port='0'/></serial>
    <memballoon model='none'/>
    <audio id='1' type='none'/>
  </devices>
  ${more}
</domain>`;
    const uuid = await this.sh(`set -e
qemu-img create -q -f qcow2 -F qcow2 -b ${small}/disk.qcow2 /var/lib/libvirt/images/${name}.qcow2
virsh -q -c qemu:///system define /dev/stdin <<'XML' >&2
${xml}
XML
virsh -q -c qemu:///system domuuid ${name}`);
    return uuid.trim();
  }

  /** Starts a domain, and waits until its agent answers. */
  async bootGuest(name: string): Promise<void> {
    await this.sh(`virsh -q -c qemu:///system start ${name}`);
    await this.guestAnswers(name);
  }

  /** Waits until the agent of a domain answers. */
  async guestAnswers(name: string): Promise<void> {
    await this.sh(`for turn in $(seq 300); do
  if virsh -q -c qemu:///system dumpxml ${name} | grep -q "org.qemu.guest_agent.0' state='connected'" &&
    virsh -q -c qemu:///system qemu-agent-command --timeout 5 ${name} '{"execute":"guest-ping"}' >/dev/null 2>&1; then exit 0; fi
  sleep 1
done
echo 'the agent does not answer' >&2
exit 1`);
  }

  /** Shuts a domain down, and waits until it is off. */
  async shutDownGuest(name: string): Promise<void> {
    await this.sh(`virsh -q -c qemu:///system shutdown ${name}
for turn in $(seq 120); do
  [ "$(virsh -q -c qemu:///system domstate ${name})" != 'shut off' ] || exit 0
  sleep 1
done
exit 1`);
  }

  /** Runs a script in the guest of a domain, through its agent; what it prints, both streams, and then its status. */
  async guestSh(name: string, script: string): Promise<string> {
    const command = JSON.stringify({
      execute: "guest-exec",
      arguments: {
        path: "/bin/sh",
        arg: ["-c", `{ ${script}\n} 2>&1; echo "status $?"`],
        "capture-output": true,
      },
    });
    const answer = await this.sh(`set -e
ask() { virsh -q -c qemu:///system qemu-agent-command --timeout 20 ${name} "$1"; }
pid=$(ask "$(cat <<'COMMAND'
${command}
COMMAND
)" | sed -n 's/.*"pid":\\([0-9]*\\).*/\\1/p')
for turn in $(seq 300); do
  answer=$(ask "{\\"execute\\":\\"guest-exec-status\\",\\"arguments\\":{\\"pid\\":$pid}}")
  case $answer in *'"exited":true'*) printf '%s' "$answer"; exit 0;; esac
  sleep 0.5
done
exit 1`);
    const status = JSON.parse(answer) as { return: { "out-data"?: string } };
    return Buffer.from(status.return["out-data"] ?? "", "base64").toString("utf8");
  }

  /** The denials that the kernel has logged, by SELinux or AppArmor. */
  denials(): Promise<string> {
    return this.sh("dmesg | grep -E 'avc: +denied|apparmor=\"DENIED\"' || :");
  }
}
