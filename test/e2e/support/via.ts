import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort, makeKey, SshServer, Users } from "./ssh-server";

/**
 * The way that a run of the tests takes to the machines, by VIRTIO9P_VIA: the same tests for all.
 *
 * `local`, the default: the host is this machine, and the guest is reached through its agent. `host`: the host
 * over SSH, as a user with sudo. `guest`: the guest over SSH, as a user with sudo, or as root where it has no other.
 * `both`.
 */
export const via = (process.env["VIRTIO9P_VIA"] ?? "local") as "local" | "host" | "guest" | "both";

export const hostBySsh = via === "host" || via === "both";
export const guestBySsh = via === "guest" || via === "both";

/** Connection arguments as a program would have them. */
export interface ConnectionArgs {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly privateKey: string;
  readonly hostKey: string;
}

/**
 * This machine as a host over SSH: an OpenSSH server, and a user who may become root without a password.
 *
 * What stands before `sh` on the PATH of a provider elsewhere (a counted shell) stands here before the shell
 * that sudo starts: {@link interpose}.
 */
export class SshHost {
  readonly server = new SshServer();
  readonly users = new Users();
  readonly user = `v9p-u${process.pid}`;
  readonly #folder = mkdtempSync(join(tmpdir(), "virtio9p-via-"));
  #args: ConnectionArgs | undefined;
  #publicKey = "";

  /** How to get there, once it was opened. */
  get connection(): ConnectionArgs | undefined {
    return this.#args;
  }

  /** `more` are lines of sshd_config. */
  async open(more: readonly string[] = []): Promise<void> {
    chmodSync(this.#folder, 0o755);
    mkdirSync(join(this.#folder, "bin"));
    const current = join(this.#folder, "current");
    const sudo = `#!/bin/sh
if [ "$*" = '-n -- sh -s' ] && [ -s ${current} ]; then
  read -r folder < ${current}
  exec /usr/bin/sudo -n -- "$folder/sh" -s
fi
exec /usr/bin/sudo "$@"
`;
    writeFileSync(join(this.#folder, "bin/sudo"), sudo, { mode: 0o755 });
    const key = await makeKey(this.#folder, "key", ["-t", "ed25519"]);
    this.#publicKey = key.publicKey;
    await this.users.add(this.user, { sudo: "free" });
    await this.server.start([`SetEnv PATH=${this.#folder}/bin:/usr/local/bin:/usr/bin:/bin`, ...more]);
    this.letIn();
    this.#args = {
      host: "127.0.0.1",
      port: this.server.port,
      user: this.user,
      privateKey: key.privateKey,
      hostKey: this.server.hostKey(),
    };
  }

  /** Lets the user in with the key that {@link connection} has, and with no other. */
  letIn(): void {
    this.server.authorize(this.user, this.#publicKey);
  }

  /** From now on the shell in this folder is started for each script; undefined: the real one. */
  interpose(folder: string | undefined): void {
    writeFileSync(join(this.#folder, "current"), folder === undefined ? "" : `${folder}\n`);
  }

  async close(): Promise<void> {
    if (this.#args) await Promise.all([this.server.close(), this.users.close()]);
    if (existsSync(this.#folder)) rmSync(this.#folder, { recursive: true });
  }
}

/** The host of a run that goes there over SSH; every test file has its own. */
const sshHost = hostBySsh ? new SshHost() : undefined;
if (sshHost) {
  beforeAll(() => sshHost.open());
  afterAll(() => sshHost.close());
}

/** Puts a shell before the one that runs scripts on the host, where that is not started by the provider itself. */
export function interpose(folder: string | undefined): void {
  sshHost?.interpose(folder);
}

/** What an error or a log calls the host. */
export function hostName(): string {
  const connection = sshHost?.connection;
  return connection ? `${connection.user}@${connection.host}:${connection.port}` : "this machine";
}

/** What an error or a log calls a guest. */
export function guestName(domain: string): string {
  const args = guests.get(domain);
  return args ? `guest ${domain} (${args.user}@${args.host}:${args.port})` : `guest ${domain}`;
}

/** Guests with an SSH server, by their domain: who may log in there. */
const guests = new Map<string, ConnectionArgs>();

/** The options of `lab define` for a guest that is to be reached over SSH. */
export async function guestOptions(domain: string, kind: string): Promise<string[]> {
  if (!guestBySsh || kind === "cloud") return [];
  const port = await freePort();
  const user = kind === "systemd" ? "admin" : "root";
  guests.set(domain, { host: "127.0.0.1", port, user, privateKey: "", hostKey: "" });
  return ["--ssh", String(port)];
}

/** Whether this run reaches the guest of a domain over SSH. */
export function isReachedBySsh(domain: string): boolean {
  return guests.has(domain);
}

/** Lets us into a guest that has just booted for the first time; `sh` runs a script in it. */
export async function letIn(domain: string, sh: (script: string) => Promise<string>): Promise<void> {
  const args = guests.get(domain);
  if (args) guests.set(domain, await letInto(args.port, sh, args.user));
}

/** How to get into a guest whose server this port of the host leads to: as a user with sudo, or as root where there is no other. */
export async function letInto(
  port: number,
  sh: (script: string) => Promise<string>,
  user = "admin",
): Promise<ConnectionArgs> {
  const folder = mkdtempSync(join(tmpdir(), "virtio9p-guest-key-"));
  try {
    const { privateKey, publicKey } = await makeKey(folder, "key", ["-t", "ed25519"]);
    const shown = await sh(`home=$(awk -F: -v user=${user} '$1 == user { print $6 }' /etc/passwd)
mkdir -p -m 700 "$home/.ssh"
printf '%s\\n' '${publicKey}' > "$home/.ssh/authorized_keys"
chown -R ${user} "$home/.ssh"
if [ -e /etc/dropbear ]; then dropbearkey -y -f /etc/dropbear/dropbear_ed25519_host_key
else cat /etc/ssh/ssh_host_ed25519_key.pub; fi`);
    const hostKey = /^ssh-ed25519 \S+/m.exec(shown)?.[0] ?? "";
    return { host: "127.0.0.1", port, user, privateKey, hostKey };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** The arguments of a share, with the connections of this run. */
export function withWays(share: object): object {
  const args = share as { readonly domain?: string; readonly host?: object; readonly guest?: object };
  const guest = guests.get(args.domain ?? "");
  const host = sshHost?.connection;
  return {
    ...args,
    ...(host ? { host: { connection: host, ...args.host } } : {}),
    // By both, the guest is reached by way of the host.
    ...(args.guest && guest
      ? { guest: { connection: via === "both" ? { ...guest, proxy: host } : guest, ...args.guest } }
      : {}),
  };
}
