import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { guestOwnership } from "../../../../provider/layers/root-owner/index";
import { parseMountinfo } from "../../../../provider/formats/mountinfo";
import { device, domainOf, specOf } from "../../sample";
import { does, runFact, runScript, runSteps } from "../../shell-machine";

type Seen = Parameters<typeof guestOwnership.plan>[1];
type Want = Parameters<typeof guestOwnership.plan>[0];
const want = (guest: Record<string, unknown>): Want => {
  const wanted = guestOwnership.want(specOf({ guest: { mountPoint: "/mnt/a", ...guest } }));
  if (!wanted) throw new Error("not managed");
  return wanted;
};
const seenOf = (more: Partial<Seen> = {}): Seen => ({
  root: { uid: 0, gid: 0, user: "root", group: "root", mode: 0o755 },
  ids: { "passwd alice": 1000, "group staff": 50 },
  mounts: parseMountinfo("36 1 0:45 / /mnt/a rw - 9p foobar rw\n"),
  live: domainOf([device]),
  ...more,
});

describe("want", () => {
  test.each([
    [{ mountPoint: "/mnt/a" }, false],
    [{ mountPoint: "/mnt/a", mode: "0750" }, true],
    [{ mountPoint: "/mnt/a", group: 0 }, true],
  ])("%j", (guest, managed) => {
    expect(guestOwnership.want(specOf({ guest })) !== undefined).toBe(managed);
  });
});

describe("plan", () => {
  test.each<[Record<string, unknown>, Partial<Seen>, string[]]>([
    [{ owner: 0, group: "0", mode: "755" }, {}, []],
    [{ owner: "alice" }, {}, ["chown /mnt/a to 1000 in the guest"]],
    [{ group: "staff" }, {}, ["chown /mnt/a to :50 in the guest"]],
    [
      { owner: "alice", group: "staff", mode: "2750" },
      {},
      ["chown /mnt/a to 1000:50 in the guest", "chmod /mnt/a to 2750 in the guest"],
    ],
    [{ mode: "0755" }, { mounts: [] }, ["chmod /mnt/a to 0755 in the guest"]],
    [{ owner: 0 }, { mounts: [], root: undefined }, ["chown /mnt/a to 0 in the guest"]],
    [{ owner: 0 }, { root: "Permission denied" }, ["chown /mnt/a to 0 in the guest"]],
    [{ owner: 7 }, { live: domainOf([]) }, []],
    [{ owner: 7 }, { live: undefined }, []],
  ])("%j, %j", (guest, seen, steps) => {
    expect(does(guestOwnership.plan(want(guest), seenOf(seen), undefined, false))).toEqual(steps);
  });

  test("setgid survives: chown comes before chmod, and a chown clears it", () => {
    const root = { uid: 0, gid: 0, user: "root", group: "root", mode: 0o2750 };
    expect(
      does(
        guestOwnership.plan(want({ owner: "alice", mode: "2750" }), seenOf({ root }), undefined, false),
      )[0],
    ).toBe("chown /mnt/a to 1000 in the guest");
  });

  test("every name that the guest has not is refused", () => {
    const plan = guestOwnership.plan(
      want({ owner: "bob", group: "nobody-here" }),
      seenOf(),
      undefined,
      false,
    );
    expect(plan).toEqual({
      refuse: [
        { code: "unknownUser", what: "the guest has no user bob", remedy: "make it there, or give a number" },
        {
          code: "unknownUser",
          what: "the guest has no group nobody-here",
          remedy: "make it there, or give a number",
        },
      ],
      steps: [],
    });
  });
});

test.each<[Record<string, unknown>, Partial<Seen>, string, object]>([
  [{ owner: 0, mode: "0755" }, {}, "ok", {}],
  [
    { owner: "alice", group: 50, mode: "0700" },
    {},
    "differs",
    { "guest.owner": "root", "guest.group": "root", "guest.mode": "0755" },
  ],
  [{ owner: "alice" }, { mounts: [] }, "unknown", {}],
])("drift: %j, %j", (guest, seen, state, args) => {
  expect(guestOwnership.drift(want(guest), seenOf(seen))).toEqual({ state, args, notes: [] });
});

test("an automount that waits is as wanted: the owner is the share's, and comes back with it", () => {
  const waiting = {
    root: undefined,
    mounts: parseMountinfo("30 1 0:40 / /mnt/a rw - autofs systemd-1 rw\n"),
  };
  const automounted = want({ owner: "alice", options: { automount: true } });
  expect(guestOwnership.drift(automounted, seenOf(waiting)).state).toBe("ok");
  expect(guestOwnership.drift(want({ owner: "alice" }), seenOf(waiting)).state).toBe("unknown");
  const [step] = guestOwnership.plan(automounted, seenOf(waiting), undefined, false).steps;
  expect(step?.run.text).toBe("enter_share '/mnt/a' '/mnt/a' 'foobar' 'foobar'\nchown -- '1000' .");
});

test("drift of a root that the guest may not look at is unknown, and says why", () => {
  const { root } = guestOwnership.facts(want({ owner: 0 }));
  const said = root.parse("stat: can't stat '/mnt/a': Permission denied\n", Buffer.alloc(0));
  expect(guestOwnership.drift(want({ owner: 0 }), seenOf({ root: said }))).toEqual({
    state: "unknown",
    args: {},
    notes: ["the guest cannot look at /mnt/a: stat: can't stat '/mnt/a': Permission denied"],
  });
});

test("the owner of the root is read by name and number, from what is mounted only", () => {
  const { root, ids } = guestOwnership.facts(want({ owner: "daemon", group: "no-such-group" }));
  const mountedAs = (type: string) => (text: string) =>
    text
      .replaceAll("/mnt/a", "/proc")
      .replaceAll("/proc/self/mountinfo", `<(echo '36 1 0:45 / /proc rw - ${type} foobar rw')`);
  const inBash = (type: string) =>
    root.parse(runScript(root.script, mountedAs(type), "/bin/bash").toString(), Buffer.alloc(0));
  expect(inBash("9p")).toMatchObject({ uid: 0, user: "root", mode: 0o555 });
  expect(inBash("autofs")).toBeUndefined();
  expect(runFact(root, (text) => text.replaceAll("/mnt/a", "/usr"))).toBeUndefined();
  expect(runFact(ids)).toMatchObject({ "passwd daemon": 1, "group daemon": 1 });
  expect(runFact(ids)["group no-such-group"]).toBeUndefined();
  expect(root.parse("1000:513:750:EXAMPLE\\alice:domain users\n", Buffer.alloc(0))).toMatchObject({
    uid: 1000,
    gid: 513,
    user: "EXAMPLE\\alice",
    group: "domain users",
    mode: 0o750,
  });
  expect(root.parse("7:8:750:UNKNOWN:UNKNOWN\n", Buffer.alloc(0))).toMatchObject({ user: "7", group: "8" });
});

describe("a step changes the share's root and nothing else", () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "virtio9p-root-"));
  });
  afterEach(() => {
    rmSync(folder, { recursive: true });
  });
  const shell = (device: string, line: string) => (text: string) =>
    text
      .replaceAll("/proc/self/mountinfo", join(folder, "mountinfo"))
      .replaceAll("'/mnt/a'", `'${folder}'`)
      .replace(
        /^/,
        `printf '%s\\n' '1 0 8:1 / / rw - ext4 /dev/vda rw' '${line.replace("DEVICE", device)}' > ${folder}/mountinfo\n`,
      );
  const deviceOf = (path: string): string => {
    const { dev } = statSync(path);
    return `${Math.floor(dev / 256) % 4096}:${(dev % 256) + Math.floor(dev / 2 ** 20) * 256}`;
  };
  const steps = () =>
    guestOwnership.plan(want({ mode: "0700" }), seenOf({ mounts: [] }), undefined, false).steps;
  const share = (at: string) => `36 1 DEVICE / ${at} rw - 9p foobar rw`;

  test("the share is changed", () => {
    runSteps(steps(), shell(deviceOf(folder), share(folder)));
    expect(statSync(folder).mode & 0o777).toBe(0o700);
  });

  test.each([
    ["nothing is mounted", () => ""],
    ["another file system is", () => share(folder).replace("9p foobar", "ext4 foobar")],
    ["another tag is", () => share(folder).replace("foobar", "other")],
    ["a part of the share is", () => share(folder).replace("DEVICE /", "DEVICE /sub")],
    ["the share is not what the shell is in", () => share(folder).replace("DEVICE", "0:999")],
  ])("%s: it is left as it is", (_, line) => {
    const before = statSync(folder);
    expect(() => {
      runSteps(steps(), shell(deviceOf(folder), line()));
    }).toThrow(/is not the share in the guest, and is left as it is/);
    expect(statSync(folder).mode).toBe(before.mode);
  });
});
