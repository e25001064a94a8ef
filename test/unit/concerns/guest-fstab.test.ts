import {
  existsSync,
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
import { fstabEntryOf, guestFstab } from "../../../provider/concerns/guest-fstab";
import { type FstabEntry, formatFstabEntry } from "../../../provider/formats/fstab";
import { specOf } from "../sample";
import { does, runFact, runScript, runSteps } from "../shell-machine";

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
