import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Connection } from "../../../provider/remote/ssh/connection";
import { output, run } from "./run";

/** The kinds of host keys that each server has. */
export const hostKeyKinds = ["ed25519", "ecdsa", "rsa"] as const;

/** A free port of the loopback. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.on("error", reject);
    probe.listen(0, "127.0.0.1", () => {
      const { port } = probe.address() as { port: number };
      probe.close(() => {
        resolve(port);
      });
    });
  });
}

/** A new key pair; `options` are ssh-keygen's. Gives the private key's text and the public one's line. */
export async function makeKey(
  folder: string,
  name: string,
  options: readonly string[],
  password = "",
): Promise<{ privateKey: string; publicKey: string }> {
  const file = join(folder, name);
  await output("ssh-keygen", ["-q", "-N", password, "-C", name, "-f", file, ...options]);
  return { privateKey: readFileSync(file, "utf8"), publicKey: readFileSync(`${file}.pub`, "utf8").trim() };
}

/**
 * A real OpenSSH server on the loopback, with a configuration, keys and a log of its own.
 *
 * Who may log in is in {@link authorize}; the users are the machine's own.
 */
export class SshServer {
  readonly folder = mkdtempSync(join(tmpdir(), "virtio9p-sshd-"));
  #port = 0;
  #process: ChildProcess | undefined;

  /** `more` are lines of sshd_config; they go first, for sshd takes the first of each. */
  async start(more: readonly string[] = [], port?: number): Promise<void> {
    this.#port = port ?? (await freePort());
    mkdirSync("/run/sshd", { recursive: true, mode: 0o755 });
    mkdirSync(join(this.folder, "authorized"), { recursive: true });
    // sshd looks at it as the user who logs in.
    await output("chmod", ["755", this.folder, join(this.folder, "authorized")]);
    for (const kind of hostKeyKinds) {
      const file = join(this.folder, `host_${kind}`);
      await run("ssh-keygen", ["-q", "-t", kind, "-N", "", "-C", "", "-f", file], { input: "n\n" });
    }
    const lines = [
      ...more,
      `Port ${this.#port}`,
      "ListenAddress 127.0.0.1",
      ...hostKeyKinds.map((kind) => `HostKey ${this.folder}/host_${kind}`),
      `AuthorizedKeysFile ${this.folder}/authorized/%u`,
      "PidFile none",
      "UsePAM no",
      "StrictModes no",
      "LogLevel DEBUG1",
    ];
    writeFileSync(join(this.folder, "sshd_config"), `${lines.join("\n")}\n`);
    await this.resume();
  }

  /** Starts it as it is configured, and waits until it listens, a minute at most: other tests may be busy beside it. */
  async resume(): Promise<void> {
    const log = join(this.folder, "log");
    const config = join(this.folder, "sshd_config");
    const child = spawn("/usr/sbin/sshd", ["-D", "-E", log, "-f", config], { stdio: "ignore" });
    this.#process = child;
    const listens = `Server listening on 127.0.0.1 port ${this.#port}.`;
    for (let left = 1200; !this.log.includes(listens) || child.exitCode !== null; left--) {
      if (left === 0 || child.exitCode !== null)
        throw new Error(`sshd did not start (${child.exitCode ?? "no exit"}):\n${this.log}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  /** Takes no new connections; those that there are go on. */
  async stop(): Promise<void> {
    const child = this.#process;
    this.#process = undefined;
    if (!child || child.exitCode !== null) return;
    await new Promise((resolve) => {
      child.once("close", resolve);
      child.kill("SIGTERM");
    });
  }

  /** Lets a user of the machine in with these public keys. */
  authorize(user: string, ...publicKeys: readonly string[]): void {
    const file = join(this.folder, "authorized", user);
    writeFileSync(file, `${publicKeys.join("\n")}\n`, { mode: 0o644 });
  }

  /** Its own public key. */
  hostKey(kind: (typeof hostKeyKinds)[number] = "ed25519"): string {
    return readFileSync(join(this.folder, `host_${kind}.pub`), "utf8").trim();
  }

  /** What it wrote so far, at DEBUG1. */
  get log(): string {
    try {
      return readFileSync(join(this.folder, "log"), "utf8");
    } catch {
      return ""; // not there before its first line
    }
  }

  /** How often somebody was let in. */
  get logins(): number {
    return new Set(this.log.match(/^Accepted \S+ for \S+ from \S+ port \d+/gm)).size;
  }

  /** How to get there, but for credentials; every default filled in. */
  connection(user: string, more: Partial<Connection> = {}): Connection {
    return {
      host: "127.0.0.1",
      port: this.#port,
      user,
      hostKey: this.hostKey(),
      // Not the agent of whoever runs the tests.
      agentSocketPath: "",
      dialErrorLimit: 0,
      perDialTimeout: 10,
      ...more,
    };
  }

  get port(): number {
    return this.#port;
  }

  async close(): Promise<void> {
    await this.stop();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** Users of this machine that exist while the tests run. */
export class Users {
  readonly #made: string[] = [];

  /** `sudo`: without a password, with one (so that `sudo -n` is refused), or not at all. */
  async add(
    name: string,
    options: { sudo?: "free" | "asks"; password?: string; shell?: string } = {},
  ): Promise<void> {
    await this.#remove(name);
    const hash =
      options.password === undefined
        ? "*"
        : (await output("openssl", ["passwd", "-6", "-stdin"], { input: options.password })).trim();
    await output("useradd", ["-m", "-p", hash, "-s", options.shell ?? "/bin/bash", name]);
    this.#made.push(name);
    const rule = { free: "NOPASSWD: ALL", asks: "ALL" }[options.sudo ?? "free"];
    if (options.sudo !== undefined) {
      writeFileSync(`/etc/sudoers.d/${name}`, `${name} ALL=(root) ${rule}\n`, { mode: 0o440 });
    }
  }

  async close(): Promise<void> {
    for (const name of this.#made.splice(0)) await this.#remove(name);
  }

  async #remove(name: string): Promise<void> {
    rmSync(`/etc/sudoers.d/${name}`, { force: true });
    await run("pkill", ["-KILL", "-u", name]);
    await run("userdel", ["-r", name]);
  }
}
