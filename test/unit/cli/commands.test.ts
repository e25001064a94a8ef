import { backup, change, inspect, restore } from "../../../provider/cli/commands";
import { ScratchTree } from "../scratch-tree";

/** The command on real trees of this machine, as root. */
const tree = new ScratchTree(`mkdir -p tree/sub; touch tree/a tree/sub/b
setfattr -n user.virtfs.uid -v 0xe8030000 tree/a tree/sub/b`);
const options = { connect: "qemu:///system", live: true };

/** What a command printed, said, and exited with. */
async function told(work: () => Promise<number>): Promise<{ out: string; said: string; status: number }> {
  const of = (stream: NodeJS.WriteStream): { text: () => string } => {
    const spy = jest.spyOn(stream, "write").mockReturnValue(true);
    return {
      text: () => {
        const pieces = spy.mock.calls.map(([piece, encoding]) =>
          Buffer.from(piece as string, encoding as BufferEncoding),
        );
        spy.mockRestore();
        return Buffer.concat(pieces).toString("latin1");
      },
    };
  };
  const [out, said] = [of(process.stdout), of(process.stderr)];
  try {
    const status = await work();
    return { status, out: out.text(), said: said.text() };
  } finally {
    jest.restoreAllMocks();
  }
}
const uids = (): string =>
  tree.bash("getfattr -R -h -n user.virtfs.uid -e hex tree 2>/dev/null | grep -v '^$' | sort").trim();
const restored = (dump: string, more: object = {}) => {
  tree.bash(`cat > dump <<'EOF'\n${dump}\nEOF`);
  return told(() => restore(tree.path, `${tree.folder}/dump`, { ...options, ...more }));
};

describe("a backup", () => {
  test("with names of any bytes is taken by setfattr, and gives all back", async () => {
    tree.bash(String.raw`cd tree; touch -- $'new\nline' $'c\rr' 'back\slash' $'\xff\xfe' -n '# file: x' "$(printf %0255d 7)"
setfattr -h -n user.virtfs.gid -v 0x07000000 -- *; setfacl -m u:7:r a
setfattr -n user.virtfs.system.posix_acl_access -v "$(getfattr -e hex -n system.posix_acl_access a | sed -n 's/^system.*=//p')" a`);
    const all = (): string =>
      tree.bash("cd tree; find . -print0 | sort -z | xargs -0 getfattr -h -d -m '^user' -e hex -- | base64");
    const before = all();
    const { out, said, status } = await told(() => backup(tree.path));
    expect([said, status]).toEqual(["", 0]);
    tree.bash(`base64 -d > dump <<'EOF'\n${Buffer.from(out, "latin1").toString("base64")}\nEOF`);
    const wipe = (): string =>
      tree.bash(`cd tree; for one in uid gid system.posix_acl_access; do
find . -print0 | xargs -0 setfattr -h -x user.virtfs.$one -- 2>/dev/null || :; done`);
    for (const way of [
      () => tree.bash("cd tree; setfattr -h --restore=../dump"),
      () => told(() => restore(tree.path, `${tree.folder}/dump`, options)),
    ]) {
      wipe();
      expect(all()).not.toBe(before);
      await way();
      expect(all()).toBe(before);
    }
  });

  test("says what is damaged, and is restored but for that", async () => {
    tree.bash("setfattr -n user.virtfs.uid -v 0x0100 tree/a");
    const { out, said, status } = await told(() => backup(tree.path));
    expect([said, status]).toEqual(["virtio9p: 1 entry with damaged attributes\n", 0]);
    tree.bash("setfattr -x user.virtfs.uid tree/a; setfattr -x user.virtfs.uid tree/sub/b");
    const again = await restored(out);
    expect(again.said).toBe(
      "virtio9p: ./a: user.virtfs.uid has 2 bytes, not 4\nvirtio9p: 1 entry could not be set, and was left out\nvirtio9p: 2 entries, 1 changed, 1 failed\n",
    );
    expect(again.status).toBe(1);
    expect(uids()).toBe("# file: tree/sub/b\nuser.virtfs.uid=0xe8030000");
  });
});

describe("restore", () => {
  test.each([
    ["../outside", "leads out of the directory"],
    ["sub/../../outside", "leads out of the directory"],
    ["/etc/passwd", "leads out of the directory"],
  ])("sets nothing where a name is %s", async (name, what) => {
    tree.bash("touch outside");
    const before = uids();
    const dump = `# file: a\nuser.virtfs.uid=0x05000000\n\n# file: ${name}\nuser.virtfs.uid=0x05000000\n`;
    await expect(restored(dump)).rejects.toThrow(what);
    expect(uids()).toBe(before);
    expect(tree.bash("getfattr -d outside")).toBe("");
  });

  test("sets nothing of what is no dump", async () => {
    const before = uids();
    await expect(restored("# file: a\nuser.virtfs.uid=0x05000000\n\nroot:x:0:0")).rejects.toThrow(
      "line 4: it belongs to no file",
    );
    expect(uids()).toBe(before);
  });

  test("follows no link, names what is not there, and leaves other attributes out", async () => {
    tree.bash("mkdir outside; touch outside/x; ln -s ../outside tree/link");
    const dump = ["link/x", "gone", "a"].map(
      (name) => `# file: ${name}\nuser.virtfs.uid=0x05000000\nuser.other="1"\n`,
    );
    const { said, status } = await restored(dump.join("\n"), { json: true });
    expect(status).toBe(1);
    expect(said).toMatch(/setfattr: link\/x: .*\n.*setfattr: gone: No such file or directory\n/);
    expect(said).toContain("2 entries could not be set\n");
    expect(said).toContain("3 attributes that are not a guest's were left out");
    expect(tree.bash("getfattr -d outside/x")).toBe("");
    expect(tree.bash("getfattr -d -e hex --absolute-names tree/a")).toBe(
      "# file: tree/a\nuser.virtfs.uid=0x05000000\n\n",
    );
  });
});

describe("a tree with another file system in it", () => {
  beforeEach(() => {
    tree.bash("mkdir tree/m; touch tree/m/hidden; mount -t tmpfs tmpfs tree/m; touch tree/m/there");
  });
  afterEach(() => {
    tree.bash("umount tree/m");
  });
  const left =
    "virtio9p: another file system, subvolume or mount begins there and was left out, to be given by itself: ./m\n";

  test("is listed and backed up without what the mount hides, and that is said", async () => {
    const { out, said, status } = await told(() => inspect([tree.path], { json: true }));
    expect([said, status]).toEqual([left, 1]);
    expect(out).not.toMatch(/hidden|\/m/);
    expect(await told(() => backup(tree.path))).toMatchObject({ said: left, status: 1 });
    const inner = await told(() => inspect([`${tree.path}/m`], {}));
    expect([inner.said, inner.status]).toEqual(["", 0]);
    expect(inner.out).toMatch(/\/m\n.*\/m\/there\n$/);
  });

  test("is changed without it", async () => {
    const { said, status } = await told(() =>
      change([tree.path], { uid: 5 }, { ...options, recursive: true }),
    );
    expect([said, status]).toEqual([`${left}virtio9p: 4 entries, 4 changed, 0 failed\n`, 1]);
    const dump = "# file: m/hidden\nuser.virtfs.uid=0x05000000\n";
    const again = await restored(dump);
    expect([again.said.includes("m/hidden: ./m is on another file system"), again.status]).toEqual([true, 1]);
    tree.bash("umount tree/m");
    expect(tree.bash("getfattr -R -d tree/m")).toBe("");
    tree.bash("mount -t tmpfs tmpfs tree/m");
  });
});

test("what cannot be changed is counted once for each entry", async () => {
  tree.bash("cd tree; seq 15 | sed s/^/i/ | xargs touch; chattr +i i*");
  try {
    const all = { ...options, recursive: true };
    const { said, status } = await told(() => change([tree.path], { uid: 5, gid: 6 }, all));
    expect(status).toBe(1);
    expect(said.match(/setfattr: \.\/i\d+: Operation not permitted/g)).toHaveLength(10);
    expect(said).toContain("15 entries could not be changed; the first 10 are above");
    expect(said).toContain("19 entries, 4 changed, 15 failed");
  } finally {
    tree.bash("chattr -i tree/i*");
  }
});

test("an access list that fills its block does not hide what is listed with it", async () => {
  tree.bash(`cd tree; seq 300 | sed s/^/f/ | xargs touch
value=0x02000000$(printf %03968d 0)
for one in access default; do setfattr -n user.virtfs.system.posix_acl_$one -v $value f1; done 2>/dev/null || :
getfattr -n user.virtfs.system.posix_acl_access f1 >/dev/null`);
  const { out, said, status } = await told(() => inspect([tree.path], { json: true }));
  expect([said, status]).toEqual(["", 0]);
  const listed = out
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as { path: string; uid: number; acl: boolean });
  expect(listed).toHaveLength(304);
  expect(listed.filter(({ acl }) => acl).map(({ path }) => path.slice(tree.path.length))).toEqual(["/f1"]);
  expect(listed.filter(({ uid }) => uid === 1000)).toHaveLength(2);
});

test("a path that is not there, or leads through a link, is an error that says so", async () => {
  tree.bash("ln -s tree link");
  await expect(inspect([`${tree.folder}/none`], {})).rejects.toThrow("none is not there [sourceMissing]");
  await expect(inspect([`${tree.folder}/link/a`], {})).rejects.toThrow(/leads through a link to .*tree\/a/);
});
