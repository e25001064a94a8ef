import { sh } from "../shell/sh";
import type { SshConnection } from "./connection";
import { type Runner, sudoRefusal } from "../sudo";
import type { Transport, Where } from "../transport";

/**
 * A machine over SSH: each script is one command of its own over a connection that all share, fed from standard
 * input as on this machine. Three network round trips: open, start, answer.
 *
 * The login shell of the user only starts `sh`, so it may be any, and what its profile prints is skipped
 * by whoever reads the answer.
 */
export function sshTransport(
  connection: SshConnection,
  runner: Runner,
  user: string,
  where: Where,
): Transport {
  const command = sh`exec ${{ text: runner.join(" ") }}`.text;
  return {
    machine: where.machine,
    async run(script, limits) {
      const output = await connection.run(command, script, limits, where);
      const refused = sudoRefusal(runner, where, user, output);
      if (refused) throw refused;
      return output;
    },
  };
}
