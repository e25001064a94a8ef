import { randomUUID } from "node:crypto";
import { parsePowerLog, type PowerJob, powerScript } from "./plan";
import { type FactSet, type Snapshot, type Machine, problemOn } from "../engine/requests";
import { perform } from "../engine/executor";
import { type Problem, ShareError } from "../errors";
import { type Script, sh } from "../remote/shell/sh";
import type { ShareSpec } from "../spec/spec";
import { PowerTale } from "./waiting";

/** What one share needs of its domain's power cycle. */
export interface PowerAsk {
  readonly share: ShareSpec;
  readonly domain: { readonly uuid: string; readonly name: string };
  readonly machine: Machine;
  readonly kind: PowerJob["kind"];
  /** Whether the share's device may be taken out where the domain does not start with it. */
  readonly removable: boolean;
  /** Whether the guest is to be looked at afterwards, and so waited for. */
  readonly waitForAgent: boolean;
  /** Looked up in the same script, when the cycle is over. */
  readonly facts: FactSet;
  /** Told what happens and what is waited for. */
  readonly onStep: (does: string) => void;
}

/** How it ended, and what the host looks like now. */
export interface PowerAnswer {
  readonly log: string;
  readonly look: Snapshot;
  /** Which cycle of the domain it was in this process, from 1. */
  readonly count: number;
}

const counts = new Map<string, number>();

/** One power cycle for all that ask for it together; the first one's host carries it out. */
export async function powerCycle(asks: readonly [PowerAsk, ...PowerAsk[]]): Promise<PowerAnswer> {
  const [first] = asks;
  const job: PowerJob = {
    kind: (["force", "restart"] as const).find((kind) => asks.some((ask) => ask.kind === kind)) ?? "start",
    id: randomUUID(),
    tags: [...new Set(asks.filter((ask) => ask.removable).map((ask) => ask.share.tag))],
    shutdownMs: Math.max(...asks.map((ask) => ask.share.timeouts.shutdownMs)),
    agentMs: Math.max(...asks.map((ask) => (ask.waitForAgent ? ask.share.timeouts.bootMs : 0))),
  };
  const facts: FactSet = new Map(asks.flatMap((ask) => [...ask.facts]));
  const tale = new PowerTale(first.domain.name, job, (does) => {
    for (const ask of asks) ask.onStep(does);
  });
  const does = `${job.kind} the domain`;
  const script = powerScript(job, preludeOf(first));
  const { report, look } = await perform({ machine: first.machine, facts }, does, script, (line) => {
    tale.hear(line);
  });
  const count = (counts.get(first.domain.uuid) ?? 0) + 1;
  counts.set(first.domain.uuid, count);
  if (report.status === 0) return { log: report.stdout.toString("utf8"), look, count };
  return { log: `result notBegun ${report.stderr.toString("utf8")}`, look, count };
}

/** What a power cycle's end means for one share; undefined: it has what it asked for. */
export function powerFailure(ask: PowerAsk, log: string): ShareError | undefined {
  const { result, errors } = parsePowerLog(log);
  const { share, domain } = ask;
  if (result === "started") return undefined;
  const [code, what, remedy] = {
    startedWithout: [
      "startedWithoutDevice",
      `${domain.name} did not start with ${share.tag}, and runs again without it: the device was taken out of its definition`,
      `see that ${share.source} is there and that QEMU can open it, and run up again`,
    ],
    notStarted: [
      "domainStartFailed",
      `${domain.name} was shut down and does not start, not even without ${share.tag}`,
      `start it by hand: virsh start ${domain.name}`,
    ],
    notStopped: [
      "shutdownTimedOut",
      `${domain.name} did not shut down within ${share.timeouts.shutdownMs / 1000} s; it still runs, and is started again should it stop after all`,
      "see what keeps the guest from shutting down, give it longer (timeouts.shutdownMs), or allow power: force",
    ],
    died: ["domainStartFailed", `the power job of ${domain.name} ended without a result`],
    notBegun: ["stepFailed", `the power job of ${domain.name} could not be started`],
  }[result] as [Problem["code"], string, string?];
  const returned =
    result === "died" || result === "notBegun" ? log.replace(/^result notBegun /, "") : errors.join("; ");
  const failure = { code, what, returned, ...(remedy === undefined ? {} : { remedy }) };
  return new ShareError(problemOn(ask.machine, failure, "power"));
}

/** The job runs on after us, so its domain is fixed here and not looked up again. */
function preludeOf(ask: PowerAsk): Script {
  return sh`${ask.machine.prelude}
domain=${ask.domain.uuid} recorded=${ask.domain.uuid}`;
}
