import { hint } from "./nearest";

/** The values that `VIRTIO9P_LOG` may have; each shows what the one before it shows, and more. */
const known = ["steps", "scripts"] as const;

/** What is printed on standard error besides warnings. */
export interface LogLevel {
  /** Each step, as it begins. */
  readonly steps: boolean;
  /** Each remote script: its text, and how it and its parts ended. */
  readonly scripts: boolean;
  /** What is wrong with the value, if anything is: then nothing more is printed. */
  readonly problem: string | undefined;
}

/** Reads the value of `VIRTIO9P_LOG`; unset and empty are the same. */
export function parseLogLevel(value = ""): LogLevel {
  const isKnown = known.some((level) => level === value);
  const wrong = `VIRTIO9P_LOG is ${JSON.stringify(value)}, and must be one of ${known.join(", ")}${hint(value, known)}`;
  return {
    steps: isKnown,
    scripts: value === "scripts",
    problem: isKnown || value === "" ? undefined : wrong,
  };
}
