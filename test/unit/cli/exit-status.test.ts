import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { ModuleKind, ScriptTarget, transpileModule } from "typescript";

/** The command as a process: what it exits with, and what it says where its output goes nowhere. */
const root = join(__dirname, "../../..");
let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "virtio9p-exit-"));
  const compilerOptions = { module: ModuleKind.CommonJS, target: ScriptTarget.ES2022, esModuleInterop: true };
  const files = readdirSync(join(root, "provider"), { recursive: true, encoding: "utf8" });
  for (const name of files.filter((one) => one.endsWith(".ts"))) {
    const to = join(folder, "dist", name.replace(/ts$/, "js"));
    mkdirSync(dirname(to), { recursive: true });
    const { outputText } = transpileModule(readFileSync(join(root, "provider", name), "utf8"), {
      compilerOptions,
    });
    writeFileSync(to, outputText);
  }
  cpSync(join(root, "package.json"), join(folder, "package.json"));
  mkdirSync(join(folder, "tree/sub"), { recursive: true });
  for (let index = 0; index < 3000; index += 1) writeFileSync(join(folder, `tree/sub/entry-${index}`), "");
  writeFileSync(join(folder, "tree/one"), "");
  spawnSync("setfattr", ["-n", "user.virtfs.uid", "-v", "0x05000000", join(folder, "tree/one")]);
});
afterAll(() => {
  rmSync(folder, { recursive: true });
});

/** `after`: what the shell does with its output, such as `> /dev/full`. */
const virtio9p = (args: string, after = ""): { status: number | null; said: string } => {
  const script = `cd "$1"; set -o pipefail; "$2" dist/cli/virtio9p.js ${args} ${after}`;
  const { status, stderr } = spawnSync("bash", ["-c", script, "bash", folder, process.execPath], {
    encoding: "utf8",
    env: { ...process.env, NODE_PATH: join(root, "node_modules") },
  });
  return { status, said: stderr };
};

test.each([
  ["nonsense", /unknown command/],
  ["--nonsense", /unknown option/],
  ["inspect", /missing required argument/],
  ["inspect --nonsense tree", /unknown option/],
  ["inspect --depth x tree", /whole number/],
  ["backup", /missing required argument/],
  ["backup tree tree", /too many arguments/],
  ["restore", /missing required argument/],
  ["chown nobody tree", /UID/],
  ["chown 1", /missing required argument/],
  ["chmod u+x tree", /octal/],
  ["chmod 0750 --connect", /argument missing/],
  ["inspect nowhere", /nowhere/],
])("%s exits with 2, and says why", (args, says) => {
  const { status, said } = virtio9p(args);
  expect([status, said]).toEqual([2, expect.stringMatching(says)]);
});

test.each(["--help", "--version", "inspect --help", "chown --help", "help backup", "inspect tree"])(
  "%s exits with 0",
  (args) => {
    expect(virtio9p(args)).toEqual({ status: 0, said: "" });
  },
);

test.each([
  "inspect tree",
  "inspect --json tree",
  "backup tree",
  "--help",
  "--version",
  "chmod --live --json 0750 tree/one",
])("%s > /dev/full says that it cannot write, and exits with 2", (args) => {
  const { status, said } = virtio9p(args, "> /dev/full");
  expect([status, said]).toEqual([2, expect.stringMatching(/standard output cannot be written: ENOSPC/)]);
});

test("a reader that has enough of a list is no error, and one of a backup is: nothing is said", () => {
  expect(virtio9p("inspect tree", "| head -n 1 > /dev/null")).toEqual({ status: 0, said: "" });
  expect(virtio9p("inspect tree", "2> /dev/full | head -n 1 > /dev/null").status).toBe(0);
});

test("what is said is lost without harm where standard error is full", () => {
  expect(virtio9p("chown --live 7 tree/one", "2> /dev/full").status).toBe(0);
});
