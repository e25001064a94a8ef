import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { output, run } from "./run";

/**
 * A network of its own for the engine and its providers, from which this machine is reached at one address, and
 * nothing else of it: not its loopback, where the ports of its guests are.
 */
export class FarNetwork {
  /** Four addresses for each process: what another one left must not be taken for this one's. */
  readonly #addresses = process.pid % 0x4000;
  /** This machine, as it is seen from there. */
  readonly address = this.#at(1);
  readonly #name = `v9p-far-${process.pid}`;
  readonly #link = `v9pf${process.pid}`.slice(0, 15);
  readonly #folder = mkdtempSync(join(tmpdir(), "virtio9p-far-"));

  #at(end: number): string {
    return `10.198.${this.#addresses >> 6}.${(this.#addresses & 63) * 4 + end}`;
  }

  async open(): Promise<void> {
    await output("ip", ["netns", "add", this.#name]);
    const there = ["-n", this.#name];
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
      this.#name,
    ]);
    await output("ip", ["addr", "add", `${this.address}/30`, "dev", this.#link]);
    await output("ip", ["link", "set", this.#link, "up"]);
    await output("ip", [...there, "addr", "add", `${this.#at(2)}/30`, "dev", "eth0"]);
    await output("ip", [...there, "link", "set", "eth0", "up"]);
    await output("ip", [...there, "link", "set", "lo", "up"]);
  }

  /** A folder for PATH, with a `pulumi` that runs there: the one that is next on the PATH. */
  get path(): string {
    const text = `#!/bin/sh
PATH=\${PATH#*:}
exec ip netns exec ${this.#name} pulumi "$@"
`;
    writeFileSync(join(this.#folder, "pulumi"), text, { mode: 0o755 });
    return this.#folder;
  }

  async close(): Promise<void> {
    await run("ip", ["netns", "del", this.#name]);
    await run("ip", ["link", "del", this.#link]);
    rmSync(this.#folder, { recursive: true });
  }
}
