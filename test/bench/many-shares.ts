/**
 * Measures what one share and ten shares of one systemd guest cost, and a hundred on ten hosts (of domains that are off),
 * beside a `pulumi up` with nothing to do, the same done by hand, and Ansible, in one run. Prints markdown; the decision that
 * rests on it is docs/decisions/0009-waves.md.
 *
 *   npm run build && sudo node -r ./test/bench/with-typescript test/bench/many-shares.ts [SHARES [ROUNDS]]
 *
 * 10 shares, 1 round: some 6 minutes; 1 share, 5 rounds: 2 minutes, and only that one is measured. It makes the guest v9p-bench and /srv/v9p-bench-* and removes them.
 * ansible-playbook is measured too where it is on the PATH (pip install ansible-core); its playbook is many-shares.yml.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CountedShell } from "../e2e/support/counted-shell";
import { Guest } from "../e2e/support/lab";
import { output } from "../e2e/support/run";
import { SimulatedHost } from "../e2e/support/simulated-host";
import { freePort, makeKey } from "../e2e/support/ssh-server";
import { Stack } from "../e2e/support/stack";
import { type ConnectionArgs, letInto } from "../e2e/support/via";

const many = Number(process.argv[2] ?? 10);
const rounds = Number(process.argv[3] ?? 1);
const base = "/srv/v9p-bench";
const guest = new Guest("bench", "systemd");
const stack = new Stack();
const shell = new CountedShell();
const hasAnsible = spawnSync("ansible-playbook", ["--version"]).status === 0;

const shares = (count: number): Record<string, object> =>
  Object.fromEntries(
    Array.from({ length: count }, (_, index) => [
      `s${index}`,
      { source: `${base}-${index}`, domain: guest.domain, guest: { mountPoint: `/mnt/s${index}` } },
    ]),
  );

interface Measured {
  readonly seconds: number[];
  readonly scripts: number[];
}

const measured = new Map<string, Measured>();

async function time(name: string, work: () => Promise<unknown>): Promise<void> {
  shell.reset();
  const began = performance.now();
  await work();
  const { seconds, scripts } = measured.get(name) ?? { seconds: [], scripts: [] };
  measured.set(name, {
    seconds: [...seconds, (performance.now() - began) / 1000],
    scripts: [...scripts, shell.count()],
  });
}

const median = (values: readonly number[]): number =>
  [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;

/** `pulumi COMMAND`, with what it sends to the machines counted. */
const pulumi = (command: string, ...args: string[]): Promise<unknown> =>
  stack.must(command, args, { path: shell.folder });

async function life(count: number, parallel: string, ...args: string[]): Promise<void> {
  const name = (what: string): string => `${count === 1 ? "1 share" : `${count} shares`}${parallel}: ${what}`;
  stack.declare(shares(count));
  await time(name("create"), () => pulumi("up", ...args));
  await time(name("nothing to do"), () => pulumi("up", ...args));
  await time(name("refresh"), () => pulumi("refresh", "--expect-no-changes", ...args));
  stack.declare({});
  await time(name("destroy"), () => pulumi("up", ...args));
}

/** Ten shares on each of ten hosts; scripts are those of the host that got the most. */
async function fleet(): Promise<void> {
  const hosts = Array.from({ length: 10 }, (_, index) => new SimulatedHost(index));
  const folder = mkdtempSync(join(tmpdir(), "virtio9p-fleet-"));
  const own = new Stack();
  try {
    const { privateKey, publicKey } = await makeKey(folder, "key", ["-t", "ed25519"]);
    await own.open();
    const entries = await Promise.all(
      hosts.map(async (host) => {
        const connection = { host: host.address, privateKey, hostKey: await host.start(publicKey) };
        await host.define(Array.from({ length: 10 }, (_, index) => `web${index}`));
        return Array.from({ length: 10 }, (_, index) => [
          `kvm${host.number}-${index}`,
          { source: `/srv/share${index}`, domain: `web${index}`, tag: "data", host: { connection } },
        ]);
      }),
    );
    for (const parallel of [["--parallel", "128"], []]) {
      const up = async (what: string, declared: Record<string, object>): Promise<void> => {
        own.declare(declared);
        const before = hosts.map(({ counts }) => counts.scripts);
        const name = `100 shares on 10 hosts${parallel.length > 0 ? "" : ", Pulumi's own parallelism"}: ${what}`;
        await time(name, () => own.must("up", parallel));
        const scripts = hosts.map(({ counts }, index) => counts.scripts - (before[index] ?? 0));
        measured.get(name)?.scripts.splice(-1, 1, Math.max(...scripts));
      };
      const shares = Object.fromEntries(entries.flat()) as Record<string, object>;
      await up("create", shares);
      await up("nothing to do", shares);
      await up("destroy", {});
    }
  } finally {
    await Promise.all(hosts.map((host) => host.close()));
    own.close();
    rmSync(folder, { recursive: true });
  }
}

/** The same layers by hand: one script on the host, and one in the guest. Nothing is kept of what was there. */
async function byHand(count: number): Promise<void> {
  const all = Object.entries(shares(count)) as [string, { source: string; guest: { mountPoint: string } }][];
  const device = (tag: string, source: string): string =>
    `<filesystem type='mount' accessmode='mapped'><source dir='${source}'/><target dir='${tag}'/></filesystem>`;
  const onHost = all.map(
    ([tag, { source }]) => `mkdir -p ${source}; chown -R 64055:64055 ${source}
echo "${device(tag, source)}" | virsh -q -c qemu:///system attach-device ${guest.domain} /dev/stdin --config`,
  );
  const line = (tag: string, { guest: { mountPoint } }: { guest: { mountPoint: string } }): string =>
    `${tag} ${mountPoint} 9p trans=virtio,version=9p2000.L,_netdev,nofail 0 0`;
  const inGuest = all.map(([tag, share]) => `echo '${line(tag, share)}' >> /etc/fstab`);
  await time(`${count === 1 ? "1 share" : `${count} shares`} by hand`, async () => {
    await output("sh", ["-ec", onHost.join("\n")]);
    await guest.sh(
      [
        "printf '9pnet_virtio\\n9p\\n' > /etc/modules-load.d/hand.conf",
        ...inGuest,
        "systemctl daemon-reload",
      ].join("\n"),
    );
  });
  const back = all.map(
    ([tag, { source }]) =>
      `echo "${device(tag, source)}" | virsh -q -c qemu:///system detach-device ${guest.domain} /dev/stdin --config; rmdir ${source}`,
  );
  await output("sh", ["-ec", back.join("\n")]);
  await guest.sh("rm /etc/modules-load.d/hand.conf; sed -i '/^s[0-9]/d' /etc/fstab; systemctl daemon-reload");
}

/** Ansible's modules are Python, which the guest has not: it gets this machine's, for both are of one Debian. */
async function bringPython(door: ConnectionArgs, ssh: string): Promise<void> {
  const script = `set -e
python=$(readlink -f /usr/bin/python3)
libraries=$(ldd "$python" | sed -n 's/.* => \\(\\/[^ ]*\\).*/\\1/p' | xargs readlink -f; ldd "$python" | sed -n 's/.* => \\(\\/[^ ]*\\).*/\\1/p')
tar -C / --exclude=test --exclude=__pycache__ --exclude=dist-packages --exclude='config-3*' --exclude=ensurepip --exclude=idlelib \
  -czhf - "usr/bin/python3" "usr/lib/$(basename "$python")" $(printf '%s\n' $libraries | grep -E 'expat|libz' | sed 's|^/||') |
  ${ssh} -p ${door.port} ${door.user}@${door.host} 'sudo tar -xzf - -C / --keep-directory-symlink && python3 -c "import json, zipfile, platform"'`;
  await output("sh", ["-ec", script], { timeoutMs: 900_000 });
}

/** The same layers by Ansible, over SSH into the guest. Nothing is kept of what was there. */
async function byAnsible(count: number, door: ConnectionArgs): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "virtio9p-ansible-"));
  try {
    writeFileSync(join(folder, "key"), door.privateKey, { mode: 0o600 });
    writeFileSync(join(folder, "known_hosts"), `[${door.host}]:${door.port} ${door.hostKey}\n`);
    const knownHosts = `-o UserKnownHostsFile=${join(folder, "known_hosts")}`;
    await bringPython(door, `ssh -i ${join(folder, "key")} ${knownHosts}`);
    const names = Array.from({ length: count }, (_, index) => `s${index}`);
    const inventory = {
      all: {
        hosts: {
          kvm: { ansible_connection: "local", ansible_python_interpreter: "/usr/bin/python3" },
          guest: {
            ansible_host: door.host,
            ansible_port: door.port,
            ansible_user: door.user,
            ansible_ssh_private_key_file: join(folder, "key"),
            ansible_ssh_common_args: knownHosts,
            ansible_python_interpreter: "/usr/bin/python3",
          },
        },
        vars: { base, names, domain: guest.domain, ansible_pipelining: true },
      },
    };
    writeFileSync(join(folder, "inventory.json"), JSON.stringify(inventory));
    const play = (wanted: string): Promise<string> =>
      output(
        "ansible-playbook",
        ["-i", join(folder, "inventory.json"), "-e", `wanted=${wanted}`, join(__dirname, "many-shares.yml")],
        { env: { ...process.env, LC_ALL: "C.UTF-8" }, timeoutMs: 900_000 },
      );
    await time(`${count} shares by Ansible: create`, () => play("present"));
    await time(`${count} shares by Ansible: nothing to do`, () => play("present"));
    await play("absent");
  } finally {
    rmSync(folder, { recursive: true });
  }
}

async function main(): Promise<void> {
  const port = await freePort();
  await Promise.all([stack.open(), guest.define("--ssh", String(port)).then(() => guest.bootDefined())]);
  const door = hasAnsible ? await letInto(port, (script) => guest.sh(script)) : undefined;
  try {
    await stack.must("up");
    for (let round = 0; round < rounds; round += 1) {
      await byHand(1);
      await life(1, "");
      if (many === 1) continue;
      await byHand(many);
      await life(many, "", "--parallel", "64");
      await life(many, ", Pulumi's own parallelism");
      if (door) await byAnsible(many, door);
      await fleet();
    }
    const took = (name: string): number => median(measured.get(name)?.seconds ?? []);
    const idleOf = (name: string): number => took(`${name}: nothing to do`);
    console.log("| what | scripts | seconds | times an up with nothing to do |\n|---|---|---|---|");
    for (const [name, { seconds, scripts }] of measured) {
      const of = name.startsWith("1 share") ? "1 share" : `${many} shares`;
      const idle = idleOf(name.startsWith("100 shares on 10 hosts") ? "100 shares on 10 hosts" : of);
      const all = median(seconds);
      console.log(`| ${name} | ${median(scripts) || ""} | ${all.toFixed(1)} | ${(all / idle).toFixed(1)} |`);
    }
    const raw = took("1 share by hand") + idleOf("1 share");
    console.log(
      `\n1 share: create takes ${(took("1 share: create") / raw).toFixed(2)} times what it takes by hand and by an up with nothing to do.`,
    );
  } finally {
    stack.declare({});
    await stack.pulumi("up");
    await guest.remove();
    stack.close();
    shell.remove();
  }
}

void main();
