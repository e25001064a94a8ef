import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Guest, records, root } from "./support/lab";
import { type Ended, output, run } from "./support/run";
import { Stack } from "./support/stack";

/** The command `virtio9p`, against what QEMU wrote and reads. */
describe("the command", () => {
  const guest = new Guest("command", "small");
  const stack = new Stack();
  const base = "/srv/v9p-command";
  const source = `${base}/tree`;
  const virtio9p = (...args: readonly string[]): Promise<Ended> =>
    run(process.execPath, [join(root, "dist/cli/virtio9p.js"), ...args]);
  const shell = (script: string): Promise<string> => output("bash", ["-ec", script, "bash", source, base]);

  /** Name, type and mode, owner, group and device of all that the guest has there, as its stat(1) says. */
  const inGuest = (): Promise<string> =>
    guest.sh("cd /mnt/tree && find . -print0 | LC_ALL=C sort -z | xargs -0 stat -c '%n|%f|%u|%g|%t:%T'");
  const dump = async (of: string): Promise<string> => {
    const { stdout, code } = await virtio9p("backup", of);
    expect(code).toBe(0);
    return stdout.split("\n\n").sort().join("\n\n");
  };

  beforeAll(async () => {
    rmSync(base, { recursive: true, force: true });
    mkdirSync(source, { recursive: true });
    await Promise.all([stack.open(), guest.boot()]);
    stack.declare({
      share: {
        source,
        domain: guest.domain,
        power: "restart",
        guest: { mountPoint: "/mnt/tree", options: { nodev: false } },
      },
    });
    await stack.must("up");
    await guest.sh(`cd /mnt/tree
awk 'BEGIN { srand(9); for (i = 0; i < 1000; i++) {
  name = "e" i; uid = int(rand() * 70000); gid = int(rand() * 4294967294); mode = sprintf("%o", int(rand() * 4096))
  kind = i % 6
  if (kind == 0) print "mkdir " name
  if (kind == 1) print "ln -s target" i " " name
  if (kind == 2) print "mkfifo " name
  if (kind == 3) print "mknod " name " b " int(rand() * 4096) " " int(rand() * 1048576)
  if (kind == 4) print "mknod " name " c " int(rand() * 256) " " int(rand() * 256)
  if (kind == 5) print "echo " i " > " name
  print "chown -h " uid ":" gid " " name
  if (kind != 1) print "chmod " mode " " name
} }' | sh -e
sync`);
  });

  afterAll(async () => {
    await guest.remove();
    stack.close();
    rmSync(base, { recursive: true, force: true });
  });

  it("lists each of a thousand entries of all types as stat in the guest says", async () => {
    const { stdout, code } = await virtio9p("inspect", "--json", source);
    expect(code).toBe(0);
    const types: Record<string, number> = {
      fifo: 0o010000,
      character: 0o020000,
      directory: 0o040000,
      block: 0o060000,
      file: 0o100000,
      link: 0o120000,
    };
    const listed = stdout
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line) as Record<string, string>)
      .map((one) => {
        expect(one["damage"]).toEqual([]);
        const mode = (types[one["type"] ?? ""] ?? 0) + Number.parseInt(one["mode"] ?? "", 8);
        const [major = 0, minor = 0] = (one["device"] ?? "0:0").split(":").map(Number);
        const name = (one["path"] ?? "").replace(source, ".");
        return `${name}|${mode.toString(16)}|${one["uid"]}|${one["gid"]}|${major.toString(16)}:${minor.toString(16)}`;
      })
      .sort();
    expect(listed).toHaveLength(1001);
    expect(listed.join("\n")).toBe((await inGuest()).trimEnd().split("\n").sort().join("\n"));
  });

  it("changes nothing while the guest runs, but where that is asked for", async () => {
    const before = await dump(source);
    for (const args of [
      ["chown", "5", `${source}/e5`],
      ["chmod", "-R", "0700", source],
      ["restore", source, "/dev/null"],
    ]) {
      const { code, stderr } = await virtio9p(...args);
      expect(code).toBe(2);
      expect(stderr).toContain("is exported to v9p-command, which runs [domainRuns]");
    }
    expect(await dump(source)).toBe(before);
    expect((await virtio9p("chown", "--live", "4242", `${source}/e5`)).code).toBe(0);
    // Its cache may hold the former one for as long as it likes: the attributes are what counts.
    expect((await virtio9p("inspect", `${source}/e5`)).stdout).toMatch(/^-\S+ +4242 /);
  });

  it("gives wiped attributes back from its own backup, and from getfattr's, and setfattr takes it", async () => {
    await guest.shutDown();
    const { stdout: own } = await virtio9p("backup", source);
    writeFileSync(`${base}/own`, own);
    await shell(
      `cd "$1"; getfattr -R -h --absolute-names -d -m '^user\\.virtfs\\.' . > "$2/by-getfattr" 2>/dev/null`,
    );
    const before = await dump(source);
    const wipe = (): Promise<string> =>
      shell(`for one in uid gid mode rdev; do
find "$1" -print0 | xargs -0 setfattr -h -x user.virtfs.$one -- 2>/dev/null || :; done`);
    for (const way of [
      () => virtio9p("restore", source, `${base}/own`),
      () => virtio9p("restore", source, `${base}/by-getfattr`),
      () => run("setfattr", ["-h", `--restore=${base}/own`], { cwd: source }),
    ]) {
      await wipe();
      expect(await dump(source)).toBe("");
      expect(await way()).toMatchObject({ code: 0 });
      expect(await dump(source)).toBe(before);
    }
  });

  it("keeps them through tar and through rsync", async () => {
    const before = await dump(source);
    await shell(`tar --xattrs -cf "$2/tree.tar" -C "$1" .
mkdir "$2/by-tar" "$2/by-rsync"; tar --xattrs -xpf "$2/tree.tar" -C "$2/by-tar"
rsync -aX "$1/" "$2/by-rsync/"`);
    expect(await dump(`${base}/by-tar`)).toBe(before);
    expect(await dump(`${base}/by-rsync`)).toBe(before);
  });

  it("chown and chmod are what the guest sees at its next start", async () => {
    const before = await dump(source);
    expect((await virtio9p("chmod", "2751", `${source}/e0`)).code).toBe(0);
    const changed = await virtio9p("chown", "-R", "--json", "7:8", source);
    expect(JSON.parse(changed.stdout)).toEqual({ entries: 1001, changed: 1001, failed: 0 });
    await guest.bootDefined();
    const seen = (await inGuest()).trimEnd().split("\n");
    expect(seen.filter((line) => !line.includes("|7|8|"))).toEqual([]);
    expect(seen.find((line) => line.startsWith("./e0|"))).toBe("./e0|45e9|7|8|0:0");
    await guest.shutDown();
    expect((await virtio9p("restore", source, `${base}/own`)).code).toBe(0);
    expect(await dump(source)).toBe(before);
    await guest.bootDefined();
    await stack.must("destroy");
    expect(await records(source)).toEqual([]);
  });
});
