import { mkdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { Guest, records } from "./support/lab";
import { minimalDomain, onCommandLine } from "./support/minimal-domain";
import { output, run } from "./support/run";
import { Stack } from "./support/stack";

/** Two exports of one tree: one that reads beside one that writes, and a second that would write too. */
describe("a directory that two domains have", () => {
  const [writer, reader] = [new Guest("writer", "small"), new Guest("reader", "small")];
  const other = minimalDomain("v9p-writer-other");
  const stack = new Stack();
  const base = "/srv/v9p-writers";
  const source = `${base}/tree`;
  const share = { source, domain: writer.domain, tag: "tree", guest: { mountPoint: "/mnt/tree" } };

  beforeAll(async () => {
    rmSync(base, { recursive: true, force: true });
    mkdirSync(`${source}/child/grandchild`, { recursive: true });
    for (const name of ["bound", "bound-child", "apart"]) mkdirSync(`${base}/${name}`);
    await output("chown", ["-R", "64055:64055", source]);
    await output("mount", ["--bind", source, `${base}/bound`]);
    await output("mount", ["--bind", `${source}/child`, `${base}/bound-child`]);
    symlinkSync(source, `${base}/link`);
    await Promise.all([stack.open(), writer.define(), reader.define()]);
  });

  afterAll(async () => {
    stack.declare({});
    await stack.pulumi("up");
    await Promise.all([writer.remove(), reader.remove(), other.remove()]);
    await run("umount", [`${base}/bound`]);
    await run("umount", [`${base}/bound-child`]);
    stack.close();
    rmSync(base, { recursive: true, force: true });
  });

  it.each<[string, string, string]>([
    ["the same directory", "tree", "it is the same directory"],
    ["through a link", "link", "it is the same directory"],
    ["through a bind mount", "bound", "it is the same directory"],
    ["one inside it", "tree/child", "the second lies in the first"],
    ["one inside it, through a bind mount", "bound-child/grandchild", "the second lies in the first"],
    ["one above it", ".", "the first lies in the second"],
  ])("is refused to a second writer, with the first one's name: %s", async (_, path, how) => {
    const theirs = `${base}/${path}`.replace(/\/\.$/, "");
    await other.define(
      `<filesystem type='mount'><source dir='${theirs}'/><target dir='theirs'/></filesystem>`,
    );
    stack.declare({ share });
    const up = await stack.pulumi("up");
    expect(up.code).not.toBe(0);
    const said = up.stdout + up.stderr;
    expect(said).toContain(
      `${source} would be written to by ${writer.domain} (tree) and by v9p-writer-other (9p, theirs, ${theirs}): ${how} [secondWriter]`,
    );
    expect(await records(source)).toEqual([]);
  });

  it("is refused to a second writer that has it over virtiofs, or only live", async () => {
    stack.declare({ share });
    await other.define(
      `<filesystem type='mount'><driver type='virtiofs'/><source dir='${source}'/><target dir='theirs'/></filesystem>`,
    );
    expect((await stack.pulumi("up")).stdout).toMatch(
      /by v9p-writer-other \(virtiofs, theirs, .*\[secondWriter\]/,
    );
    await other.define(
      `<filesystem type='mount'><source dir='${source}'/><target dir='theirs'/></filesystem>`,
    );
    await other.virsh("start", "--paused");
    await other.detach("theirs");
    expect(await other.virsh("dumpxml", "--inactive")).not.toContain("theirs");
    expect((await stack.pulumi("up")).stdout).toMatch(/by v9p-writer-other \(9p, theirs, .*\[secondWriter\]/);
    await other.virsh("destroy");
    await other.define("");
  });

  it("is refused to a second writer that has it by arguments for QEMU", async () => {
    await other.define("", onCommandLine(source, "theirs"));
    stack.declare({ share });
    const { stdout } = await stack.pulumi("up");
    expect(stdout).toMatch(
      /by v9p-writer-other \(9p on QEMU's command line, theirs, \S*\): it is the same directory \[secondWriter\]/,
    );
    await other.define("");
    expect(await records(source)).toEqual([]);
  });

  it("has a tag of its own: one that the domain's QEMU has by its arguments is taken", async () => {
    await other.define("", onCommandLine(`${base}/link`, "tree"));
    stack.declare({ share: { source: `${base}/apart`, domain: "v9p-writer-other", tag: "tree" } });
    const { stdout } = await stack.pulumi("up");
    expect(stdout).toMatch(/a 9p device on QEMU's command line .*\[tagTaken\]/);
    await other.define("");
    expect(await records(`${base}/apart`)).toEqual([]);
  });

  it("is refused to one of two shares of one program that come at the same time, naming the other", async () => {
    stack.declare({
      one: { ...share, tag: "one" },
      two: { source: `${source}/child`, domain: reader.domain },
    });
    const up = await stack.pulumi("up", ["--continue-on-error"]);
    const said = up.stdout + up.stderr;
    // Their directories lie in each other, so they take turns; which of them comes first is chance.
    const refusals = [
      /by v9p-writer \(one\) and by v9p-reader \(.*\[secondWriter\]/,
      /by v9p-reader \(two\) and by v9p-writer \(.*\[secondWriter\]/,
    ];
    expect(refusals.filter((refusal) => refusal.test(said))).toHaveLength(1);
    stack.declare({});
    await stack.must("up");
    expect(await records(source)).toEqual([]);
  });

  it("is taken by two where otherWriters allows it, and a refresh of who refuses names the other", async () => {
    stack.declare({ share: { ...share, guest: undefined } });
    await stack.must("up");
    await other.define(
      `<filesystem type='mount'><source dir='${source}'/><target dir='theirs'/></filesystem>`,
    );
    const refresh = await stack.must("refresh");
    expect(refresh.stdout).toMatch(
      /warning: .*would be written to by v9p-writer \(tree\) and by v9p-writer-other/,
    );
    stack.declare({ share: { ...share, guest: undefined, otherWriters: "allow" } });
    await stack.must("up");
    expect((await stack.must("refresh", ["--expect-no-changes"])).stdout).not.toMatch(
      /warning: .*would be written/,
    );
    stack.declare({});
    await stack.must("up");
    await other.define("");
  });

  it("is read in a second guest that cannot write, not even as root", async () => {
    await Promise.all([writer.boot(), reader.boot()]);
    stack.declare({
      share: { ...share, power: "restart" },
      look: { ...share, domain: reader.domain, readOnly: true, power: "restart" },
    });
    await stack.must("up");
    expect([(await stack.share("share"))["status"], (await stack.share("look"))["status"]]).toEqual([
      "active",
      "active",
    ]);
    await writer.sh("echo written > /mnt/tree/file");
    expect(await reader.sh("cat /mnt/tree/file")).toBe("written\n");
    expect(
      await reader.sh(
        "mount -o remount,rw /mnt/tree 2>/dev/null; id -u; echo mine > /mnt/tree/file 2>/dev/null || echo refused",
      ),
    ).toBe("0\nrefused\n");
    expect(
      await reader.sh(
        "rm -f /mnt/tree/file 2>/dev/null; mkdir /mnt/tree/new 2>/dev/null; cat /mnt/tree/file",
      ),
    ).toBe("written\n");
    writeFileSync(`${source}/from-host`, "host\n", { mode: 0o644 });
    expect(await reader.sh("cat /mnt/tree/from-host")).toBe("host\n");
    stack.declare({});
    await stack.must("up");
    expect(await records(source)).toEqual([]);
  });
});
