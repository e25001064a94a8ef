import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ShareError } from "../../../provider/errors";
import { sh } from "../../../provider/remote/shell/sh";
import { guestAgentTransport } from "../../../provider/remote/guest-agent";
import { localTransport } from "../../../provider/remote/local";
import { uuid } from "../sample";

/**
 * `virsh qemu-agent-command --timeout S DOMAIN JSON` with an agent that runs what it is given here; each
 * answer is what QEMU 7.2's agent prints.
 */
const agent = `#!/usr/bin/env node
const { spawn } = require("node:child_process");
const fs = require("node:fs");
const [, , , , , domain, json] = process.argv;
const mode = fs.existsSync(__dirname + "/mode") ? fs.readFileSync(__dirname + "/mode", "utf8") : "";
const fail = (text) => { console.error("error: " + text); process.exit(1); };
if (domain !== "${uuid}") fail("no such domain");
const { execute, arguments: args } = JSON.parse(json);
const state = __dirname + "/state.json";
if (mode === "away") fail("Guest agent is not responding: QEMU guest agent is not connected");
if (mode === "refuses" && execute === "guest-exec") fail("internal error: unable to execute QEMU agent command 'guest-exec': The command guest-exec has been disabled for this instance");
if (execute === "guest-fsfreeze-status") { console.log(JSON.stringify({ return: mode.startsWith("frozen") ? "frozen" : "thawed" })); process.exit(0); }
if (mode === "frozen") fail("internal error: unable to execute QEMU agent command 'guest-exec': Command guest-exec has been disabled: the agent is in frozen state");
if (mode === "frozenOlder") fail("internal error: unable to execute QEMU agent command 'guest-exec': The command guest-exec has been disabled for this instance");
if (execute === "guest-exec" && args.path === "/bin/kill") { fs.writeFileSync(__dirname + "/killed", ""); process.exit(0); }
if (execute === "guest-exec") {
  const input = Buffer.from(args["input-data"], "base64");
  const run = require("node:child_process").spawnSync(args.path, args.arg, { input });
  const answer = { exited: mode !== "hangs", exitcode: run.status ?? undefined, signal: run.signal ? 9 : undefined,
    "out-data": run.stdout.toString("base64"), "err-data": run.stderr.toString("base64") };
  if (mode === "truncates") answer["out-truncated"] = true;
  fs.writeFileSync(state, JSON.stringify({ return: answer }));
  console.log(JSON.stringify({ return: { pid: 4711 } }));
} else if (mode === "goes") fail("Guest agent is not responding");
else if (mode === "busy") {
  fs.writeFileSync(__dirname + "/mode", "");
  fail("Guest agent is not responding: Guest agent not available for now");
} else if (mode === "freezes") {
  fs.writeFileSync(__dirname + "/mode", "");
  fail("internal error: unable to execute QEMU agent command 'guest-exec-status': Command guest-exec-status has been disabled: the agent is in frozen state");
} else if (mode === "hangs") console.log(JSON.stringify({ return: { exited: false } }));
else console.log(fs.readFileSync(state, "utf8"));
`;

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "virtio9p-agent-"));
  // The script sets a PATH of its own: so the Node that runs this is named.
  writeFileSync(join(folder, "virsh"), agent.replace("/usr/bin/env node", process.execPath));
  chmodSync(join(folder, "virsh"), 0o755);
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});

const transport = () =>
  guestAgentTransport(localTransport("none"), sh`${join(folder, "virsh")}`, { uuid, name: "web1" });
const failure = (script: string, mode: string): Promise<unknown> => {
  writeFileSync(join(folder, "mode"), mode);
  return transport()
    .run(script, { idleMs: mode === "hangs" ? 1000 : 30_000 })
    .catch((error: unknown) => error);
};

test.each([
  ["echo out; echo err >&2; exit 3", 3, "out\n", "err\n"],
  ["", 0, "", ""],
  ["cat", 0, "", ""],
  ["kill -9 $$", 137, "", ""],
])("%j: output, error and status of the guest", async (script, status, stdout, stderr) => {
  const output = await transport().run(script, { idleMs: 10_000 });
  expect([output.status, output.stdout.toString(), output.stderr.toString()]).toEqual([
    status,
    stdout,
    stderr,
  ]);
});

test.each(["busy", "freezes"])(
  "an agent that has no answer for now, for it %s, is asked again",
  async (mode) => {
    expect(await failure("echo done", mode)).toMatchObject({ status: 0, stdout: Buffer.from("done\n") });
  },
);

test("bytes and quotes arrive as they were sent", async () => {
  const script = sh`printf %s ${"'\"$(id)\\ ä\n"}; printf '\377\000'`.text;
  const { stdout } = await transport().run(script, { idleMs: 10_000 });
  expect(stdout).toEqual(Buffer.concat([Buffer.from("'\"$(id)\\ ä\n"), Buffer.from([255, 0])]));
});

test.each([
  ["away", "guestUnreachable", "the guest agent does not answer"],
  [
    "goes",
    "guestUnreachable",
    "the guest agent went away while a script ran in the guest: it may have been carried out in part",
  ],
  ["refuses", "guestAgentRefusesExec", "the guest agent does not let the host run commands"],
  ...["frozen", "frozenOlder"].map((mode) => [
    mode,
    "guestFrozen",
    "the guest is frozen for a backup or snapshot (guest-fsfreeze), and its agent runs no commands meanwhile",
  ]),
  ["hangs", "commandTimedOut", "a script in the guest did not end within 1 s"],
  ["truncates", "outputTooLarge", "a script printed more than 16 MiB"],
])(
  "an agent that is %s: %s",
  async (mode, code, what) => {
    expect(await failure("echo", mode)).toMatchObject({
      code,
      problems: [{ layer: "guest", machine: "guest web1", what }],
    });
  },
  60_000,
);

test.each([0, 1, 2, 3])(
  "a script of the greatest length that one argument carries, and %d more",
  async (more) => {
    const length = Math.floor(((131_072 - 120) * 3) / 4) + more * 30;
    const script = `: ${"x".repeat(length - 7)}\necho`;
    const outcome = await transport()
      .run(script, { idleMs: 10_000 })
      .then(
        ({ status }) => `ended with ${status}`,
        (error: unknown) => (error as ShareError).problems[0]?.what,
      );
    expect(["ended with 0", `a script of ${script.length} bytes is too long for the guest agent`]).toContain(
      outcome,
    );
  },
);
