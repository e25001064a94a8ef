import { mkdirSync, rmSync } from "node:fs";
import { records } from "./support/lab";
import { minimalDomain } from "./support/minimal-domain";
import { everythingIn } from "./support/populate";
import { output } from "./support/run";
import { Stack } from "./support/stack";

/** Trees on file systems that are read-only, full, over a quota, without user attributes, or of several parts. */
describe("the file system of a tree that is taken over", () => {
  const stack = new Stack();
  const domain = minimalDomain("v9p-treefs");
  const base = "/srv/v9p-treefs";
  const at = `${base}/fs`;
  const source = `${at}/tree`;
  const shell = (script: string): Promise<string> =>
    output("bash", ["-ec", script, "bash", base, at, source], { timeoutMs: 120_000 });
  const share = { source, domain: "v9p-treefs", directory: { recursive: true } };

  /** Refused or failed with this code, and nothing is another than before; gives what was printed. */
  const fails = async (code: string): Promise<string> => {
    const before = await everythingIn(source);
    stack.declare({ share });
    const { stdout, stderr, code: status } = await stack.pulumi("up");
    const text = stdout + stderr;
    expect([status !== 0, text.includes(`[${code}]`) || text]).toEqual([true, true]);
    expect(await everythingIn(source)).toBe(before);
    return text;
  };
  /** From there on it goes on, and gives everything back. */
  const finishes = async (before: string): Promise<void> => {
    await stack.must("up");
    expect(await output("find", [source, "!", "-type", "l", "!", "-user", "64055"])).toBe("");
    await stack.must("up", ["--expect-no-changes"]);
    await stack.must("destroy");
    expect(await everythingIn(source)).toBe(before);
    expect(await records(source)).toEqual([]);
  };

  beforeAll(async () => {
    rmSync(base, { recursive: true, force: true });
    mkdirSync(at, { recursive: true });
    await Promise.all([stack.open(), domain.define("")]);
  });
  afterEach(async () => {
    await shell('umount -R "$2"; rm -f "$1/image"');
  });
  afterAll(async () => {
    await domain.remove();
    stack.close();
    rmSync(base, { recursive: true, force: true });
  });

  /** Two thousand files of others, whose attributes need a block each, for their inodes are full. */
  const fill = `mkdir "$3"; cd "$3"; seq 2000 | sed 's/^/f/' | xargs touch
seq 2000 | awk '{ print "# file: f" $0 "\\nuser.own=\\"'$(printf %040d 1)'\\"\\n" }' | setfattr --restore=-
seq 2000 | awk '{ print "# file: f" $0 "\\n# owner: " 1000 + $0 "\\n# group: 7\\nuser::rw-\\ngroup::r--\\nother::---\\n" }' | setfacl --restore=-`;

  it("read-only: refused before anything is changed, and done when it no more is", async () => {
    await shell(`truncate -s 64M "$1/image"; mkfs.ext4 -q "$1/image"; mount -o loop "$1/image" "$2"; ${fill}
cd /; mount -o remount,ro "$2"`);
    const before = await everythingIn(source);
    expect(await fails("fileSystemReadOnly")).toContain(`mount -o remount,rw ${at}`);
    expect(await records(source)).toEqual([]);
    await shell('mount -o remount,rw "$2"');
    await finishes(before);
  });

  it("full: what was done is taken back, and the next up finishes when there is room", async () => {
    await shell(`truncate -s 24M "$1/image"; mkfs.ext4 -q "$1/image"; mount -o loop "$1/image" "$2"; ${fill}
mkdir "$2/ballast"; for one in 1 2 3; do dd if=/dev/zero of="$2/ballast/$one" bs=1k 2>/dev/null || sync; done`);
    const before = await everythingIn(source);
    expect(await fails("fileSystemFull")).toContain("No space left on device");
    await shell('rm -r "$2/ballast"');
    await finishes(before);
  });

  it("over a quota: the same", async () => {
    await shell(`truncate -s 200M "$1/image"; mkfs.btrfs -q "$1/image"; mount -o loop "$1/image" "$2"
btrfs -q subvolume create "$2/of"; btrfs quota enable "$2"; umount "$2"
mount -o loop,subvol=of "$1/image" "$2"; ${fill}
cd /; sync; btrfs qgroup limit 1M "$2"`);
    const before = await everythingIn(source);
    expect(await fails("fileSystemFull")).toContain("Disk quota exceeded");
    await shell('btrfs quota disable "$2"');
    await finishes(before);
  });

  it("one without user attributes is refused", async () => {
    await shell('mount -t ramfs ramfs "$2"; mkdir "$3"; touch "$3/a"; chown 1234 "$3/a"');
    await fails("noUserAttributes");
  });

  it("subvolumes and mounts inside are named and refused, and left as they are where that is asked for", async () => {
    await shell(`truncate -s 200M "$1/image"; mkfs.btrfs -q "$1/image"; mount -o loop "$1/image" "$2"
mkdir "$3" "$3/mounted"; btrfs -q subvolume create "$3/sub"; touch "$3/sub/a" "$3/b"; chown -R 1234 "$3"
mount -t tmpfs tmpfs "$3/mounted"`);
    const text = await fails("treeOfFileSystems");
    expect(text).toMatch(/ \(2: (mounted, sub|sub, mounted)\)/);
    const before = await everythingIn(source);
    stack.declare({ share: { ...share, directory: { recursive: true, otherFileSystems: "leave" } } });
    await stack.must("up");
    expect(await shell('stat -c %u "$3/sub" "$3/sub/a" "$3/mounted" "$3/b"')).toBe("1234\n1234\n0\n64055\n");
    await stack.must("destroy");
    expect(await everythingIn(source)).toBe(before);
    await shell('umount "$3/mounted"');
  });
});
