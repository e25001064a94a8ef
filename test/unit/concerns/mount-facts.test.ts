import { type ChildProcess, spawn } from "node:child_process";
import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { holdersOf, mountPointOf } from "../../../provider/concerns/mount-facts";
import { runFact } from "../shell-machine";

/** Who uses a mount, asked of this machine's own processes. */
describe("holdersOf", () => {
  let folder: string;
  const started: ChildProcess[] = [];
  const inFolder = (text: string) => text.replaceAll("/proc/self/mountinfo", join(folder, "mountinfo"));
  const sleep = (cwd: string, output: number | "ignore"): string => {
    const child = spawn("sleep", ["300"], { cwd, stdio: ["ignore", output, "ignore"] });
    started.push(child);
    return `sleep (${child.pid ?? 0})`;
  };
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "virtio9p-holders-"));
  });
  afterEach(() => {
    for (const child of started.splice(0)) child.kill();
    rmSync(folder, { recursive: true });
  });

  test.each(["share", "with space"])("%j: by directory and by open file, and who writes", async (name) => {
    const path = join(folder, name);
    mkdirSync(join(path, "sub"), { recursive: true });
    mkdirSync(`${path}2`);
    const escaped = path.replaceAll(" ", "\\040");
    writeFileSync(join(folder, "mountinfo"), `36 1 0:999999 / ${escaped} rw - 9p foobar rw\n`);
    writeFileSync(join(path, "file"), "");
    const files = [openSync(join(path, "file"), "r"), openSync(join(path, "file"), "a")];
    const [inside, reader, writer] = [
      sleep(join(path, "sub"), "ignore"),
      sleep("/", files[0] ?? 0),
      sleep("/", files[1] ?? 0),
    ];
    sleep(`${path}2`, "ignore");
    for (const file of files) closeSync(file);
    await new Promise((resolve) => setTimeout(resolve, 200));
    const found = [...runFact(holdersOf(path), inFolder)].sort((a, b) => (a.who < b.who ? -1 : 1));
    expect(found).toEqual(
      [
        { who: inside, writes: false },
        { who: reader, writes: false },
        { who: writer, writes: true },
      ].sort((a, b) => (a.who < b.who ? -1 : 1)),
    );
  });

  test("by another mount of the same file system, in any mount namespace, each place once", () => {
    const line = (at: string, device = "0:999999"): string => `36 1 ${device} / ${at} rw - 9p foobar rw\n`;
    const processes = {
      [process.pid]: line("/mnt/a") + line("/var/www"),
      7000001: line("/mnt/a") + line("/var/www") + line("/a\\040b") + line("/other", "0:999998"),
    };
    for (const [pid, text] of Object.entries(processes)) {
      mkdirSync(join(folder, "proc", pid), { recursive: true });
      writeFileSync(join(folder, "proc", pid, "mountinfo"), text);
    }
    writeFileSync(join(folder, "mountinfo"), line("/mnt/a"));
    const rewrite = (text: string) =>
      inFolder(text).replaceAll("/proc/[0-9]*/mountinfo", join(folder, "proc/[0-9]*/mountinfo"));
    expect(runFact(holdersOf("/mnt/a"), rewrite)).toEqual([
      {
        who: expect.stringMatching(`^\\S+ \\(${process.pid}\\), which has it at /var/www$`) as string,
        writes: false,
      },
      { who: " (7000001), which has it at /a\\040b", writes: false },
    ]);
  });

  test("of what is not mounted there are none", () => {
    writeFileSync(join(folder, "mountinfo"), "");
    sleep(folder, "ignore");
    expect(runFact(holdersOf(folder), inFolder)).toEqual([]);
  });
});

describe("mountPointOf", () => {
  let folder: string;
  beforeEach(() => {
    folder = realpathSync(mkdtempSync(join(tmpdir(), "virtio9p-point-")));
    mkdirSync(join(folder, "real/full/file"), { recursive: true });
    symlinkSync("real", join(folder, "link"));
    symlinkSync("/nowhere/at all", join(folder, "dangling"));
  });
  afterEach(() => {
    rmSync(folder, { recursive: true });
  });

  test.each<[string, string, boolean, string | undefined, string]>([
    ["real", "directory", false, undefined, "real"],
    ["real/full/file", "directory", true, undefined, "real/full/file"],
    ["real/new/er", "missing", true, "real/new", "real/new/er"],
    ["link", "other", false, undefined, "link"],
    ["link/full", "directory", false, undefined, "real/full"],
    ["link/new/er", "missing", true, "link/new", "real/new/er"],
  ])("%s is %s", (path, kind, empty, firstMissing, realPath) => {
    expect(runFact(mountPointOf(join(folder, path)))).toEqual({
      kind,
      empty,
      firstMissing: firstMissing && join(folder, firstMissing),
      realPath: join(folder, realPath),
    });
  });

  test("a link to nothing above it leads to what is not there", () => {
    expect(runFact(mountPointOf(join(folder, "dangling/new"))).realPath).not.toContain("dangling");
  });

  test("what is mounted is not looked into", () => {
    const at = join(folder, "link/mounted");
    writeFileSync(join(folder, "mountinfo"), `36 1 0:45 / ${at} rw - 9p foobar rw\n`);
    const rewrite = (text: string) => text.replaceAll("/proc/self/mountinfo", join(folder, "mountinfo"));
    expect(runFact(mountPointOf(at), rewrite)).toMatchObject({ kind: "directory", realPath: at });
  });
});
