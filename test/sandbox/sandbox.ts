import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { execFileSync } from "node:child_process";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ShareError } from "../../provider/errors";
import { type Device9p, formatDevice9p } from "../../provider/formats/domain-xml";
import { domainReader, readDomainsAnew } from "../../provider/layers/shared/domain";
import { guestClosing, guestPrelude } from "../../provider/layers/shared/guest";
import type { AnyLayer } from "../../provider/engine/layer";
import { lines, type Script, sh } from "../../provider/remote/shell/sh";
import type { Machines } from "../../provider/share/observe";
import type { Request } from "../../provider/share/plans";
import { gathering } from "../../provider/engine/batcher";
import { type Outcome, reconcile } from "../../provider/share/reconcile";
import type { ShareSpec } from "../../provider/spec/spec";
import { localTransport } from "../../provider/remote/local";
import type { Transport } from "../../provider/remote/transport";
import { specOf, uuid } from "../unit/sample";

// The calls of a test come at once.
gathering.ms = 2;

const unanswered = new ShareError({
  code: "guestUnreachable",
  layer: "guest",
  machine: "guest web1",
  what: "the guest agent does not answer",
});

/**
 * A host and a guest in one temporary directory: the engine's own scripts run in a real shell on real
 * files, only `vsh` and the guest's mount(8) and modprobe(8) are shell functions that keep their state
 * in files, and the guest's system paths lie below that directory.
 */
export class Sandbox {
  readonly warnings: string[] = [];
  readonly steps: string[] = [];
  /** The next script that has this step, on the host or in the guest, is killed before it, once. */
  killBefore:
    { readonly place: "host" | "guest"; readonly step: number; readonly write?: number } | undefined;
  /** Looks whose description this matches end with an error. */
  failing: RegExp | undefined;
  #silentAt: readonly number[] = [];
  #guestScripts = 0;

  /** What was asked of libvirt and of the guest since the beginning, but for questions. */
  readonly #log: string;

  constructor(readonly folder = mkdtempSync(join(tmpdir(), "virtio9p-sandbox-"))) {
    chmodSync(this.folder, 0o755);
    for (const name of ["records", "persistent", "live", "srv", "guest/etc", "guest/mnt", "guest/sysfs"]) {
      mkdirSync(this.path(name), { recursive: true });
    }
    writeFileSync(this.path("state"), "running\n");
    writeFileSync(this.path("guest/mountinfo"), "1 0 8:1 / / rw - ext4 /dev/vda1 rw\n");
    writeFileSync(this.path("guest/etc/fstab"), "# the guest's own\nUUID=1 / ext4 defaults 0 1\n");
    writeFileSync(this.path("guest/filesystems"), "nodev\t9p\n");
    this.#log = this.path("log");
    writeFileSync(this.#log, "");
  }

  remove(): void {
    rmSync(this.folder, { recursive: true });
  }

  path(...names: string[]): string {
    return join(this.folder, ...names);
  }

  read(name: string): string {
    return readFileSync(this.path(name), "utf8");
  }

  write(name: string, text: string): void {
    writeFileSync(this.path(name), text);
  }

  has(name: string): boolean {
    return existsSync(this.path(name));
  }

  get log(): string[] {
    return readFileSync(this.#log, "utf8").split("\n").slice(0, -1);
  }

  /** Declares a device, as somebody else would. */
  declare(device: Device9p, where: "persistent" | "live" = "persistent"): void {
    writeFileSync(this.path(where, device.tag), `${formatDevice9p(device)}\n`);
  }

  /** What a power cycle by somebody else does. */
  powerCycle(): void {
    execFileSync(
      "sh",
      [
        "-c",
        sh`rm -f ${this.path("live")}/*; cp ${this.path("persistent")}/* ${this.path("live")}/ || :`.text,
      ],
      {
        stdio: "ignore",
      },
    );
    writeFileSync(this.path("guest/mountinfo"), "1 0 8:1 / / rw - ext4 /dev/vda1 rw\n");
  }

  /** All that a share may change, in a form that compares. */
  snapshot(): unknown {
    const entries = readdirSync(this.path("srv")).map((name) => {
      const { uid, gid, mode, ino } = statSync(this.path("srv", name));
      const attributes = execFileSync("getfattr", ["-h", "-d", "-m", "user", "-e", "hex", "--", name], {
        cwd: this.path("srv"),
        encoding: "utf8",
      });
      return { name, uid, gid, mode, ino, attributes };
    });
    return {
      entries,
      persistent: readdirSync(this.path("persistent")).map((tag) => [tag, this.read(`persistent/${tag}`)]),
      fstab: this.has("guest/etc/fstab") ? this.read("guest/etc/fstab") : undefined,
      boot: this.has("guest/etc/modules-load.d/virtio9p.conf"),
      mountinfo: this.read("guest/mountinfo"),
      mountPoints: readdirSync(this.path("guest/mnt")),
      records: readdirSync(this.path("records"), { recursive: true })
        .map(String)
        .filter((name) => name.endsWith(".json")),
    };
  }

  /** A spec whose directory and mount point lie in the sandbox. */
  spec(args: Record<string, unknown> = {}, name = "a"): ShareSpec {
    return specOf({ source: this.path("srv", name), selinux: { manage: "never" }, ...args });
  }

  run(request: Partial<Request>, all?: readonly AnyLayer[]): Promise<Outcome> {
    const full: Request = { spec: undefined, olds: [], baseline: {}, ...request };
    const teller = {
      step: (does: string) => this.steps.push(does),
      warn: (text: string) => this.warnings.push(text),
    };
    return reconcile(this.machines(), full, teller, all);
  }

  machines(): Machines {
    const host = localTransport("none");
    const lock = sh`exec 9>>${this.path("lock")}; flock -w 5 9`;
    return {
      key: this.folder,
      knownUuid: uuid,
      guestBy: "agent",
      guestReady: () => Promise.resolve(),
      unverified: [],
      host: {
        place: "host",
        key: this.folder,
        scope: { key: "", enter: sh`namesake='' domain=${uuid} recorded=${uuid}`, beforeWrite: sh`:` },
        most: Infinity,
        transport: {
          machine: host.machine,
          run: (script, limits) => host.run(this.#killed("host", script), limits),
        },
        idleMs: 20_000,
        prelude: sh`${this.#libvirt()}
${domainReader}
records=${this.path("records")} listed=0 listing=${`${uuid} web1`}`,
        closing: { does: "read domains anew", run: readDomainsAnew },
        lock,
        programs: ["flock", "sha256sum"],
      },
      guest: () => ({
        place: "guest",
        key: `${this.folder} guest`,
        scope: { key: "", enter: sh`:`, beforeWrite: sh`:` },
        most: 10,
        transport: this.#guestTransport(host),
        idleMs: 20_000,
        prelude: lines([guestPrelude, this.#guestTools()]),
        lock,
        closing: guestClosing,
        programs: ["sha256sum"],
      }),
    };
  }

  /** Of the guest's scripts from here on those of these numbers, from 1 on, are not answered. */
  silence(at: readonly number[]): void {
    this.#guestScripts = 0;
    this.#silentAt = at;
  }

  #guestTransport(host: Transport): Transport {
    const places = [
      ["/proc/self/mountinfo", "guest/mountinfo"],
      ["/proc/filesystems", "guest/filesystems"],
      ["/sys/bus/virtio/drivers/9pnet_virtio", "guest/sysfs"],
      ["/etc/fstab", "guest/etc/fstab"],
      ["/etc/modules-load.d", "guest/etc/modules-load.d"],
      ["/run/systemd/system", "guest/no-systemd"],
      ["/lib/modules/", "guest/no-modules/"],
    ] as const;
    return {
      machine: "guest web1",
      run: (script, limits) => {
        this.#guestScripts += 1;
        if (this.#silentAt.includes(this.#guestScripts)) return Promise.reject(unanswered);
        return host.run(
          // Not in the names of facts, which both sides compare.
          places.reduce(
            (text, [from, to]) => text.replaceAll(new RegExp(`(?<!file )${from}`, "g"), this.path(to)),
            this.#killed("guest", script),
          ),
          limits,
        );
      },
    };
  }

  #killed(place: "host" | "guest", text: string): string {
    const script = text.replace(/^# (.*)\nmark begin '?fact-\d+'?\n\( /gm, (found, does: string) =>
      this.failing?.test(does) === true ? `${found}echo 'it is broken' >&2; exit 7\n` : found,
    );
    const begin = `mark begin '0-step-${this.killBefore?.step ?? ""}'`;
    if (this.killBefore?.place !== place || !script.includes("mark begin '0-step-")) return script;
    const { write = 0 } = this.killBefore;
    if (write > 0) this.killBefore = { ...this.killBefore, write: write - 1 };
    if (write > 0 || !script.includes(begin)) return script;
    this.killBefore = undefined;
    return script.replace(begin, () => `kill -9 $$\n${begin}`);
  }

  /**
   * mount(8) by the line in fstab, with the options that the kernel would show; by `-t`, a remount among them. The device's
   * number, 0:1000050 and 4095737970, is none that this machine has: its own mounts, in the namespaces of other tests too,
   * are not the sandbox's.
   */
  #guestTools(): Script {
    return sh`log() { printf '%s\n' "$*" >> ${this.#log}; }
ids() { # The id of the next mount, and that of the one that it will lie on: the last of the longest above it.
  awk -v at="$1" '{ if ($1 > last) last = $1 } $5 == "/" || $5 == at || index(at, $5 "/") == 1 { if (length($5) >= length(point)) { point = $5; id = $1 } } END { print last + 1, id }' /proc/self/mountinfo
}
flagged() {
  case $1 in remount,*) log remount "$3";; *) log mount "$3"; echo "$(ids "$3") 0:1000050 / $3 rw - 9p $2 rw" >> /proc/self/mountinfo;; esac
  flags=$(echo "$1" | tr , '\n' | grep -E '^(ro|rw|nodev|nosuid|noexec|noatime|relatime)$' | paste -sd, -)
  awk -v at="$3" -v flags="$flags" '$5 == at { $6 = flags } { print }' /proc/self/mountinfo > ${this.path("mountinfo.new")}
  mv ${this.path("mountinfo.new")} /proc/self/mountinfo
}
modprobe() { log modprobe "$*"; }
# What is mounted is a directory of this file system; its numbers are the share's: two more than that of the host's inode.
stat() {
  case $* in ('-c %d .') echo 4095737970; return;; ('-c %i .') set -- "$@" "$PWD";; ('-c %i -- '*) ;; (*) command stat "$@"; return;; esac
  for at; do :; done
  tag=$(awk -v at="$at" '$5 == at && $8 == "9p" { tag = $9 } END { print tag }' /proc/self/mountinfo)
  if [ -n "$tag" ] && [ -e ${this.path("live")}/"$tag" ]; then
    at=$(sed -n "s/.*<source dir='\([^']*\)'.*/\1/p" ${this.path("live")}/"$tag")
    if [ -e ${this.path("other-root")} ]; then at=$(cat ${this.path("other-root")}); fi
    echo $(( $(command stat -c %i -- "$at") + 2 ))
  else command stat -c %i -- "$at"
  fi
}
mount() {
  if [ "$1" = -t ]; then flagged "$4" "$6" "$7"; return; fi
  log mount "$2"
  if [ -e ${this.path("refuse-mount")} ]; then echo 'mount: no such device' >&2; return 32; fi
  if ! [ -d "$2" ]; then echo "mount: $2: no such directory" >&2; return 32; fi
  awk -v at="$2" -v ids="$(ids "$2")" '$2 == at { n = split($4, o, ","); m = "rw"; s = "rw"
    for (i = 1; i <= n; i++) {
      if (o[i] ~ /^(nodev|nosuid|noexec|noatime)$/) m = m "," o[i]
      if (o[i] == "ro") sub(/rw/, "ro", m)
      if (o[i] ~ /^(trans|msize|cache|access)=/) s = s "," o[i]
    }
    if (m !~ /noatime/) m = m ",relatime"
    print ids " 0:1000050 / " at " " m " - 9p " $1 " " s }' /etc/fstab >> /proc/self/mountinfo
}
umount() {
  if awk -v at="$2" 'index($5, at "/") == 1 { found = 1 } END { exit !found }' /proc/self/mountinfo; then
    echo "umount: $2: target is busy" >&2; return 32
  fi
  log umount "$2"
  awk -v at="$2" '$5 != at' /proc/self/mountinfo > ${this.path("mountinfo.new")}
  mv ${this.path("mountinfo.new")} /proc/self/mountinfo
}`;
  }

  #libvirt(): Script {
    return sh`log() { printf '%s\n' "$*" >> ${this.#log}; }
power_state() { IFS= read -r __state < ${this.path("state")}; printf '%s\n' "$__state"; }
tag() { sed -n "s/.*<target dir='\([^']*\)'.*/\1/p"; }
xml() {
  printf '%s\n' "<domain type='kvm'$([ "$1" != live ] || echo " id='1'")>" '  <name>web1</name>' ${`  <uuid>${uuid}</uuid>`} '  <devices>'
  for __device in ${this.path()}/"$1"/*; do
    [ ! -e "$__device" ] || while IFS= read -r __line; do printf '    %s\n' "$__line"; done < "$__device"
  done
  if [ "$1" = live ]; then state=" state='connected'"; else state=; fi
  echo "    <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'$state/></channel>"
  printf '%s\n' '  </devices>' "  <seclabel type='static' model='dac'><label>+64055:+108</label></seclabel>" '</domain>'
}
vsh() {
  case "$1 $*" in
    list*) echo ${uuid};;
    *';'*) printf '%s\n' "$1" | tr ';' '\n' | while read -r one; do [ -z "$one" ] || vsh $one; done;;
    echo*) shift; printf %s "$*";;
    dominfo*) printf 'UUID: %s\nName: web1\nState: %s\nPersistent: yes\nManaged save: no\nCPU time: %ss\n' ${uuid} "$(power_state)" "$(date +%s.%N)";;
    domstate*) power_state;;
    domxml-to-native*) echo 'local,id=fsdev-fs0,path=/,readonly';;
    domjobinfo*) echo 'Job type: None';;
    capabilities*) echo '<capabilities><host/></capabilities>';;
    dumpxml*--inactive*) xml persistent;;
    dumpxml*) xml live;;
    attach-device*)
      text=$(cat "$3"); name=$(printf '%s\n' "$text" | tag); log attach "$name"
      if [ -e ${this.path("refuse-attach")} ]; then echo 'error: no more slots' >&2; return 1; fi
      printf '%s\n' "$text" > ${this.path("persistent")}/"$name";;
    detach-device*) name=$(tag < "$3"); log detach "$name"; rm ${this.path("persistent")}/"$name";;
    shutdown*) log shutdown; if [ -e ${this.path("refuse-shutdown")} ]; then return 0; fi; echo 'shut off' > ${this.path("state")};;
    destroy*) log destroy; echo 'shut off' > ${this.path("state")};;
    start*)
      log start
      if [ -e ${this.path("refuse-start")} ] && grep -qs . ${this.path("persistent")}/foobar; then echo 'error: cannot start' >&2; return 1; fi
      rm -f ${this.path("live")}/*; cp ${this.path("persistent")}/* ${this.path("live")}/ 2>/dev/null
      echo "1 0 8:1 / / rw - ext4 /dev/vda1 rw" > ${this.path("guest/mountinfo")}
      echo running > ${this.path("state")};;
    qemu-agent-command*) echo '{"return":{}}';;
    *) echo "the sandbox knows no virsh $*" >&2; return 1;;
  esac
}`;
  }
}
