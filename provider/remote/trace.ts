import { printableLines } from "../errors";
import { parseLogLevel } from "../formats/log-level";
import type { Transport } from "./transport";

let scripts = 0;

/**
 * A transport that prints what goes through it, where `VIRTIO9P_LOG` is `scripts`; else the transport
 * itself. Each line begins with the share's tag.
 *
 * Before: the script, whose comment lines say what each of its parts does. After: its exit status and
 * seconds, and those of each part. What a script prints is not shown, but for the errors of a part that
 * failed. `atOnce` is for a transport that gives all output at the end: then no part has seconds.
 *
 * Over the guest agent, the agent's transport is the one to be told: the script that it runs on the host
 * holds the guest's once more, in base64.
 */
export function told(transport: Transport, tag: string, output: "atOnce" | "asItComes"): Transport {
  if (!parseLogLevel(process.env["VIRTIO9P_LOG"]).scripts) return transport;
  const say = (text: string): void => {
    process.stderr.write(printableLines(text).replace(/^/gm, `${printableLines(tag)}: `) + "\n");
  };
  return {
    ...transport,
    run: async (script, limits) => {
      const title = `script ${++scripts} on ${transport.machine}`;
      say(`${title}:\n${script.trimEnd().replace(/^/gm, "  | ")}`);
      const parts = new Parts(script);
      const seconds = stopwatch();
      const onProgress = (line: string): void => {
        parts.hear(line);
        limits.onProgress?.(line);
      };
      const running = transport.run(script, { ...limits, onProgress });
      const how = await running.then(
        ({ status }) => `status ${status}`,
        (error: unknown) => `failed (${(error as Error).message})`,
      );
      say([`${title}: ${how} after ${seconds()}`, ...parts.ended(output === "asItComes")].join("\n"));
      return running;
    },
  };
}

/** Seconds since it was made, sample: `0.412 s`. */
function stopwatch(): () => string {
  const began = performance.now();
  return () => `${((performance.now() - began) / 1000).toFixed(3)} s`;
}

/** One part of a script, between its two marks. */
interface Part {
  readonly name: string;
  readonly seconds: () => string;
  readonly errors: string[];
  end?: { readonly status: string; readonly after: string };
}

/**
 * The parts of one script, by its lines of standard error: `MARK begin NAME`, what the part prints there,
 * `MARK end NAME STATUS`. The script has the mark itself, and above each beginning a comment with what
 * the part does. Source: engine/script.ts, which writes them; a test holds the two together.
 */
class Parts {
  readonly #mark: string | undefined;
  readonly #does: ReadonlyMap<string, string>;
  readonly #parts: Part[] = [];

  constructor(script: string) {
    this.#mark = /'(virtio9p-[0-9a-f]{24})'/.exec(script)?.[1];
    const begins = script.matchAll(/^# (.*)\nmark begin '?([\w-]+)'?$/gm);
    this.#does = new Map([...begins].map(([, does = "", name = ""]) => [name, does]));
  }

  hear(line: string): void {
    const [mark, verb, name = "", status = ""] = line.split(" ");
    const last = this.#parts.at(-1);
    if (mark === undefined || mark !== this.#mark) {
      if (last && !last.end && line !== "") last.errors.push(line);
    } else if (verb === "begin") {
      this.#parts.push({ name, seconds: stopwatch(), errors: [] });
    } else if (verb === "end" && last) {
      last.end = { status, after: last.seconds() };
    }
  }

  /** A line for each part that began, sample: `  status 0 after 0.013 s: look up the domain`. */
  ended(timed: boolean): string[] {
    return this.#parts.flatMap(({ name, end, errors }) => {
      const how = end ? `status ${end.status}${timed ? ` after ${end.after}` : ""}` : "did not end";
      const said = end?.status === "0" ? [] : errors.map((line) => `      ${line}`);
      return [`  ${how}: ${this.#does.get(name) ?? name}`, ...said];
    });
  }
}
