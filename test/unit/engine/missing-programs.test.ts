import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Fact } from "../../../provider/engine/layer";
import type { Machine } from "../../../provider/engine/requests";
import { look } from "../../../provider/engine/executor";
import { guestPrograms, hostPrograms } from "../../../provider/engine/programs";
import { ShareError } from "../../../provider/errors";
import { searchPath } from "../../../provider/remote/shell/environment";
import { mountPointOf } from "../../../provider/layers/mount/probes";
import { type Script, sh } from "../../../provider/remote/shell/sh";
import { shellTransport } from "../shell-transport";
import { runScript } from "../shell-machine";

/** Machines whose search path has only some of the programs (NixOS, Guix, a guest with little in it). */

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "virtio9p-programs-"));
  mkdirSync(join(folder, "bin"));
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});

const provide = (...programs: readonly string[]): void => {
  for (const name of programs) {
    const at = searchPath.split(":").map((one) => join(one, name));
    symlinkSync(at.find(existsSync) ?? "/nowhere", join(folder, "bin", name));
  }
};
const machine = (shell: string, programs: readonly string[]): Machine => ({
  place: "guest",
  transport: shellTransport(shell, (text) =>
    text.replace(`PATH=${searchPath}`, `PATH=${join(folder, "bin")}`),
  ),
  prelude: sh`:`,
  lock: sh`:`,
  programs,
  idleMs: 5000,
  key: folder,
  scope: { key: "", enter: sh`:`, beforeWrite: sh`:` },
  most: Infinity,
});
const fact = (name: string, script: Script, tools: readonly string[] = []): Fact<unknown> => ({
  place: "guest",
  does: `look at ${name}`,
  script,
  parse: (output) => output,
  tools: tools.map((program) => ({ program, packages: ["a", "b"] as const })),
});

describe.each(["dash", "bash"])("under %s", (shell) => {
  test.each([0, 1, guestPrograms.length - 1])("with %d programs nothing else is run", async (count) => {
    const [have, lack] = [guestPrograms.slice(0, count), guestPrograms.slice(count)];
    provide(...have);
    const all = [
      fact("a", sh`: > ${join(folder, "ran")}`),
      mountPointOf("/mnt/a/b/c"),
      fact("gathered", sh`:`),
    ].map((one) => ({ ...one, gathers: { variable: "x", script: sh`: > ${join(folder, "gathered")}` } }));
    const [answer] = await look([
      { machine: machine(shell, guestPrograms), facts: new Map(all.map((one) => [one.does, one])) },
    ]);
    expect(answer).toBeInstanceOf(ShareError);
    const problem = (answer as ShareError).problems[0];
    expect(problem).toMatchObject({
      code: "toolMissing",
      what: `${lack.join(", ")} ${lack.length === 1 ? "is" : "are"} not installed`,
    });
    expect([existsSync(join(folder, "ran")), existsSync(join(folder, "gathered"))]).toEqual([false, false]);
  });
});

// A shell of busybox has its programs in itself.
describe.each(["dash", "bash", "busybox"])("under %s", (shell) => {
  test.each([0, 1, 17, 300])("of %d more shares those go on whose programs are there", async (count) => {
    provide("cat", "mkdir", "rm", "sleep");
    const file = (name: string): Script => sh`printf '%s\n' ${name} >> ${join(folder, "ran")}`;
    const common = fact("common", file("common"));
    const shares = Array.from({ length: count }, (_, index) => ({
      machine: machine(shell, ["cat"]),
      facts: new Map([common, fact(`own ${index}`, file(`own ${index}`))].map((one) => [one.does, one])),
    }));
    const lacking = {
      machine: machine(shell, ["cat"]),
      facts: new Map(
        [common, fact("lacking", file("lacking"), ["no-such"]), fact("beside", file("beside"))].map((one) => [
          one.does,
          one,
        ]),
      ),
    };
    const [first, ...others] = await look([lacking, ...shares]);
    expect(first).toMatchObject({ code: "toolMissing" });
    expect(others.filter((one) => !(one instanceof ShareError))).toHaveLength(count);
    const ran = existsSync(join(folder, "ran")) ? readFileSync(join(folder, "ran"), "utf8") : "";
    const expected = count === 0 ? [] : ["common", ...shares.map((_, index) => `own ${index}`)];
    expect(ran.split("\n").slice(0, -1)).toEqual(expected);
  });
});

test("the walk up a path ends at the root without a program", () => {
  const script = runScript(mountPointOf("/no-such/a/b").script).toString();
  expect(script).toBe("missing empty /no-such\n/\n/\n");
  writeFileSync(join(folder, "file"), "");
  const other = mountPointOf(join(folder, "file"));
  expect(other.parse(runScript(other.script).toString(), Buffer.alloc(0))).toMatchObject({ kind: "other" });
  expect(hostPrograms).not.toContain("dirname");
});
