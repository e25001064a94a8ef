import type { ShareError } from "../errors";
import { failed, type Output, type Where } from "./transport";

/** Who runs a script: the user that we are there, or root through sudo(8), which is never let ask for a password. */
export type Runner = readonly [program: string, ...args: string[]];

/** `auto` is `sudo -n` for anybody but root. */
export function runnerFor(escalate: "auto" | "sudo" | "none", isRoot: boolean): Runner {
  const withSudo = escalate === "sudo" || (escalate === "auto" && !isRoot);
  return withSudo ? ["sudo", "-n", "--", "sh", "-s"] : ["sh", "-s"];
}

/** sudo's own words when it may not go on without a password or a terminal (sudo 1.9.13, plugins/sudoers). */
export function sudoRefusal(
  runner: Runner,
  where: Where,
  user: string,
  output: Output,
): ShareError | undefined {
  const text = output.stderr.subarray(0, 4096).toString("utf8");
  if (runner[0] !== "sudo" || output.stdout.length > 4096 || output.stderr.length > 4096) return undefined;
  if (output.status === 127 && text.includes("sudo")) {
    return failed(where, "toolMissing", `there is no sudo for ${user}`, {
      returned: text,
      remedy: `install the package sudo and let ${user} use it without a password, or connect as root`,
    });
  }
  if (output.status !== 1 || !/^sudo: /m.test(text)) return undefined;
  return failed(where, "sudoNeedsPassword", `sudo does not let ${user} run a command without a password`, {
    tried: runner.join(" "),
    returned: text,
    remedy: `add the line "${user} ALL=(root) NOPASSWD: ALL" with visudo -f /etc/sudoers.d/virtio9p, or connect as root`,
  });
}
