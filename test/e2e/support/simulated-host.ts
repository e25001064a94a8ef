import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { output, run } from "./run";

/**
 * A KVM host of its own beside this machine: network, mounts and processes in namespaces, an OpenSSH server
 * and a libvirt daemon in them. Its directories `/srv`, `/run`, `/etc/libvirt`, `/var/lib/libvirt` and
 * `/var/lib/virtio9p` are its own; all else is this machine's, and only read.
 */
export class SimulatedHost {
  readonly folder = mkdtempSync(join(tmpdir(), "virtio9p-host-"));
  /** This machine is `.1`; nothing but it is on that network. */
  readonly address: string;
  readonly #near: string;
  readonly #link: string;
  #process: ChildProcess | undefined;
  #pid = "";

  constructor(readonly number: number) {
    this.address = `10.199.${number}.2`;
    this.#near = `10.199.${number}.1`;
    this.#link = `v9p${process.pid}.${number}`.slice(0, 15);
  }

  /** Starts it, and lets root in with this key; gives its own public key. */
  async start(publicKey: string): Promise<string> {
    for (const name of ["srv", "libvirt", "records", "cache"])
      mkdirSync(join(this.folder, name), { mode: 0o755 });
    await output("chmod", ["755", this.folder]);
    await output("cp", ["-a", "/var/cache/libvirt/.", join(this.folder, "cache")]);
    await output("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-C", "", "-f", join(this.folder, "host")]);
    writeFileSync(join(this.folder, "authorized"), `${publicKey}\n`);
    writeFileSync(
      join(this.folder, "sshd_config"),
      `Port 22\nListenAddress ${this.address}\nHostKey ${this.folder}/host\nAuthorizedKeysFile ${this.folder}/authorized\nPidFile none\nUsePAM no\nStrictModes no\nPermitRootLogin yes\nLogLevel VERBOSE\n`,
    );
    writeFileSync(join(this.folder, "start"), this.#script(), { mode: 0o755 });
    const namespaces = ["--net", "--mount", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc"];
    const child = spawn(
      "unshare",
      [...namespaces, "--propagation", "slave", "sh", join(this.folder, "start")],
      {
        stdio: ["ignore", "ignore", "inherit"],
      },
    );
    this.#process = child;
    this.#pid = await eventually(async () => (await run("pgrep", ["-P", String(child.pid)])).stdout.trim());
    await output("ip", [
      "link",
      "add",
      this.#link,
      "type",
      "veth",
      "peer",
      "name",
      "eth0",
      "netns",
      this.#pid,
    ]);
    await output("ip", ["addr", "add", `${this.#near}/30`, "dev", this.#link]);
    await output("ip", ["link", "set", this.#link, "up"]);
    await eventually(async () =>
      (await this.run("virsh -q -c qemu:///system uri").catch(() => "")) &&
      this.log.includes("Server listening")
        ? "yes"
        : "",
    );
    return readFileSync(join(this.folder, "host.pub"), "utf8").trim();
  }

  #script(): string {
    return `set -e
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/sshd /run/libvirt
mount --bind ${this.folder}/srv /srv
mount -t tmpfs -o mode=755 tmpfs /etc/libvirt
mount -t tmpfs -o mode=755 tmpfs /var/log
mkdir /var/log/libvirt
mount --bind ${this.folder}/libvirt /var/lib/libvirt
mount --bind ${this.folder}/cache /var/cache/libvirt
mkdir -p /var/lib/virtio9p
mount --bind ${this.folder}/records /var/lib/virtio9p
hostname kvm${this.number}
ip link set lo up
until ip link show eth0 >/dev/null 2>&1; do sleep 0.1; done
ip addr add ${this.address}/30 dev eth0
ip link set eth0 up
libvirtd -d
exec /usr/sbin/sshd -D -E ${this.folder}/log -f ${this.folder}/sshd_config
`;
  }

  /** Runs a script on it, past its SSH server. */
  run(script: string): Promise<string> {
    return output("nsenter", ["-t", this.#pid, "-a", "sh", "-c", script]);
  }

  /** Defines domains that are never started. */
  async define(names: readonly string[]): Promise<void> {
    const folder = join(this.folder, "srv/.domains");
    mkdirSync(folder);
    for (const name of names) writeFileSync(join(folder, name), domain(name));
    const commands = names.map((name) => `define /srv/.domains/${name}`).join("; ");
    await this.run(`virsh -q -c qemu:///system '${commands}'`);
    rmSync(folder, { recursive: true });
  }

  /** What its SSH server wrote. */
  get log(): string {
    try {
      return readFileSync(join(this.folder, "log"), "utf8");
    } catch {
      return ""; // not there before its first line
    }
  }

  /** Logins and commands so far. */
  get counts(): { readonly logins: number; readonly scripts: number } {
    // A login is logged by both halves of sshd.
    const logins = new Set(this.log.match(/^Accepted \S+ for \S+ from \S+ port \d+/gm)).size;
    return { logins, scripts: this.log.match(/^Starting session: command/gm)?.length ?? 0 };
  }

  /** From now on nothing that is sent there arrives, or it does again. */
  async reachable(is: boolean): Promise<void> {
    await output("ip", ["link", "set", this.#link, is ? "up" : "down"]);
  }

  async close(): Promise<void> {
    const child = this.#process;
    if (child && child.exitCode === null) {
      const closed = new Promise((resolve) => child.once("close", resolve));
      child.kill("SIGKILL");
      await closed;
    }
    await run("ip", ["link", "del", this.#link]);
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** Asks until the answer is not empty, for half a minute. */
async function eventually(ask: () => Promise<string>): Promise<string> {
  for (let left = 300; left > 0; left--) {
    const answer = await ask();
    if (answer !== "") return answer;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error("a simulated host did not start");
}

function domain(name: string): string {
  return `<domain type='qemu'><name>${name}</name><memory unit='MiB'>64</memory><vcpu>1</vcpu><os><type arch='x86_64' machine='q35'>hvm</type></os></domain>`;
}
