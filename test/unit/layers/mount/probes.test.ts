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
import { holdersOf, mountPointOf } from "../../../../provider/layers/mount/probes";
import { runFact } from "../../shell-machine";

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

  test("by another mount of the same file system that would stay, in any mount namespace, each place once", () => {
    const root = (groups: string) => `1 0 8:1 / / rw${groups} - ext4 /dev/vda rw\n`;
    const at = (id: number, point: string, parent = 1, device = "0:999999") =>
      `${id} ${parent} ${device} / ${point} rw shared:9 - 9p foobar rw\n`;
    const own = root(" shared:1") + at(36, "/mnt/a") + at(37, "/var/www");
    // Behind our own in the order of names, whatever number we have: a process has at most 4194304 (proc(5)).
    const processes: Record<string, [namespace: string, mountinfo: string]> = {
      [process.pid]: ["mnt:[1]", own],
      99999991: ["mnt:[1]", own],
      // A service of systemd, and a snap: what they have goes with the guest's own.
      99999992: ["mnt:[2]", root(" master:1") + at(46, "/mnt/a") + at(47, "/var/www")],
      99999993: [
        "mnt:[3]",
        `5 1 8:1 / /hostfs rw master:1 - ext4 /dev/vda rw\n${at(56, "/hostfs/mnt/a", 5)}`,
      ],
      // A container, and somebody who unshared it.
      99999994: ["mnt:[4]", root(" master:8") + at(66, "/a\\040b") + at(67, "/x", 1, "0:999998")],
      99999995: ["mnt:[5]", root("") + at(76, "/mnt/a")],
    };
    for (const [pid, [namespace, text]] of Object.entries(processes)) {
      mkdirSync(join(folder, "proc", pid, "ns"), { recursive: true });
      symlinkSync(namespace, join(folder, "proc", pid, "ns/mnt"));
      writeFileSync(join(folder, "proc", pid, "mountinfo"), text);
    }
    writeFileSync(join(folder, "mountinfo"), own);
    const rewrite = (text: string) =>
      inFolder(text)
        .replaceAll("/proc/[0-9]*/ns/mnt", join(folder, "proc/[0-9]*/ns/mnt"))
        .replaceAll('"/proc/$process/mountinfo"', `"${folder}/proc/$process/mountinfo"`);
    const found = runFact(holdersOf("/mnt/a"), rewrite).map(({ who }) => who.replace(/^\S* /, ""));
    expect(found.sort()).toEqual(
      [
        `(${process.pid}), which has it at /var/www`,
        "(99999994), which has it at /a\\040b",
        "(99999995), which has it at /mnt/a",
      ].sort(),
    );
  });

  test("a guest with more open files than one command takes as arguments", () => {
    const path = join(folder, "share");
    mkdirSync(path);
    writeFileSync(join(folder, "mountinfo"), `36 1 0:999999 / ${path} rw - 9p foobar rw\n`);
    // Their names alone are more than 2 MiB, the stack of a process by default (execve(2), man-pages 6.03).
    const fds = join(folder, "proc/99999990/fd");
    mkdirSync(fds, { recursive: true });
    const long = "1".repeat(180);
    for (let index = 0; index < 12_000; index += 1) symlinkSync("/nowhere", join(fds, `${long}${index}`));
    symlinkSync(join(path, "open"), join(fds, "3"));
    const rewrite = (text: string) =>
      inFolder(text)
        .replaceAll("/proc/[0-9]*/", `${folder}/proc/[0-9]*/`)
        .replace(".* /proc/", `.* ${folder}/proc/`);
    expect(runFact(holdersOf(path), rewrite)).toEqual([{ who: " (99999990)", writes: true }]);
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
    mkdirSync(join(folder, "ends in a space "));
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
    ["ends in a space ", "directory", true, undefined, "ends in a space "],
    ["new ", "missing", true, "new ", "new "],
    ["link", "other", false, undefined, "link"],
    ["link/full", "directory", false, undefined, "real/full"],
    ["link/new/er", "missing", true, "link/new", "real/new/er"],
  ])("%s is %s", (path, kind, empty, firstMissing, realPath) => {
    const { entries, ...found } = runFact(mountPointOf(join(folder, path)));
    expect(entries).toEqual(!empty && kind === "directory" ? expect.any(Array) : undefined);
    expect(found).toEqual({
      kind,
      empty,
      firstMissing: firstMissing && join(folder, firstMissing),
      realPath: join(folder, realPath),
    });
  });

  test("what is in it is listed to any depth, as far as twenty", () => {
    expect(runFact(mountPointOf(join(folder, "real"))).entries).toEqual([
      join(folder, "real/full"),
      join(folder, "real/full/file"),
    ]);
    for (let index = 0; index < 30; index += 1) mkdirSync(join(folder, "real/full/file", String(index)));
    expect(runFact(mountPointOf(join(folder, "real"))).entries).toHaveLength(20);
  });

  test("what cannot be listed is not empty", () => {
    const says = "ls: cannot open directory '/mnt/a': Permission denied";
    const refused = (text: string): string => `ls() { echo "${says}" >&2; return 2; }\n${text}`;
    expect(runFact(mountPointOf(join(folder, "real")), refused)).toEqual({
      ...{ kind: "directory", empty: false, unreadable: "Permission denied" },
      ...{ firstMissing: undefined, realPath: join(folder, "real") },
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
