import { resolve } from "node:path";
import { output } from "./run";
import { guestOptions, isReachedBySsh, letIn } from "./via";

/** The checkout that is tested. */
export const root = resolve(__dirname, "../../..");

/** One command of the lab; what it prints on standard output. */
export function lab(...args: readonly string[]): Promise<string> {
  return output(`${root}/test/lab/lab`, args);
}

/** A guest of the lab, and what a person would look at in it and in its domain. */
export class Guest {
  readonly domain: string;

  constructor(
    readonly name: string,
    readonly kind: "systemd" | "small" | "cloud",
  ) {
    this.domain = `v9p-${name}`;
  }

  /** A fresh one, off; where it is to be reached over SSH, it has been up once, for us to be let in. */
  async define(...options: readonly string[]): Promise<void> {
    await this.#define(options);
    if (!isReachedBySsh(this.domain) || options.length > 0) return;
    await this.bootDefined();
    await letIn(this.domain, (script) => this.sh(script));
    await this.shutDown();
  }

  async #define(options: readonly string[]): Promise<void> {
    await lab("define", this.domain, this.kind, ...(await guestOptions(this.domain, this.kind)), ...options);
  }

  /** A fresh one, with its agent answering. */
  async boot(): Promise<void> {
    await this.#define([]);
    await this.bootDefined();
    await letIn(this.domain, (script) => this.sh(script));
  }

  /** Starts it as it is defined now, and waits for its agent. */
  async bootDefined(): Promise<void> {
    await lab("boot", this.domain);
  }

  /** Waits until no power job is at work and the agent answers; starts the domain if it is off. */
  async settle(): Promise<void> {
    const uuid = (await this.virsh("domuuid")).trim();
    const lock = `/var/lib/virtio9p/domains/${uuid}/power/lock`;
    await output("sh", ["-c", '[ ! -e "$1" ] || flock -w 300 "$1" true', "sh", lock]);
    await this.bootDefined();
  }

  /** Waits until a power job tells it to shut down. */
  async shutdownBegins(): Promise<void> {
    const uuid = (await this.virsh("domuuid")).trim();
    await output("sh", [
      "-c",
      'for i in $(seq 1200); do if grep -q shuttingDown "$1" 2>/dev/null; then exit 0; fi; sleep 0.05; done; exit 1',
      "sh",
      `/var/lib/virtio9p/domains/${uuid}/power/log`,
    ]);
  }

  /** From now on the guest obeys no shutdown. */
  async ignoreShutdown(): Promise<void> {
    await this.sh(
      "printf '#!/bin/sh\\nexit 0\\n' > /sbin/shutdown.new && mv /sbin/shutdown.new /sbin/shutdown && chmod +x /sbin/shutdown",
    );
  }

  /** Shuts it down, and waits until it is off. */
  async shutDown(): Promise<void> {
    await this.virsh("shutdown");
    await output("sh", [
      "-c",
      `for i in $(seq 240); do [ "$(virsh -q -c qemu:///system domstate "$1")" = 'shut off' ] && exit; sleep 0.5; done; exit 1`,
      "sh",
      this.domain,
    ]);
  }

  /** Attaches a device, by its XML. */
  async attach(xml: string, where: "--config" | "--live"): Promise<void> {
    await output("sh", [
      "-c",
      'printf %s "$1" | virsh -q -c qemu:///system attach-device "$2" /dev/stdin "$3"',
      "sh",
      xml,
      this.domain,
      where,
    ]);
  }

  async remove(): Promise<void> {
    await lab("remove", this.domain);
  }

  /** Runs a script in the guest, as root. */
  sh(script: string): Promise<string> {
    return output(`${root}/test/lab/lab`, ["exec", this.domain], { input: script });
  }

  state(): Promise<string> {
    return this.virsh("domstate").then((text) => text.trim());
  }

  virsh(command: string, ...args: readonly string[]): Promise<string> {
    return output("virsh", ["-q", "-c", "qemu:///system", command, this.domain, ...args]);
  }

  /**
   * The persistent definition, but for the controllers that libvirt adds with a device and keeps
   * (facts of libvirt on q35).
   */
  async definition(): Promise<string> {
    const xml = await this.virsh("dumpxml", "--inactive");
    return xml
      .replace(/^\s*<controller type='pci'[^]*?<\/controller>\n/gm, "")
      .replace(/^\s*<controller type='pci'[^>]*\/>\n/gm, "");
  }

  /** All that a share may touch in the guest, byte for byte. */
  touched(): Promise<string> {
    return this
      .sh(`cat /etc/fstab; echo .; ls -lA /etc/modules-load.d; cat /etc/modules-load.d/* 2>/dev/null; ls -lAn /mnt | grep -v ^total
grep ' 9p ' /proc/self/mountinfo; ls -A /etc | grep virtio9p; :`);
  }
}

/** Owner, mode, attributes and content of a host directory, or that it is not there. */
export function directory(path: string): Promise<string> {
  return output("sh", [
    "-c",
    'if [ -e "$1" ]; then stat -c "%F %u:%g %a" -- "$1"; getfattr -h -d -m - -e hex --absolute-names -- "$1"; find "$1" -mindepth 1 -printf "%P %U:%G %m\n" | sort; else echo missing; fi',
    "sh",
    path,
  ]);
}

/** Records that the host keeps of something: a directory's path, a domain's UUID. */
export async function records(of: string): Promise<string[]> {
  const found = await output("sh", [
    "-c",
    'find /var/lib/virtio9p -name "*.json" -exec grep -lF -e "$1" {} + 2>/dev/null | sort; :',
    "sh",
    of,
  ]);
  return found.split("\n").filter((line) => line !== "");
}
