import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runInThisContext } from "node:vm";
import { localTransport } from "../../provider/remote/local";
import type { Transport } from "../../provider/remote/transport";

/** This machine, through a shell by its name; `busybox` has one, too. */
export function shellTransport(
  shell: string,
  rewrite: (script: string) => string = (text) => text,
): Transport {
  return {
    machine: "this machine",
    run: (script, limits) => {
      const folder = mkdtempSync(join(tmpdir(), "virtio9p-shell-"));
      writeFileSync(
        join(folder, "sh"),
        `#!/bin/sh\nexec /bin/${shell === "busybox" ? "busybox sh" : shell} "$@"\n`,
      );
      chmodSync(join(folder, "sh"), 0o755);
      // Jest's own process has a copy of the environment, which no child gets.
      const { env } = runInThisContext("process") as NodeJS.Process;
      const path = env["PATH"];
      env["PATH"] = `${folder}:${path ?? ""}`;
      // Found by the time that it returns.
      const output = localTransport("none").run(rewrite(script), limits);
      env["PATH"] = path;
      return output.finally(() => {
        rmSync(folder, { recursive: true });
      });
    },
  };
}
