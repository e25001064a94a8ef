import type { SeenBy } from "../engine/layer";
import { environment } from "../remote/shell/environment";
import { comment, type Script, sh } from "../remote/shell/sh";
import { type Device9p, liveOnlyDevices, sameDevice } from "../formats/domain-xml";
import type { ShareSpec } from "../spec/spec";
import { domainInfo, domainJob, liveDomain, persistentDomain } from "../layers/shared/domain";

/** What may be done to make a device appear or go; each includes the one before. */
export type Power = ShareSpec["power"];

/** Those that a power cycle clears. */
const deviceReasons = ["deviceNotLive", "deviceDiffersLive", "deviceStillLive"] as const;

/**
 * Why a running QEMU has not got what is declared, or a domain is off: the codes of `statusReason`. From `domainPaused`
 * on they say why no power cycle can be made even where it may. docs/outputs.md explains each.
 */
export const powerReasons = [
  ...deviceReasons,
  "domainOff",
  "domainPaused",
  "jobActive",
  "blockJob",
  "liveOnlyDevices",
  "onPoweroff",
  "managedSave",
] as const;
export type PowerReason = (typeof powerReasons)[number];

/** What the domain needs, within what may be done. */
export type PowerPlan =
  | { readonly kind: "none" }
  | { readonly kind: "start" | "restart" | "force"; readonly reason: PowerReason }
  | { readonly kind: "pending"; readonly reason: PowerReason; readonly says: string };

/** The facts that {@link planPower} rests on; the job is asked for where the domain may be restarted. */
export const powerFacts = {
  info: domainInfo,
  persistent: persistentDomain,
  live: liveDomain,
  job: domainJob,
};

export type PowerSeen = SeenBy<typeof powerFacts, never>;

/**
 * Whether the domain has to be started or restarted for one tag, and whether it may. `wanted`: what should be live;
 * undefined: nothing. Then a domain that is off stays off, but its managed save image may still have the device.
 */
export function planPower(
  power: Power,
  seen: PowerSeen,
  tag: string,
  wanted: Device9p | undefined,
): PowerPlan {
  const { info, live } = seen;
  if (!info) return { kind: "none" };
  if (!live) {
    if (info.managedSave) {
      const back = wanted ? "the old devices back" : `${tag} back if it was live then`;
      return pending(
        "managedSave",
        `${info.name} is off with a managed save image, whose start would bring ${back}: remove it (virsh managedsave-remove) or start and shut down by hand`,
      );
    }
    if (!wanted) return { kind: "none" };
    return power === "never"
      ? pending("domainOff", `${info.name} is off`)
      : { kind: "start", reason: "domainOff" };
  }
  const now = live.devices9p.find((device) => device.tag === tag);
  if (now && wanted ? sameDevice(now, wanted) : now === wanted) return { kind: "none" };
  const reason = !wanted ? "deviceStillLive" : now ? "deviceDiffersLive" : "deviceNotLive";
  const says = {
    deviceStillLive: `the running QEMU of ${info.name} keeps ${tag} until its next power cycle`,
    deviceDiffersLive: `the running QEMU of ${info.name} has the former ${tag} until its next power cycle`,
    deviceNotLive: `the running QEMU of ${info.name} gets ${tag} at its next power cycle (a reboot inside the guest is none)`,
  }[reason];
  if (power === "never" || power === "start") return pending(reason, says);
  return obstacle(seen, says) ?? { kind: power, reason };
}

/** Whether a power cycle clears a pending reason. */
export function waitsForCycle(reason: string): boolean {
  return deviceReasons.some((one) => one === reason);
}

/** Whether a `power` clears a pending reason, so that an update with it would do something. */
export function clears(power: Power, reason: string): boolean {
  if (reason === "domainOff") return power !== "never";
  return waitsForCycle(reason) && (power === "restart" || power === "force");
}

function pending(reason: PowerReason, says: string): PowerPlan {
  return { kind: "pending", reason, says };
}

/** Why a restart that may be made must not be. */
function obstacle({ info, live, persistent, job }: PowerSeen, says: string): PowerPlan | undefined {
  if (!info || !live || !persistent) return undefined;
  const lost = liveOnlyDevices(live, persistent).join(", ");
  const obstacles: readonly (readonly [PowerReason, boolean, string])[] = [
    ["domainPaused", info.state !== "running", `it is ${info.state}`],
    ["jobActive", job === true, "libvirt does a job on it (virsh domjobinfo)"],
    ["blockJob", live.hasBlockJob, "a block job runs on one of its disks"],
    ["liveOnlyDevices", lost !== "", `it would lose what only the running domain has: ${lost}`],
    [
      "onPoweroff",
      persistent.onPoweroff !== "destroy",
      `it would not stay off: on_poweroff is ${persistent.onPoweroff}`,
    ],
    [
      "managedSave",
      info.managedSave,
      "it has a managed save image, whose start would bring the old devices back",
    ],
  ];
  const found = obstacles.find(([, stands]) => stands);
  return found && pending(found[0], `${says}; it was not restarted, for ${found[2]}`);
}

/** Seconds for which the job goes on watching a guest that did not stop in time: it was told to, and must come up again. */
const lateSeconds = 900;

/** Seconds, beside the time for the shutdown, for which a job is followed: a libvirt that hangs must not hang us. */
const followSeconds = 600;

/** What a power cycle is to do. */
export interface PowerJob {
  readonly kind: "start" | "restart" | "force";
  /** Tells this job from a later one of the same domain. */
  readonly id: string;
  /** The tags that the cycle is for: taken out of the domain if it does not start with them. */
  readonly tags: readonly string[];
  readonly shutdownMs: number;
  /** Waits so long for the guest agent after the start; 0: not at all. */
  readonly agentMs: number;
}

/**
 * Starts the job on the host and follows it.
 *
 * The job is a process of its own (a transient unit where systemd runs, else a session of its own) and writes its log line
 * by line; we only read along. Whoever dies, it goes on: a guest that was shut down is started again.
 */
export function powerScript(job: PowerJob, prelude: Script): Script {
  return sh`dir=$records/domains/$domain/power
mkdir -p -m 0700 -- "$dir"
printf %s ${jobText(job, prelude)} > "$dir/job.new"
(
  flock -w 5 7 || { echo 'another power job of this domain is running' >&2; exit 1; }
  : > "$dir/log"
  printf %s ${job.id} > "$dir/current"
  mv -f -- "$dir/job.new" "$dir/job"
) 7>>"$dir/lock" || exit 1
if [ -d /run/systemd/system ] && [ "$(id -u)" = 0 ]; then
  systemd-run --quiet --collect --description="virtio9p: power cycle of $domain" -- /bin/sh "$dir/job" "$dir"
else
  setsid /bin/sh "$dir/job" "$dir" </dev/null >/dev/null 2>&1 &
fi
${clock}
${comment("follow the job's log until its last line")}
shown=0 quiet=0 last=$(( $(now) + ${Math.ceil(job.shutdownMs / 1000) + followSeconds} ))
while [ "$(now)" -lt "$last" ]; do
  count=$(wc -l < "$dir/log")
  if [ "$count" -gt "$shown" ]; then
    tail -n +$(( shown + 1 )) "$dir/log" | head -n $(( count - shown )) >&2
    shown=$count quiet=0
  fi
  if grep -q '^result ' "$dir/log"; then break; fi
  quiet=$(( quiet + 1 ))
  if [ $quiet -gt 25 ] && ( flock -n 7 ) 7>>"$dir/lock"; then
    grep -q '^result ' "$dir/log" || echo 'result died' >> "$dir/log"
  fi
  if [ $(( quiet % 25 )) = 0 ]; then echo 'waiting' >&2; fi
  sleep 0.2
done
cat -- "$dir/log"
${job.agentMs > 0 ? waitForAgent(job.agentMs) : sh`:`}`;
}

/** Seconds since boot, which no change of the clock moves. */
const clock = sh`now() { cut -d. -f1 /proc/uptime; }`;

/** The job itself. Reads nothing of ours once it runs. */
function jobText(job: PowerJob, prelude: Script): string {
  return sh`${environment}
umask 077
${prelude}
dir=$1
exec 7>>"$dir/lock"
flock -w 10 7 || exit 0
say() { printf '%s\n' "$*" >> "$dir/log"; }
state() { vsh domstate "$domain" 2>/dev/null | head -n 1; }
${clock}
take_out() { # TAG
  say "takingOut $1"
  printf "<filesystem type='mount'><source dir='/'/><target dir='%s'/></filesystem>" "$(printf %s "$1" | sed "s/&/\&amp;/g; s/</\&lt;/g; s/'/\&apos;/g")" |
    vsh detach-device "$domain" /dev/stdin --config >/dev/null 2>&1
}
wait_off() { # SECONDS
  end=$(( $(now) + $1 ))
  while [ "$(now)" -lt "$end" ]; do
    [ "$(state)" = 'shut off' ] && return 0
    sleep 0.5
  done
  return 1
}
start() {
  say starting
  if error=$(vsh start "$domain" 2>&1); then say 'result started'; return 0; fi
  [ "$(state)" != running ] || { say 'result started'; return 0; }
  say "startError $(printf %s "$error" | tr '\n' ' ')"
  for tag in ${job.tags}; do take_out "$tag"; done
  if error=$(vsh start "$domain" 2>&1); then say 'result startedWithout'
  else say "startError $(printf %s "$error" | tr '\n' ' ')"; say 'result notStarted'; fi
}
${job.kind === "start" ? sh`if [ "$(state)" = 'shut off' ]; then start; else say 'result started'; fi` : restart(job)}
`.text;
}

function restart(job: PowerJob): Script {
  const seconds = Math.ceil(job.shutdownMs / 1000);
  const cut = sh`say 'cutting the power'
  vsh destroy "$domain" >/dev/null 2>&1
  if wait_off 30; then start; else watch_late; fi`;
  return sh`watch_late() {
  say 'result notStopped'
  # It was told to stop, so it must come up again should it stop late; a newer job takes over from here.
  # The folder goes with the domain's last record: that ends the share, not this duty.
  exec 7>&-
  end=$(( $(now) + ${lateSeconds} ))
  while [ "$(now)" -lt "$end" ] && { [ ! -e "$dir/current" ] || [ "$(cat "$dir/current")" = ${job.id} ]; }; do
    if [ "$(state)" = 'shut off' ]; then
      if [ -d "$dir" ]; then
        exec 7>>"$dir/lock"
        flock -n 7 && start
      else
        vsh start "$domain" >/dev/null 2>&1
      fi
      break
    fi
    sleep 1
  done
}
say shuttingDown
# Beside the wait: libvirt itself waits up to a minute for an agent that does not obey.
( error=$(vsh shutdown "$domain" 2>&1) || say "shutdownError $(printf %s "$error" | tr '\n' ' ')" ) 7>&- &
if wait_off ${seconds}; then
  say off
  start
else
  ${job.kind === "force" ? cut : sh`watch_late`}
fi`;
}

/**
 * Waits on the host until the guest agent answers: a ping that nobody answers costs its whole time-out,
 * so the channel's state is looked at first; connected is not yet answering.
 */
function waitForAgent(agentMs: number): Script {
  return sh`${comment("wait for the guest agent")}
end=$(( $(now) + ${Math.ceil(agentMs / 1000)} )) turn=0
while [ "$(now)" -lt "$end" ]; do
  [ "$(vsh domstate "$domain")" = running ] || break
  if vsh dumpxml "$domain" | grep -q "name='org.qemu.guest_agent.0' state='connected'" &&
    vsh qemu-agent-command --timeout 2 "$domain" '{"execute":"guest-ping"}' >/dev/null 2>&1; then
    echo 'agent answers'; break
  fi
  turn=$(( turn + 1 ))
  if [ $(( turn % 8 )) = 0 ]; then echo 'waiting' >&2; fi
  sleep 0.5
done`;
}

/** How a job ended, from its log. */
export interface PowerOutcome {
  readonly result: "started" | "startedWithout" | "notStarted" | "notStopped" | "died" | "notBegun";
  /** What libvirt said when the start or the shutdown failed. */
  readonly errors: readonly string[];
}

/** Sample of a log: `shuttingDown`, `off`, `starting`, `startError error: Failed to start domain ...`, `takingOut foobar`, `result startedWithout`. */
export function parsePowerLog(log: string): PowerOutcome {
  const [, result = "died"] = /^result (\w+)/m.exec(log) ?? [];
  const errors = [...log.matchAll(/^(?:start|shutdown)Error (.*)$/gm)].map(([, text = ""]) => text.trim());
  return { result: result as PowerOutcome["result"], errors };
}
