import {
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
  existsSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { guestMount } from "../../../../provider/layers/mount/index";
import { isMountedAt } from "../../../../provider/layers/shared/guest";
import { alone } from "../../../../provider/engine/layer";
import { parseMountinfo } from "../../../../provider/formats/mountinfo";
import { device, domainOf, specOf } from "../../sample";
import { does, runFact, runScript, runSteps } from "../../shell-machine";

type Seen = Parameters<typeof guestMount.plan>[1];
type Want = Parameters<typeof guestMount.plan>[0];
const want = (guest: Record<string, unknown> = {}, args: Record<string, unknown> = {}): Want => {
  const wanted = guestMount.want(specOf({ ...args, guest: { mountPoint: "/mnt/a", ...guest } }));
  if (!wanted) throw new Error("not managed");
  return wanted;
};
const mountsOf = (...lines: string[]) => parseMountinfo(lines.join("\n"));
const shown = "36 1 0:45 / /mnt/a rw,nodev,relatime - 9p foobar rw,access=client,msize=131072,trans=virtio";
const autofs = "30 1 0:40 / /mnt/a rw,relatime - autofs systemd-1 rw,fd=1";
const seenOf = (lines: readonly string[], more: Partial<Seen> = {}): Seen => ({
  mounts: mountsOf(...lines),
  mountPoint: { kind: "directory", empty: true, firstMissing: undefined, realPath: "/mnt/a" },
  holders: [],
  release: "6.1.0-40-amd64",
  live: domainOf([device]),
  ...more,
});
const sleeper = { who: "sleep (412)", writes: false };
const writer = { who: "tee (7)", writes: true };
const missing = { kind: "missing" as const, empty: true, firstMissing: "/mnt/a", realPath: "/mnt/a" };
const mount = "mount /mnt/a in the guest";
const unmount = "unmount /mnt/a in the guest";
const remount = "remount /mnt/a in the guest with";

test("is wanted where there is a guest, and not before the next boot where that was asked", () => {
  expect(guestMount.want(specOf())).toBeUndefined();
  const atBoot = want({ mount: "boot" });
  expect(does(guestMount.plan(atBoot, seenOf([]), undefined, false))).toEqual([]);
  expect(guestMount.drift(atBoot, seenOf([])).state).toBe("unmanaged");
});

describe("plan", () => {
  test.each<[string, Seen, string[]]>([
    ["not mounted", seenOf([]), [mount]],
    ["no mount point", seenOf([], { mountPoint: missing }), ["make /mnt/a in the guest", mount]],
    ["mounted as wanted", seenOf([shown]), []],
    ["mounted as wanted, and in use", seenOf([shown], { holders: [sleeper] }), []],
    ["without nodev", seenOf([shown.replace("nodev,", "")]), [`${remount} nodev`]],
    ["with noexec", seenOf([shown.replace("nodev", "nodev,noexec")]), [`${remount} exec`]],
    ["with noatime", seenOf([shown.replace("relatime", "noatime")]), []],
    ["read-only", seenOf([shown.replace("rw,nodev", "ro,nodev")]), [`${remount} rw`]],
    ["flags, in use", seenOf([shown.replace("nodev,", "")], { holders: [writer] }), [`${remount} nodev`]],
    ["flags and more", seenOf([shown.replace("nodev,", "").replace("131072", "8192")]), [unmount, mount]],
    ["another msize", seenOf([shown.replace("131072", "8192")]), [unmount, mount]],
    ["the device is not live", seenOf([], { live: domainOf([]) }), []],
    ["the domain is off", seenOf([], { live: undefined }), []],
    ["an automount that waits", seenOf([autofs]), [unmount, mount]],
  ])("%s", (_, seen, steps) => {
    const plan = guestMount.plan(want(), seen, undefined, false);
    expect(plan.refuse).toBeUndefined();
    expect(does(plan)).toEqual(steps);
  });

  test("what takes an unmount waits while it is in use, and who holds it is named; flags do not wait", () => {
    const line = shown.replace("nodev,", "").replace("131072", "8192");
    const plan = guestMount.plan(want(), seenOf([line], { holders: [sleeper, writer] }), undefined, false);
    expect(does(plan)).toEqual([`${remount} nodev`]);
    expect(plan.warnings).toEqual([
      "/mnt/a keeps msize=8192 until nobody uses it, wanted is msize=131072: in use by sleep (412), tee (7)",
    ]);
  });

  test.each([
    ["a reader", [sleeper], [`${remount} ro, noexec`], undefined],
    [
      "a writer",
      [sleeper, writer],
      [`${remount} noexec`],
      ["/mnt/a keeps rw until nobody uses it, wanted is ro: in use by sleep (412), tee (7)"],
    ],
  ])("read-only, in use by %s", (_, holders, steps, warnings) => {
    const wanted = want({ options: { noexec: true } }, { readOnly: true });
    const plan = guestMount.plan(wanted, seenOf([shown], { holders }), undefined, false);
    expect([does(plan), plan.warnings]).toEqual([steps, warnings]);
    expect(plan.steps[0]?.run.text).toContain(warnings ? "remount,bind,rw,nodev,suid,noexec" : "bind,ro,");
  });

  test("mounted under another tag: replaced where the share had this mount point, unless it is in use", () => {
    const lines = [shown.replace("foobar", "former")];
    expect(does(guestMount.plan(want(), seenOf(lines), undefined, true))).toEqual([unmount, mount]);
    const busy = guestMount.plan(want(), seenOf(lines, { holders: [sleeper] }), undefined, true);
    expect([busy.refuse, busy.steps, busy.warnings]).toEqual([undefined, [], [expect.any(String)]]);
    const ext4 = seenOf(["36 1 8:1 / /mnt/a rw - ext4 /dev/vdb rw"]);
    const taken = guestMount.plan(want(), ext4, undefined, true);
    expect(taken.refuse?.map(({ code }) => code)).toEqual(["mountPointTaken"]);
  });

  test.each<[string, string[], boolean, string[]]>([
    ["switched on", [shown], true, [unmount, mount]],
    ["switched off", [autofs, shown], false, [unmount, mount]],
    ["on, and mounted by it", [autofs, shown], true, []],
    ["flags of what it mounted", [autofs, shown.replace("nodev,", "")], true, [`${remount} nodev`]],
  ])("an automount %s", (_, lines, automount, steps) => {
    const wanted = want({ options: { automount } });
    expect(does(guestMount.plan(wanted, seenOf(lines), undefined, true))).toEqual(steps);
    expect(guestMount.drift(wanted, seenOf(lines)).state).toBe(steps.length > 0 ? "differs" : "ok");
    const busy = guestMount.plan(wanted, seenOf(lines, { holders: [sleeper] }), undefined, true);
    expect(does(busy)).toEqual(steps.filter((step) => step.startsWith(remount)));
  });

  test("an automount that waits is as wanted where one is", () => {
    const wanted = want({ options: { automount: true } });
    expect(guestMount.drift(wanted, seenOf([autofs])).state).toBe("ok");
    expect(does(guestMount.plan(wanted, seenOf([autofs]), undefined, false))).toEqual([]);
  });

  test.each<[string, Seen, string]>([
    [
      "mountPointTaken",
      seenOf([shown.replace("foobar", "other")]),
      "other (9p) is mounted on /mnt/a; this share would mount foobar there",
    ],
    [
      "mountPointTaken",
      seenOf(["36 1 8:1 / /mnt/a rw - ext4 /dev/vdb rw"]),
      "/dev/vdb (ext4) is mounted on /mnt/a; this share would mount foobar there",
    ],
    [
      "mountPointTaken",
      seenOf([], {
        mountPoint: { kind: "other", empty: false, firstMissing: undefined, realPath: "/mnt/a" },
      }),
      "/mnt/a is not a directory",
    ],
    [
      "mountPointIsLink",
      seenOf([], { mountPoint: { ...missing, realPath: "/var/mnt/a" } }),
      "/mnt/a leads through a link to /var/mnt/a in the guest, and that is what the kernel would call it",
    ],
    [
      "mountBusy",
      seenOf([shown.replace("/mnt/a", "/elsewhere")]),
      "foobar is mounted on /elsewhere in the guest already, and a kernel mounts a virtio device once",
    ],
    [
      "mountPointNotEmpty",
      seenOf([], {
        mountPoint: { ...missing, kind: "directory", empty: false, unreadable: "Permission denied" },
      }),
      "/mnt/a cannot be listed in the guest: Permission denied; what is in it the share would hide",
    ],
    [
      "mountPointNotEmpty",
      seenOf([], {
        mountPoint: { kind: "directory", empty: false, firstMissing: undefined, realPath: "/mnt/a" },
      }),
      "/mnt/a has files in it, which the share would hide",
    ],
  ])("refuses with %s", (code, seen, what) => {
    const plan = guestMount.plan(want(), seen, undefined, false);
    expect([plan.refuse?.map((one) => [one.code, one.what]), plan.steps]).toEqual([[[code, what]], []]);
  });

  test.each([
    ["ro", { kind: "none" as const, path: "/mnt" }, "fileSystemReadOnly"],
    ["rw", { kind: "immutable" as const, path: "/mnt" }, "fileProtected"],
  ])("a mount point that cannot be made is refused, live or not: %s, %j", (mode, obstacle, code) => {
    const root = `1 0 8:1 / / ${mode} - ext4 /dev/vda ${mode}`;
    for (const live of [domainOf([device]), domainOf([])]) {
      const plan = guestMount.plan(
        want(),
        seenOf([root], { mountPoint: missing, obstacle, live }),
        undefined,
        false,
      );
      expect([plan.refuse?.map((one) => one.code), plan.steps]).toEqual([[code], []]);
    }
    expect(guestMount.plan(want(), seenOf([root], { obstacle }), undefined, false).refuse).toBeUndefined();
  });

  test("does not refuse for what this share itself leaves, has under a bind mount, or mounts at the next boot", () => {
    const before = seenOf([shown.replace("/mnt/a", "/mnt/former")]);
    const context = { ...alone, mountPoints: new Set(["/mnt/a", "/mnt/former"]) };
    expect(guestMount.plan(want(), before, undefined, false, context).refuse).toBeUndefined();
    const bound = seenOf([shown, shown.replace("/mnt/a", "/var/www")]);
    expect(guestMount.plan(want(), bound, undefined, true).refuse).toBeUndefined();
    const elsewhere = seenOf([shown.replace("/mnt/a", "/elsewhere")]);
    expect(guestMount.plan(want({ mount: "boot" }), elsewhere, undefined, false).refuse).toBeUndefined();
  });
});

test("what keeps a mount point from being made is asked, and nothing is looked into that may hang", () => {
  const { obstacle } = guestMount.facts(want());
  expect(obstacle && runFact(obstacle, (text) => text.replaceAll("/mnt/a", "/proc"))).toMatchObject({
    kind: "mount",
  });
});

describe("scripts", () => {
  const readOnly = shown.replace("rw,nodev", "ro,nodev");
  const stepsOf = (lines: readonly string[], guest = {}) =>
    guestMount.plan(want(guest), seenOf(lines), undefined, true).steps;

  test.each([
    [
      "of the mount alone leave those of the file system as they are",
      shown.replace("nodev,", ""),
      "mount -t 9p -o 'remount,bind,rw,nodev,suid,exec,relatime,diratime' -- 'foobar' '/mnt/a'",
      "mount -t 9p -o 'remount,bind,rw,dev,suid,exec,relatime,diratime' -- 'foobar' '/mnt/a'",
    ],
    [
      "of a file system that is read-only keep its others",
      readOnly.replace("9p foobar rw", "9p foobar ro,sync,dirsync"),
      "mount -t 9p -o 'remount,sync,dirsync,rw,nodev,suid,exec,relatime,diratime' -- 'foobar' '/mnt/a'",
      "mount -t 9p -o 'remount,sync,dirsync,ro,nodev,suid,exec,relatime,diratime' -- 'foobar' '/mnt/a'",
    ],
  ])("flags %s", (_, line, run, undo) => {
    const [step] = stepsOf([line]);
    expect([step?.run, step?.undo].map((script) => script?.text.split("\n").at(-1))).toEqual([run, undo]);
  });

  test("the undo of an unmount mounts what there was, not what fstab says", () => {
    const line = shown
      .replace("131072", "8192")
      .replace("access=client", "sync,seclabel,cache=f,access=user");
    expect(stepsOf([line])[0]?.undo?.text).toContain(
      "mount -t 9p -o 'rw,nodev,relatime,sync,cache=loose,access=user,msize=8192,trans=virtio' -- 'foobar' '/mnt/a'",
    );
  });

  test("the undo of an automount's unmount starts it again", () => {
    const starts = "systemctl start 'mnt-a.automount'";
    expect(stepsOf([autofs])[0]?.undo?.text).toBe(starts);
    expect(stepsOf([autofs, shown])[0]?.undo?.text).toContain(starts);
  });
});

describe("while somebody else mounts it at the same moment", () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "virtio9p-mounting-"));
    writeFileSync(join(folder, "mountinfo"), "");
  });
  afterEach(() => {
    rmSync(folder, { recursive: true });
  });

  /** The mount step, with a mount(8) that says this; the other's mount is there 0.3 s later. */
  const mountAgainst = (says: string, status = 32, then = shown): void => {
    const [step] = guestMount.plan(want(), seenOf([]), undefined, false).steps;
    if (!step) throw new Error("no step");
    expect(step.code).toBe("mountFailed");
    const other = `mount() { ( sleep 0.3; echo '${then}' > ${folder}/mountinfo ) >/dev/null 2>&1 & ${says === "" ? "" : `echo '${says}' >&2;`} return ${status}; }
dmesg() { echo '[    1.5] 9pnet: Installing 9P2000 support'; echo '[    2.5] ext4'; echo '[   73.1] 9pnet_virtio: no channels available for device foobar'; }`;
    runScript(
      step.run,
      (text) => `${other}\n${text.replaceAll("/proc/self/mountinfo", `${folder}/mountinfo`)}`,
    );
  };

  test("a device that is busy is waited for", () => {
    mountAgainst("mount: /mnt/a: foobar already mounted or mount point busy.");
    expect(readFileSync(join(folder, "mountinfo"), "utf8")).toBe(`${shown}\n`);
  });

  test("any other failure is one at once, in its own words", () => {
    expect(() => {
      mountAgainst("mount: /mnt/a: bad option");
    }).toThrow(/bad option/);
  });

  test.each([
    ["", 0],
    ["mount: /mnt/a: special device foobar does not exist.", 32],
  ])(
    "what is not mounted failed, though mount(8) says %j and returns %d; the kernel's line is told",
    (says, status) => {
      expect(() => {
        mountAgainst(says, status, "");
      }).toThrow(
        /foobar is not mounted on \/mnt\/a\nkernel: .*Installing.*\nkernel: .*no channels available for device foobar/,
      );
    },
  );

  test("another mount there is not the share", () => {
    writeFileSync(join(folder, "mountinfo"), "36 1 8:1 / /mnt/a rw - ext4 /dev/vdb rw\n");
    expect(() => {
      mountAgainst("", 0, "36 1 8:1 / /mnt/a rw - ext4 /dev/vdb rw");
    }).toThrow(/foobar is not mounted on \/mnt\/a/);
  });
});

describe("mounts in mounts", () => {
  const root = "1 0 8:1 / / rw - ext4 /dev/vda rw";
  const outer = "36 1 0:45 / /mnt/a rw,nodev,relatime - 9p foobar rw,access=client,msize=131072,trans=virtio";
  const innerOn = (parent: number) =>
    `37 ${parent} 0:46 / /mnt/a/x/in rw,relatime - 9p inner rw,access=client,msize=131072,trans=virtio`;
  const full = {
    kind: "directory" as const,
    empty: false,
    firstMissing: undefined,
    realPath: "/mnt/a",
    entries: ["/mnt/a/x", "/mnt/a/x/in"],
  };
  const madeBy = (firstMissing: string | null) => [
    { identity: "/mnt/a/x/in", before: { firstMissing, mounted: false } },
  ];
  const unmountInner = "unmount /mnt/a/x/in in the guest";
  const removeInner = "remove /mnt/a/x/in, which /mnt/a hides, if it is empty";
  const again = "mount /mnt/a/x/in in the guest again";

  test.each<[string, string | null, string[]]>([
    ["a directory of its own", "/mnt/a/x", [unmountInner, removeInner, mount, again]],
    ["our mount point too", "/mnt/a", [unmountInner, removeInner, mount, again]],
    ["none", null, [unmountInner, mount, again]],
  ])("what lies in the mount point is mounted again in it; for it was made: %s", (_, made, steps) => {
    const seen = seenOf([root, innerOn(1)], { mountPoint: full, records: madeBy(made) });
    const plan = guestMount.plan(want(), seen, undefined, false);
    expect([plan.refuse, does(plan)]).toEqual([undefined, steps]);
    // Ours to remove at last is what was made for that one.
    expect(guestMount.remember(want(), seen)["firstMissing"]).toBe(made === "/mnt/a" ? "/mnt/a" : null);
  });

  test.each<[string, Seen, string]>([
    [
      "mountPointTaken",
      seenOf([root, innerOn(1).replace("9p inner", "ext4 /dev/vdb")], { mountPoint: full }),
      "/dev/vdb (ext4) is mounted on /mnt/a/x/in in the guest, which foobar on /mnt/a would hide",
    ],
    [
      "mountBusy",
      seenOf([root, innerOn(1)], { mountPoint: full, holders: [sleeper] }),
      "/mnt/a/x/in in the guest would be hidden by foobar on /mnt/a and has to be mounted anew, but is in use by sleep (412)",
    ],
    [
      "mountPointNotEmpty",
      seenOf([root, innerOn(1)], { mountPoint: { ...full, entries: [...full.entries, "/mnt/a/file"] } }),
      "/mnt/a has files in it, which the share would hide",
    ],
    [
      "mountBusy",
      seenOf([root, "36 1 0:45 / /mnt/a rw - 9p foobar rw", "37 1 0:46 / /mnt rw - tmpfs tmpfs rw"]),
      "foobar is mounted on /mnt/a in the guest, hidden by tmpfs (tmpfs) on /mnt",
    ],
  ])("refuses with %s", (code, seen, what) => {
    const plan = guestMount.plan(want(), seen, undefined, false);
    expect([plan.refuse?.map((one) => [one.code, one.what]), plan.steps]).toEqual([[[code, what]], []]);
  });

  test("one that is hidden is missing, and what hides it is named", () => {
    const seen = seenOf([root, outer, "38 1 0:47 / /mnt rw - tmpfs tmpfs rw"]);
    expect(guestMount.drift(want(), seen)).toEqual({
      state: "missing",
      args: {},
      notes: ["/mnt/a is not mounted in the guest in sight: it is hidden by tmpfs (tmpfs) on /mnt"],
      pending: "notMounted",
    });
    const back = guestMount.restore(want(), { firstMissing: null, mounted: false }, seen);
    expect(back.refuse?.[0]?.code).toBe("mountBusy");
  });

  test("on the way down the inner one goes first, and is named", () => {
    const seen = seenOf([root, outer, innerOn(36)]);
    const before = { firstMissing: null, mounted: false };
    expect(guestMount.restore(want(), before, seen, alone)).toEqual({
      refuse: [
        {
          code: "mountBusy",
          what: "/mnt/a is in use in the guest by inner (9p), which is mounted on /mnt/a/x/in",
          remedy: "destroy the share that is mounted in it first, or both in one operation; or unmount it",
        },
      ],
      steps: [],
    });
  });

  test("an option that takes an unmount waits for what is mounted in it", () => {
    const seen = seenOf([root, outer.replace("131072", "8192"), innerOn(36)]);
    expect(does(guestMount.plan(want(), seen, undefined, true))).toEqual([]);
    expect(guestMount.drift(want(), seen).pending).toBe("mountBusy");
  });
});

describe("restore", () => {
  const remove = "remove /mnt/a, if it is empty";
  test.each<[string, string | null, Seen, string[]]>([
    ["mounted, on a directory that was there", null, seenOf([shown]), [unmount]],
    ["mounted, on one that we made", "/mnt/a", seenOf([shown]), [unmount, remove]],
    ["not mounted", "/mnt/a", seenOf([]), [remove]],
    ["gone", "/mnt/a", seenOf([], { mountPoint: missing }), []],
    ["another's mount stays", null, seenOf([shown.replace("foobar", "other")]), []],
  ])("%s", (_, firstMissing, seen, steps) => {
    const plan = guestMount.restore(want(), { firstMissing, mounted: false }, seen);
    expect(plan.refuse).toBeUndefined();
    expect(does(plan)).toEqual(steps);
  });

  test("what was mounted at first contact stays mounted, in use or not", () => {
    const seen = seenOf([shown], { holders: [sleeper] });
    expect(guestMount.restore(want(), { firstMissing: null, mounted: true }, seen)).toEqual({ steps: [] });
  });

  test("refuses what is in use", () => {
    expect(
      guestMount.restore(
        want(),
        { firstMissing: null, mounted: false },
        seenOf([shown], { holders: [sleeper] }),
      ),
    ).toEqual({
      refuse: [
        {
          code: "mountBusy",
          what: "/mnt/a is in use in the guest by sleep (412)",
          remedy: "stop them, and try again: a share is never unmounted lazily or by force",
        },
      ],
      steps: [],
    });
  });
});

test.each<[string, string[], string]>([
  ["as wanted", [shown], "ok"],
  ["not mounted", [], "missing"],
  ["another's", [shown.replace("foobar", "other")], "missing"],
  ["an automount nobody asked for", [autofs], "missing"],
  ["below another mount", [shown, "37 36 8:1 / /mnt/a rw - ext4 /dev/vdb rw"], "missing"],
  ["other options", [shown.replace("nodev,", "")], "differs"],
])("drift: %s", (_, lines, state) => {
  expect(guestMount.drift(want(), seenOf(lines)).state).toBe(state);
});

test("drift has each argument that differs, and one note", () => {
  const line = shown.replace("nodev", "noexec").replace("131072", "8192").replace("rw,noexec", "ro,noexec");
  expect(guestMount.drift(want(), seenOf([line]))).toEqual({
    state: "differs",
    args: {
      "guest.options.nodev": false,
      "guest.options.noexec": true,
      "guest.options.msizeBytes": 8192,
    },
    notes: [
      "/mnt/a differs in its mount options: it has ro, dev, noexec, msize=8192; wanted is rw, nodev, exec, msize=131072",
    ],
    pending: "mountDiffers",
  });
});

test.each<[string, string, Seen["holders"], boolean]>([
  ["flags never wait", shown.replace("nodev,", ""), [sleeper], false],
  ["nor does what nobody uses", shown.replace("131072", "8192"), [], false],
  ["what takes an unmount does", shown.replace("131072", "8192"), [sleeper], true],
  ["not all waits", shown.replace("131072", "8192").replace("nodev,", ""), [sleeper], false],
])("busy: %s", (_, line, holders, busy) => {
  const { pending } = guestMount.drift(want(), seenOf([line], { holders }));
  expect(pending).toBe(busy ? "mountBusy" : "mountDiffers");
});

test("busy: read-only waits for who writes, and for nobody else", () => {
  const wanted = want({}, { readOnly: true });
  const pending = (holders: Seen["holders"]) =>
    guestMount.drift(wanted, seenOf([shown], { holders })).pending;
  expect([pending([sleeper]), pending([writer])]).toEqual(["mountDiffers", "mountBusy"]);
});

test("the output mountOptions: what the kernel uses, and nothing of another's mount or where it is not known", () => {
  const ofTag = (tag: string, seen?: ReturnType<typeof seenOf>) =>
    guestMount.outputs?.(want({}, { tag }), seen)["mountOptions"];
  expect(ofTag("foobar", seenOf([shown]))).toBe("rw,nodev,relatime,access=client,msize=131072,trans=virtio");
  expect([ofTag("other", seenOf([shown])), ofTag("foobar")]).toEqual(["", ""]);
});

describe("on a real directory", () => {
  let folder: string;
  const info = () => join(folder, "mountinfo");
  const inFolder = (text: string) => text.replaceAll("/proc/self/mountinfo", info());
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "virtio9p-mount-"));
    writeFileSync(info(), "");
  });
  afterEach(() => {
    rmSync(folder, { recursive: true });
  });
  const names = ["plain", "with space", "back\\there", "ends\\", "$(id)'\"", "tab\\there\\nnew"];

  test.each(names)(
    "%j: what is missing is found to the byte, made, and removed again, and no more",
    (name) => {
      mkdirSync(join(folder, "parent"));
      const mountPoint = join(folder, "parent", name, "sub");
      const wanted = want({ mountPoint });
      const { mountPoint: fact } = guestMount.facts(wanted);
      expect(runFact(fact, inFolder)).toEqual({
        kind: "missing",
        empty: true,
        firstMissing: join(folder, "parent", name),
        realPath: mountPoint,
      });
      const before = guestMount.remember(wanted, seenOf([], { mountPoint: runFact(fact, inFolder) }));
      mkdirSync(mountPoint, { recursive: true });
      runSteps(guestMount.restore(wanted, before, seenOf([])).steps, inFolder);
      expect([existsSync(join(folder, "parent", name)), existsSync(join(folder, "parent"))]).toEqual([
        false,
        true,
      ]);
    },
  );

  test.each([...names, "ideographic\u3000space", "no\u00a0break"])(
    "isMountedAt %j reads the kernel's escapes",
    (name) => {
      const path = join(folder, name);
      const script = isMountedAt(path);
      const mounted = () =>
        runScript({ text: `if ${script.text}; then echo yes; else echo no; fi` }, inFolder)
          .toString()
          .trim();
      expect(mounted()).toBe("no");
      const escaped = path.replace(
        /[ \t\n\\]/g,
        (one) => `\\${one.charCodeAt(0).toString(8).padStart(3, "0")}`,
      );
      writeFileSync(info(), `36 1 0:45 / ${escaped} rw - 9p foobar rw\n`);
      expect(mounted()).toBe("yes");
    },
  );

  test.each<[string, (path: string) => void, object]>([
    [
      "an empty directory",
      (path) => {
        mkdirSync(path);
      },
      { kind: "directory", empty: true },
    ],
    [
      "a full one",
      (path) => void mkdirSync(join(path, ".hidden"), { recursive: true }),
      { kind: "directory", empty: false },
    ],
    [
      "a file",
      (path) => {
        writeFileSync(path, "");
      },
      { kind: "other", empty: false },
    ],
    [
      "a link",
      (path) => {
        symlinkSync("/tmp", path);
      },
      { kind: "other", empty: false },
    ],
  ])("looks at %s", (_, make, expected) => {
    const path = join(folder, "x");
    make(path);
    const found = runFact(guestMount.facts(want({ mountPoint: path })).mountPoint, inFolder);
    expect(found).toMatchObject(expected);
  });
});
