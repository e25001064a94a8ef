import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { once } from "node:events";

/**
 * Real mounts (FUSE) with nobody behind them, for half a minute at most: one that lets in its user alone, as a user's own
 * sshfs does, so that not even root may ask for its status; and one that never answers, as a dead NFS server.
 */
export class ClosedMounts {
  readonly #mounted: string[] = [];
  readonly #holders: ChildProcess[] = [];

  /** Why there can be none here; undefined: there can. */
  static get missing(): string | undefined {
    return existsSync("/dev/fuse") ? undefined : "this kernel has no FUSE";
  }

  ofUser(directory: string, uid = 65534): Promise<void> {
    return this.#mount(directory, `user_id=${uid},group_id=${uid}`);
  }

  dead(directory: string): Promise<void> {
    return this.#mount(directory, "user_id=0,group_id=0,allow_other");
  }

  release(): void {
    for (const one of this.#mounted.splice(0)) execFileSync("umount", ["-l", one]);
    for (const one of this.#holders.splice(0)) one.kill();
  }

  async #mount(directory: string, options: string): Promise<void> {
    const script = `exec 9<>/dev/fuse; mount -i -t fuse -o fd=9,rootmode=40000,${options} nobody "$1"; echo mounted; exec sleep 30`;
    const holder = spawn("bash", ["-ec", script, "bash", directory], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    this.#holders.push(holder);
    await once(holder.stdout, "data");
    this.#mounted.push(directory);
  }
}
