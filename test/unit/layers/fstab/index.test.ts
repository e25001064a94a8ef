import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { guestFstab } from "../../../../provider/layers/fstab/index";
import { fstabEntryOf } from "../../../../provider/spec/spec";
import { type FstabEntry, formatFstabEntry } from "../../../../provider/formats/fstab";
import { specOf } from "../../sample";
import { does, runFact, runScript, runSteps } from "../../shell-machine";

const want = (args: Record<string, unknown> = {}, guest: Record<string, unknown> = {}): FstabEntry => {
  const entry = fstabEntryOf(specOf({ ...args, guest: { mountPoint: "/mnt/a", ...guest } }));
  if (!entry) throw new Error("no entry");
  return entry;
};
const ours = "foobar    /mnt/a    9p   trans=virtio,version=9p2000.L,_netdev,nofail,nodev,msize=131072 0 0";

test("the entry of a share without a guest is none", () => {
  expect(fstabEntryOf(specOf())).toBeUndefined();
});

test("with the seed's options the line is the seed's, to the letter", () => {
  const options = { nofail: false, nodev: false, msizeBytes: 0 };
  const [step] = guestFstab.plan(
    want({}, { mountPoint: "/mnt/foobar", options }),
    { fstab: "" },
    undefined,
    false,
  ).steps;
  expect(step?.run.text).toContain(
    "'foobar    /mnt/foobar    9p   trans=virtio,version=9p2000.L,_netdev 0 0'",
  );
});

describe("plan", () => {
  test.each<[string, string | undefined, string[]]>([
    ["no line", "", ["add the line of /mnt/a in fstab"]],
    ["no file", undefined, ["add the line of /mnt/a in fstab"]],
    ["ours", `${ours}\n`, []],
    [
      "ours in another order and other columns",
      "foobar /mnt/a/ 9p msize=131072,nodev,nofail,_netdev,version=9p2000.L,trans=virtio\n",
      [],
    ],
    ["ours with other options", "foobar /mnt/a 9p trans=virtio 0 0\n", ["set the line of /mnt/a in fstab"]],
    ["ours as a comment", `#${ours}\n`, ["add the line of /mnt/a in fstab"]],
    ["the tag elsewhere", "foobar /mnt/b 9p trans=virtio 0 0\n", ["add the line of /mnt/a in fstab"]],
  ])("%s", (_, fstab, steps) => {
    const plan = guestFstab.plan(want(), { fstab }, undefined, false);
    expect(plan.refuse).toBeUndefined();
    expect(does(plan)).toEqual(steps);
  });

  test.each([
    ["another tag", "other /mnt/a 9p trans=virtio 0 0"],
    ["another file system", "UUID=1 /mnt/a ext4 defaults 0 0"],
  ])("refuses %s at the mount point", (_, line) => {
    expect(guestFstab.plan(want(), { fstab: `${line}\n` }, undefined, false)).toEqual({
      refuse: [
        {
          code: "mountPointTaken",
          what: `/mnt/a is taken in the guest's fstab by "${line}"; this share would mount foobar there`,
          remedy: "choose another mount point, or take that line out",
        },
      ],
      steps: [],
    });
  });

  test("a line under another tag is set anew where the share had this mount point", () => {
    const plan = guestFstab.plan(want(), { fstab: "other /mnt/a 9p trans=virtio 0 0\n" }, undefined, true);
    expect(plan.refuse).toBeUndefined();
    expect(does(plan)).toEqual(["set the line of /mnt/a in fstab"]);
  });

  test("what was found at first contact says nothing of whose another line is", () => {
    const seen = { fstab: "other /mnt/a 9p trans=virtio 0 0\n" };
    const plan = guestFstab.plan(want(), seen, { line: null, fstab: true }, false);
    expect(plan.refuse?.map(({ code }) => code)).toEqual(["mountPointTaken"]);
  });

  test.each([false, true])("of two lines the stranger's is named, known %s", (known) => {
    const fstab = `UUID=1 /mnt/a ext4 defaults 0 0\n${ours}\n`;
    expect(guestFstab.plan(want(), { fstab }, undefined, known).refuse?.[0]?.what).toContain(
      'by "UUID=1 /mnt/a ext4',
    );
  });
});

describe("drift", () => {
  test.each<[string, string | undefined, string, string[]]>([
    ["ours", `${ours}\n`, "ok", []],
    ["none", "", "missing", ["the guest's fstab has no line for /mnt/a"]],
    ["no file", undefined, "missing", ["the guest's fstab has no line for /mnt/a"]],
    ["a stranger's", "other /mnt/a 9p ro 0 0\n", "missing", ["the guest's fstab has no line for /mnt/a"]],
  ])("%s", (_, fstab, state, notes) => {
    expect(guestFstab.drift(want(), { fstab })).toEqual({ state, args: {}, notes });
  });

  const seed = "trans=virtio,version=9p2000.L,_netdev";
  test.each<[string, Record<string, unknown>, string, Record<string, unknown>]>([
    [
      "flags taken out and put in",
      {},
      `${seed},nodev,nosuid,noexec,x-systemd.automount,msize=131072`,
      { nofail: false, nosuid: true, noexec: true, automount: true },
    ],
    ["no msize", {}, `${seed},nofail,nodev`, { msizeBytes: 0 }],
    ["another msize", {}, `${seed},nofail,nodev,msize=65536`, { msizeBytes: 65536 }],
    ["no _netdev", {}, "trans=virtio,version=9p2000.L,nofail,nodev,msize=131072", { netdev: false }],
    [
      "what has no default, taken out",
      { cache: "loose", access: "1000", context: "a:b:c:s0:c1,c2" },
      `${seed},nofail,nodev,msize=131072`,
      { cache: null, access: null, context: null },
    ],
    [
      "what has no default, changed",
      { cache: "loose", context: "a:b:c:s0" },
      `${seed},nofail,nodev,msize=131072,cache=mmap,access=any,context="a:b:c:s0:c1,c2"`,
      { cache: "mmap", access: "any", context: "a:b:c:s0:c1,c2" },
    ],
    [
      "extra",
      { extra: ["noatime", "x-a=b"] },
      `${seed},nofail,nodev,msize=131072,x-a=b`,
      { extra: ["x-a=b"] },
    ],
    ["an option that check refuses", {}, `${seed},nofail,nodev,msize=131072,noatme,cache=lose`, {}],
    ["one of each", {}, `${seed},nofail,nodev,msize=131072,noatme,noatime`, { extra: ["noatime"] }],
    ["a missing trans", {}, "version=9p2000.L,_netdev,nofail,nodev,msize=131072", {}],
    ["ro", {}, `${seed},nofail,nodev,ro,msize=131072`, {}],
    ["the two last fields", {}, `${seed},nofail,nodev,msize=131072 0 2`, {}],
  ])("arguments: %s", (_, options, text, args) => {
    const wanted = want({}, { options });
    const line = `foobar /mnt/a 9p ${text}`;
    const drift = guestFstab.drift(wanted, { fstab: `${line}\n` });
    expect(drift).toEqual({
      state: "differs",
      args: Object.fromEntries(Object.entries(args).map(([key, value]) => [`guest.options.${key}`, value])),
      notes: [`the guest's fstab has "${line}", wanted is "${formatFstabEntry(wanted)}"`],
    });
    // What read returns as inputs must pass check again: ignoreChanges hands it back.
    const given = Object.entries({ ...options, ...args }).filter(([, value]) => value !== null);
    expect(() => want({}, { options: Object.fromEntries(given) })).not.toThrow();
  });
});

describe("on a real file", () => {
  let folder: string;
  let file: string;
  const inFolder = (text: string) =>
    text.replaceAll("/etc/fstab", file).replaceAll("/run/systemd/system", "/nowhere");
  const lookAt = () => ({ fstab: runFact(guestFstab.facts(want()).fstab, inFolder) });
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "virtio9p-fstab-"));
    file = join(folder, "fstab");
  });
  afterEach(() => {
    rmSync(folder, { recursive: true });
  });

  test.each<[string, string]>([
    ["an ordinary one", "# a\nUUID=1 / ext4 defaults 0 1\n"],
    ["without a last line end", "UUID=1 / ext4 defaults 0 1"],
    ["an empty one", ""],
    ["one with CRLF", "UUID=1 / ext4 defaults 0 1\r\n#\r\n"],
    ["one with bytes that are no UTF-8", "# \xe4\xff\nUUID=1 / ext4 defaults 0 1\n"],
    ["one with our line of before", `a /b c d 0 0\nfoobar\t/mnt/a 9p ro 0 0 # 'mine'\nx /y z o 0 0\n`],
  ])("%s: added, read back, given back to the byte, mode kept", (_, text) => {
    writeFileSync(file, text, { encoding: "latin1", mode: 0o640 });
    const first = lookAt();
    expect(first.fstab).toBe(text);
    const before = JSON.parse(JSON.stringify(guestFstab.remember(want(), first))) as ReturnType<
      typeof guestFstab.remember
    >;
    const plan = guestFstab.plan(want(), first, undefined, false);
    runSteps(plan.steps, inFolder);
    const second = lookAt();
    expect(guestFstab.drift(want(), second).state).toBe("ok");
    expect(does(guestFstab.plan(want(), second, before, true))).toEqual([]);
    runSteps(guestFstab.restore(want(), before, second).steps, inFolder);
    expect(readFileSync(file, "latin1")).toBe(text);
    expect(statSync(file).mode & 0o777).toBe(0o640);
    // And by undo.
    runSteps(plan.steps, inFolder);
    for (const step of plan.steps) if (step.undo) runScript(step.undo, inFolder);
    expect(readFileSync(file, "latin1")).toBe(text);
  });

  test("a mount point that is spelled through a link is seen where it leads", () => {
    const at = (name: string): string => join(folder, name);
    mkdirSync(at("re al/50%/deep"), { recursive: true });
    symlinkSync("re al/50%", at("li nk à"));
    const wanted = want({}, { mountPoint: at("re al/50%/deep/new") });
    const spelled = `${folder}/li\\040nk\\040à/deep/new`;
    const { fstab, links } = guestFstab.facts(wanted);
    const seenWith = (line: string) => {
      writeFileSync(file, `# ${line}\nUUID=1 / ext4 defaults 0 1\nUUID=2 none swap\n${line}\n`);
      return { fstab: runFact(fstab, inFolder), links: links && runFact(links, inFolder) };
    };
    const other = seenWith(`other ${spelled} 9p ro`);
    expect(guestFstab.plan(wanted, other, undefined, false).refuse?.map(({ code }) => code)).toEqual([
      "mountPointTaken",
    ]);
    const same = seenWith(formatFstabEntry(wanted).replace(/\S*re\\040al\S*/, spelled));
    expect(guestFstab.plan(wanted, same, undefined, false)).toEqual({ steps: [] });
    expect(guestFstab.drift(wanted, same).state).toBe("ok");
    expect(guestFstab.plan(wanted, seenWith("other /mnt/b 9p ro"), undefined, false).refuse).toBeUndefined();
  });

  test.each([0, 1, 17, 300])(
    "%i lines through links are seen where they lead, and as many others left alone",
    (count) => {
      const wanted = want({}, { mountPoint: join(folder, "real/17/new") });
      mkdirSync(join(folder, "real/17"), { recursive: true });
      symlinkSync("real", join(folder, "link"));
      const linesOf = (name: string) =>
        Array.from({ length: count }, (_, index) => `x${index} ${folder}/${name}/${index}/new 9p ro\n`);
      writeFileSync(file, [...linesOf("link"), ...linesOf("no-link")].join(""));
      const { fstab, links } = guestFstab.facts(wanted);
      const seen = { fstab: runFact(fstab, inFolder), links: links && runFact(links, inFolder) };
      expect(seen.links?.size).toBe(count);
      const { refuse = [] } = guestFstab.plan(wanted, seen, undefined, false);
      // x17 is at the place of ours, where there are so many.
      expect(refuse.map(({ code }) => code)).toEqual(count > 17 ? ["mountPointTaken"] : []);
    },
  );

  test("one that is not there: made for all to read, and removed again", () => {
    const first = lookAt();
    expect(first).toEqual({ fstab: undefined });
    const before = guestFstab.remember(want(), first);
    runSteps(guestFstab.plan(want(), first, undefined, false).steps, inFolder);
    expect(readFileSync(file, "utf8")).toBe(`${ours}\n`);
    expect((statSync(file).mode & 0o777).toString(8)).toBe("644");
    runSteps(guestFstab.restore(want(), before, lookAt()).steps, inFolder);
    expect(existsSync(file)).toBe(false);
  });

  test("one that is a link stays one", () => {
    writeFileSync(join(folder, "real"), "# a\n");
    symlinkSync("real", file);
    runSteps(guestFstab.plan(want(), lookAt(), undefined, false).steps, inFolder);
    expect(readFileSync(join(folder, "real"), "utf8")).toBe(`# a\n${ours}\n`);
    unlinkSync(file);
  });

  test("lines that others added meanwhile stay", () => {
    writeFileSync(file, "# a\n");
    const first = lookAt();
    const before = guestFstab.remember(want(), first);
    runSteps(guestFstab.plan(want(), first, undefined, false).steps, inFolder);
    writeFileSync(file, `${readFileSync(file, "utf8")}x /y z o 0 0\n`);
    runSteps(guestFstab.restore(want(), before, lookAt()).steps, inFolder);
    expect(readFileSync(file, "utf8")).toBe("# a\nx /y z o 0 0\n");
  });

  test("names that a shell or fstab would take apart", () => {
    const odd = want({ tag: "it's # $(id) \\040" }, { mountPoint: "/mnt/a b'\"$x\\" });
    writeFileSync(file, "");
    runSteps(guestFstab.plan(odd, lookAt(), undefined, false).steps, inFolder);
    expect(guestFstab.drift(odd, lookAt()).state).toBe("ok");
  });
});

test("a line of another type is somebody else's, even where our own stood before", () => {
  const stranger = "/dev/vdb1 /mnt/a ext4 defaults 0 2\n";
  const plan = guestFstab.plan(want(), { fstab: stranger }, { line: null, fstab: true }, true);
  expect(plan.refuse?.map(({ code }) => code)).toEqual(["mountPointTaken"]);
});

describe("a line that stands there already", () => {
  const known = "foobar /mnt/a 9p trans=virtio,version=9p2000.L,_netdev,nofail,nodev,msize=131072 0 0";
  test.each([
    ["/mnt//a", "other"],
    ["/mnt/./a", "other"],
    ["/mnt/a/", "other"],
  ])("is seen at %s", (mountPoint) => {
    const fstab = `other ${mountPoint} 9p trans=virtio 0 0\n`;
    const plan = guestFstab.plan(want(), { fstab }, undefined, false);
    expect(plan.refuse?.map(({ code }) => code)).toEqual(["mountPointTaken"]);
  });

  test("with a comment behind our options is refused with the difference, and is drift", () => {
    const fstab = `${known.replace(" 0 0", "")} # by hand\n`;
    const plan = guestFstab.plan(want(), { fstab }, undefined, true);
    expect([plan.steps, plan.refuse?.[0]?.what]).toEqual([
      [],
      `the guest's fstab has "${fstab.trim()}" for /mnt/a, and mount(8) ignores the line, and the boot does not`,
    ]);
    expect(guestFstab.drift(want(), { fstab })).toMatchObject({ state: "differs", args: {} });
    // The way down takes it out all the same.
    expect(does(guestFstab.restore(want(), { line: null, fstab: true }, { fstab }))).toEqual([
      "take the line of /mnt/a in fstab",
    ]);
  });

  test("with a comment behind the last field is as wanted", () => {
    const fstab = `${known} # by hand\n`;
    expect(guestFstab.drift(want(), { fstab }).state).toBe("ok");
  });

  test("beside ours is drift", () => {
    const fstab = `${known}\nother /mnt//a 9p ro 0 0\n`;
    expect(guestFstab.drift(want(), { fstab })).toMatchObject({
      state: "differs",
      notes: [expect.stringContaining('by "other /mnt//a 9p ro 0 0"')],
    });
  });

  test("in a unit of systemd is refused at first, and said later", () => {
    const units = ["/etc/systemd/system/mnt-a.mount"];
    const first = guestFstab.plan(want(), { fstab: "", units }, undefined, false);
    expect([first.refuse?.[0]?.code, first.refuse?.[0]?.what]).toEqual([
      "mountPointTaken",
      "the guest has /etc/systemd/system/mnt-a.mount for /mnt/a, which systemd takes instead of a line in fstab, or beside it",
    ]);
    const later = guestFstab.plan(want(), { fstab: `${known}\n`, units }, undefined, true);
    expect([later.refuse, later.steps, later.warnings?.length]).toEqual([undefined, [], 1]);
    expect(guestFstab.drift(want(), { fstab: `${known}\n`, units }).state).toBe("differs");
  });

  test("with bytes that are no UTF-8 is remembered by its bytes, and records of before are read", () => {
    const line = "foobar /mnt/a 9p x-note=caf\xe9";
    const before = guestFstab.remember(want(), { fstab: `${line}\n` });
    expect(before).toEqual({
      line: "foobar /mnt/a 9p x-note=caf\ufffd",
      fstab: true,
      base64: Buffer.from(line, "latin1").toString("base64"),
    });
    const back = guestFstab.restore(want(), before, { fstab: `${known}\n` }).steps[0]?.run.text;
    expect(back).toContain("\\143\\141\\146\\351");
    expect(guestFstab.restore(want(), before, { fstab: `${line}\n` }).steps).toEqual([]);
    const older = guestFstab.restore(
      want(),
      { line: "foobar /mnt/a 9p ro", fstab: true },
      { fstab: `${known}\n` },
    );
    expect(older.steps[0]?.run.text).toBe(`edit_lines '/etc/fstab' '${known}' 'foobar /mnt/a 9p ro' 'keep'`);
  });

  test.each<[Partial<Parameters<typeof guestFstab.plan>[1]>, string]>([
    [{ obstacle: { kind: "immutable", path: "/etc/fstab" } }, "fileProtected"],
    [{ obstacle: { kind: "mount", path: "/etc/fstab" } }, "fileProtected"],
    [{ fstab: "# a\0\n" }, "fileProtected"],
  ])("a file that cannot be written is refused, and only where it has to be: %j", (seen, code) => {
    const plan = guestFstab.plan(want(), { fstab: "", ...seen }, undefined, false);
    expect(plan.refuse?.map((one) => one.code)).toEqual([code]);
    const done = guestFstab.plan(want(), { ...seen, fstab: `${known}\n` }, undefined, false);
    expect(done).toEqual({ steps: [] });
  });
});
