import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, mkdirSync, mkdtempSync, openSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { holdersOf } from "../../../provider/concerns/mount-facts";
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
    writeFileSync(join(folder, "mountinfo"), `36 1 0:45 / ${escaped} rw - 9p foobar rw\n`);
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

  test("of what is not mounted there are none", () => {
    writeFileSync(join(folder, "mountinfo"), "");
    sleep(folder, "ignore");
    expect(runFact(holdersOf(folder), inFolder)).toEqual([]);
  });
});
