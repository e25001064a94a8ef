import { environment } from "./shell/environment";
import { comment, type Script, sh } from "./shell/sh";
import { ShareError } from "../errors";
import { failed, type Limits, type Output, type Transport, type Where } from "./transport";

/** Linux MAX_ARG_STRLEN (include/uapi/linux/binfmts.h, 6.1): one argument of a process, here of virsh. */
const maxArgumentBytes = 131_072;

/** Exit statuses of the host's script that say how the guest's script got lost. */
const exits = { agentRefused: 90, agentLost: 91, hung: 92 } as const;

/**
 * The guest, through the QEMU guest agent of its host: needs no network and no credentials in the guest.
 *
 * One script in the guest is one script on the host, which starts it (`guest-exec`), waits for it there
 * and prints the agent's last answer. The agent gives output only at the end, so `idleMs` bounds the
 * whole script. Source: QEMU 7.2 qga/qapi-schema.json (guest-exec, guest-exec-status).
 */
export function guestAgentTransport(
  host: Transport,
  virsh: Script,
  domain: { uuid: string; name: string },
): Transport {
  const where = { layer: "guest", machine: `guest ${domain.name}` } as const;
  return {
    machine: where.machine,
    async run(script, limits) {
      const command = agentCommand(script);
      if (command.length >= maxArgumentBytes) {
        const what = `a script of ${script.length} bytes is too long for the guest agent`;
        const remedy =
          "give a mount point with a shorter path, or reach the guest over SSH (guest.connection)";
        throw failed(where, "scriptTooLong", what, { remedy });
      }
      const output = await host.run(onHost(virsh, domain.uuid, command, limits), {
        idleMs: limits.idleMs + 15_000,
      });
      if (output.status !== 0) throw lost(where, output, limits);
      const ended = read(output, where);
      // The agent keeps all output until the end: progress can only be told afterwards.
      if (limits.onProgress) ended.stderr.toString("utf8").split("\n").forEach(limits.onProgress);
      return ended;
    },
  };
}

function agentCommand(script: string): string {
  return JSON.stringify({
    execute: "guest-exec",
    arguments: {
      path: "/bin/sh",
      arg: ["-s"],
      "input-data": Buffer.from(script, "utf8").toString("base64"),
      "capture-output": true,
    },
  });
}

/**
 * The host's part. A wait of 20 ms that grows to 0.2 s: most scripts end within a tenth of a second. A guest that is
 * too busy for its agent to answer within libvirt's 5 s ("not available for now") is asked again, and so is one that
 * refuses what it has just allowed: it was frozen meanwhile, and goes on when it is thawed.
 */
function onHost(virsh: Script, uuid: string, command: string, limits: Limits): string {
  return sh`main() {
${environment}
${comment("start the script in the guest, through its agent")}
answer=$(${virsh} qemu-agent-command --timeout 10 ${uuid} ${command} 2>&1) || {
  printf '%s\n' "$answer" >&2
  ${comment("one that is frozen for a backup refuses too, and says so")}
  ${virsh} qemu-agent-command --timeout 10 ${uuid} '{"execute":"guest-fsfreeze-status"}' >&2
  exit ${exits.agentRefused}
}
pid=$(printf %s "$answer" | sed -n 's/.*"pid":\([0-9][0-9]*\).*/\1/p')
[ -n "$pid" ] || { printf '%s\n' "$answer" >&2; exit ${exits.agentRefused}; }
${comment("wait for its end")}
now() { read -r up _ < /proc/uptime; up=${{ text: "${up%%.*}" }}; }
now
end=$(( up + ${Math.ceil(limits.idleMs / 1000)} )) wait=0.02
while :; do
  answer=$(${virsh} qemu-agent-command --timeout 10 ${uuid} "{\"execute\":\"guest-exec-status\",\"arguments\":{\"pid\":$pid}}" 2>&1) ||
    case $answer in *'not available for now'* | *'has been disabled'*) ;; *) printf '%s\n' "$answer" >&2; exit ${exits.agentLost};; esac
  case $answer in *'"exited":true'*) printf '%s\n' "$answer" | sed -n '/^{/p'; exit 0;; esac
  now
  if [ "$up" -ge "$end" ]; then
    ${virsh} qemu-agent-command --timeout 5 ${uuid} "{\"execute\":\"guest-exec\",\"arguments\":{\"path\":\"/bin/sh\",\"arg\":[\"-c\",\"kill $pid\"]}}" >/dev/null 2>&1
    exit ${exits.hung}
  fi
  sleep $wait
  case $wait in 0.02) wait=0.05;; 0.05) wait=0.1;; *) wait=0.2;; esac
done
}
main </dev/null
`.text;
}

/** Sample: `{"return":{"exitcode":0,"out-data":"aGkK","exited":true}}` */
interface ExecStatus {
  readonly exitcode?: number;
  readonly signal?: number;
  readonly "out-data"?: string;
  readonly "err-data"?: string;
  readonly "out-truncated"?: boolean;
}

/** The guest's agent is the guest's: what it answers may be anything. */
function read({ stdout }: Output, where: Where): Output {
  try {
    const status = (JSON.parse(stdout.toString("utf8")) as { return: ExecStatus }).return;
    if (status["out-truncated"]) throw failed(where, "outputTooLarge", "a script printed more than 16 MiB");
    return {
      status: status.exitcode ?? 128 + (status.signal ?? 0),
      stdout: Buffer.from(status["out-data"] ?? "", "base64"),
      stderr: Buffer.from(status["err-data"] ?? "", "base64"),
    };
  } catch (error) {
    if (error instanceof ShareError) throw error;
    const what = `the guest agent's answer was not understood: ${(error as Error).message}`;
    throw failed(where, "guestUnreachable", what, {}, { cause: error });
  }
}

function lost(where: Where, { status, stderr }: Output, limits: Limits): ShareError {
  const returned = stderr.toString("utf8");
  const answered = { tried: "guest-exec through virsh qemu-agent-command", returned };
  if (status === exits.hung) {
    const what = `a script in the guest did not end within ${limits.idleMs / 1000} s`;
    const remedy = "see what the guest is waiting for; timeouts.commandMs is the limit";
    return failed(where, "commandTimedOut", what, { remedy });
  }
  if (returned.includes('"frozen"') || returned.includes("frozen state")) {
    const what =
      "the guest is frozen for a backup or snapshot (guest-fsfreeze), and its agent runs no commands meanwhile";
    const remedy = "try again when it is thawed (virsh domfsthaw, if whoever froze it is gone)";
    return failed(where, "guestFrozen", what, { ...answered, remedy });
  }
  if (/guest-exec has been disabled|not allowed|CommandNotFound/i.test(returned)) {
    const what = "the guest agent does not let the host run commands";
    const remedy =
      "allow guest-exec and guest-exec-status in the guest (EL: FILTER_RPC_ARGS in /etc/sysconfig/qemu-ga; SELinux: virt_qemu_ga_t), and restart qemu-guest-agent";
    return failed(where, "guestAgentRefusesExec", what, { ...answered, remedy });
  }
  const what =
    status === exits.agentLost
      ? "the guest agent went away while a script ran in the guest: it may have been carried out in part"
      : "the guest agent does not answer";
  const remedy = "see that qemu-guest-agent runs in the guest, and try again";
  return failed(where, "guestUnreachable", what, { ...answered, remedy });
}
