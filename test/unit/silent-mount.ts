import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { existsSync, mkdirSync, rmdirSync } from "node:fs";

/**
 * A FUSE server of its own process: it answers the kernel's greeting, reads every request after it and answers none. Who
 * asks it waits in the kernel, and cannot be ended (fs/fuse/dev.c, request_wait_answer, Linux 6.1).
 */
const server = String.raw`
const fs = require("node:fs");
const { spawnSync } = require("node:child_process");
const fd = fs.openSync("/dev/fuse", "r+");
const at = process.argv[1];
const done = require("node:child_process").spawn("mount", ["-i", "-t", "fuse", "-o", "fd=3,rootmode=40000,user_id=0,group_id=0", "silent", at], { stdio: ["ignore", "inherit", "inherit", fd] });
done.on("close", (status) => {
  if (status !== 0) process.exit(1);
  const request = Buffer.alloc(200000);
  fs.read(fd, request, 0, request.length, null, (error) => {
    if (error) process.exit(2);
    const answer = Buffer.alloc(16 + 64);
    answer.writeUInt32LE(answer.length, 0);
    request.copy(answer, 8, 8, 16);
    answer.writeUInt32LE(7, 16);
    answer.writeUInt32LE(31, 20);
    fs.writeSync(fd, answer);
    const next = () => fs.read(fd, Buffer.alloc(200000), 0, 200000, null, (failed) => { if (!failed) next(); });
    next();
    console.log("ready");
  });
});
setInterval(() => {}, 1000);
`;

export class SilentMount {
  private constructor(
    private readonly path: string,
    private readonly process: ChildProcess,
  ) {}

  static at(path: string): SilentMount {
    if (!existsSync("/dev/fuse"))
      throw new Error("there is no /dev/fuse, which a server that does not answer needs");
    mkdirSync(path);
    const child = spawn(process.execPath, ["-e", server, path], { stdio: "inherit" });
    const mounted = (): boolean =>
      execFileSync("cat", ["/proc/self/mountinfo"], { encoding: "utf8" }).includes(` ${path} `);
    for (let turn = 0; turn < 100 && !mounted(); turn++) execFileSync("sleep", ["0.1"]);
    execFileSync("sleep", ["0.5"]);
    if (!mounted()) throw new Error("the silent file system was not mounted");
    return new SilentMount(path, child);
  }

  /** Whoever waits for it gets an error. */
  remove(): void {
    this.process.kill("SIGKILL");
    execFileSync("sleep", ["0.2"]);
    execFileSync("umount", ["-l", this.path]);
    rmdirSync(this.path);
  }
}
