import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { guestFstab } from "../../../../provider/layers/fstab/index";
import { guestKernel } from "../../../../provider/layers/modules/index";
import { parseMountinfo } from "../../../../provider/formats/mountinfo";
import { specOf } from "../../sample";
import { does, runFact, runScript } from "../../shell-machine";

/** A guest that OpenRC starts: `/etc/modules`, and the service netmount. */

type Seen = Parameters<typeof guestKernel.plan>[1];
type Before = NonNullable<Parameters<typeof guestKernel.plan>[2]>;

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "virtio9p-openrc-"));
  for (const name of ["run/openrc", "etc/init.d", "etc/runlevels/boot", "etc/runlevels/default"])
    mkdirSync(join(folder, name), { recursive: true });
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});
const path = (name: string) => join(folder, name);
const inFolder = (text: string) =>
  text
    .replaceAll(
      /(?<!grep -Eq ')(\/etc\/(?:modules|init\.d|runlevels)|\/run\/|\/sbin\/openrc)/g,
      `${folder}$1`,
    )
    .replace(/^/, "sync() { :; }\n");
const { bootFile, list } = guestKernel.facts({});
const look = (): Seen => ({
  ...{ nineP: "loaded", release: "6.1.0", distribution: ["alpine"] },
  bootFile: runFact(bootFile, inFolder),
  list: list && runFact(list, inFolder),
});
const read = () => readFileSync(path("etc/modules"), "latin1");
const up = (shell: string, before?: Before): { before: Before; steps: string[] } => {
  const seen = look();
  const plan = guestKernel.plan({}, seen, before, false);
  for (const { run } of plan.steps) runScript(run, inFolder, shell);
  expect(guestKernel.drift({}, look()).state).toBe("ok");
  return { before: before ?? guestKernel.remember({}, seen), steps: does(plan) };
};
const down = (shell: string, before: Before): void => {
  const plan = guestKernel.restore({}, before, look());
  expect(plan.refuse).toBeUndefined();
  for (const { run } of plan.steps) runScript(run, inFolder, shell);
};

describe.each(["dash", "bash", "busybox sh"])("in %s", (shell) => {
  test.each([0, 1, 17, 300])("the lines come and go among %s others, to the byte", (count) => {
    const others = Array.from(
      { length: count },
      (_, index) => `# caf\xe9 ${index}\nmodule-${index} x=\\040\n`,
    );
    writeFileSync(path("etc/modules"), others.join(""), "latin1");
    const { before, steps } = up(shell);
    expect(steps).toEqual(["load 9pnet_virtio at boot (/etc/modules)", "load 9p at boot (/etc/modules)"]);
    expect(read()).toBe(`${others.join("")}9pnet_virtio\n9p\n`);
    expect(existsSync(path("etc/modules-load.d"))).toBe(false);
    expect(up(shell, before).steps).toEqual([]);
    down(shell, before);
    expect(read()).toBe(others.join(""));
  });

  test("a list that was not there goes again", () => {
    const { before } = up(shell);
    expect(read()).toBe("9pnet_virtio\n9p\n");
    down(shell, before);
    expect(existsSync(path("etc/modules"))).toBe(false);
  });

  test.each([
    ["9p\n9pnet_virtio\n", []],
    ["9p debug=1 # mine\nloop", ["load 9pnet_virtio at boot (/etc/modules)"]],
    ["#9p\n9pnet_virtio\r\n", ["load 9p at boot (/etc/modules)"]],
  ])("what stands in it already stays: %j", (text, added) => {
    writeFileSync(path("etc/modules"), text);
    const { before, steps } = up(shell);
    expect(steps).toEqual(added);
    down(shell, before);
    expect(read()).toBe(text);
  });

  test("somebody else's line that comes meanwhile stays", () => {
    writeFileSync(path("etc/modules"), "loop\n");
    const { before } = up(shell);
    writeFileSync(path("etc/modules"), `${read()}fuse\n`);
    down(shell, before);
    expect(read()).toBe("loop\nfuse\n");
  });
});

test("what a release before wrote stays as it is, and goes with its record", () => {
  mkdirSync(path("etc/modules-load.d"));
  writeFileSync(path("etc/modules-load.d/virtio9p.conf"), "9pnet_virtio\n9p\n");
  expect(up("dash", { bootFile: null }).steps).toEqual([]);
  rmSync(path("etc/modules-load.d/virtio9p.conf"));
  expect(up("dash", { bootFile: null }).steps).toEqual([
    "load 9pnet_virtio and 9p at boot (/etc/modules-load.d/virtio9p.conf)",
  ]);
  down("dash", { bootFile: null });
  expect(existsSync(path("etc/modules-load.d/virtio9p.conf"))).toBe(false);
});

test.each<[string, () => void, boolean]>([
  ["OpenRC", () => undefined, true],
  [
    "a service that reads it",
    () => {
      write("etc/init.d/modules", "for f in /etc/modules \\\n  /etc/modules-load.d/*.conf\n");
    },
    true,
  ],
  [
    "a service that does not",
    () => {
      write("etc/init.d/modules", "dirs=/etc/modules-load.d\n");
    },
    false,
  ],
  ["systemd, with OpenRC installed", () => mkdirSync(path("run/systemd/system"), { recursive: true }), false],
  [
    "neither",
    () => {
      rmSync(path("run/openrc"), { recursive: true });
    },
    false,
  ],
])("whether /etc/modules is read at boot: %s", (_, make, isRead) => {
  make();
  expect(look().list).toBe(isRead ? null : undefined);
  expect(up("dash").steps.join()).toMatch(isRead ? /\(\/etc\/modules\)/ : /modules-load\.d/);
});

const write = (name: string, text: string): void => {
  writeFileSync(path(name), text);
};

test("a drifted list is named by what it lacks", () => {
  expect(guestKernel.drift({}, { ...look(), list: "9p\n" })).toEqual({
    state: "missing",
    args: {},
    notes: ["9p is not loaded at the guest's boot: /etc/modules has no line of 9pnet_virtio"],
  });
});

test.each<[string, Partial<Seen>, string | undefined]>([
  ["the boot file", { obstacle: { kind: "immutable", path: "/etc/modules-load.d" } }, "fileProtected"],
  ["the boot file", { obstacle: { kind: "denied", path: "/etc" } }, "fileProtected"],
  ["the boot file", { mounts: parseMountinfo("1 0 8:1 / / ro - ext4 /dev/vda rw\n") }, "fileSystemReadOnly"],
  [
    "the boot file, written already",
    { bootFile: "9pnet_virtio\n9p\n", obstacle: { kind: "immutable", path: "/x" } },
    undefined,
  ],
  ["not the boot file but the list", { list: "", obstacle: { kind: "immutable", path: "/x" } }, undefined],
  ["the list", { list: "", listObstacle: { kind: "immutable", path: "/etc/modules" } }, "fileProtected"],
  ["a list with NULs", { list: "\0" }, "fileProtected"],
])("what cannot be written is refused before the first change: %s, %j", (_, more, code) => {
  const seen: Seen = { nineP: "available", release: "6", distribution: [], bootFile: undefined, ...more };
  const plan = guestKernel.plan({}, seen, undefined, false);
  expect([plan.refuse?.map((one) => one.code)[0], plan.steps.length > 0]).toEqual([code, code === undefined]);
});

describe("netmount", () => {
  const fstabOf = (options = {}) => {
    const want = guestFstab.want(specOf({ guest: { mountPoint: "/mnt/a", options } }));
    if (!want) throw new Error("not managed");
    return want;
  };
  const lacks = (): boolean | undefined => {
    const { lacksNetmount } = guestFstab.facts(fstabOf());
    return lacksNetmount && runFact(lacksNetmount, inFolder);
  };

  test.each<[string, () => void, boolean]>([
    ["in no runlevel", () => undefined, true],
    [
      "in one",
      () => {
        symlinkSync("/etc/init.d/netmount", path("etc/runlevels/default/netmount"));
      },
      false,
    ],
    [
      "no runlevels",
      () => {
        rmSync(path("etc/runlevels"), { recursive: true });
      },
      true,
    ],
    [
      "not OpenRC",
      () => {
        rmSync(path("run/openrc"), { recursive: true });
      },
      false,
    ],
  ])("is asked for: %s", (_, make, isLacking) => {
    make();
    expect(lacks()).toBe(isLacking);
  });

  test("where it is missing, a line with _netdev is warned of, written or not", () => {
    const said = [expect.stringContaining('Run "rc-update add netmount" in the guest')];
    const line = "foobar /mnt/a 9p trans=virtio,version=9p2000.L,_netdev,nofail,nodev,msize=131072 0 0\n";
    for (const fstab of ["", line]) {
      const seen = { fstab, lacksNetmount: true };
      expect(guestFstab.plan(fstabOf({ msizeBytes: 131072 }), seen, undefined, false).warnings).toEqual(said);
    }
    expect(guestFstab.drift(fstabOf(), { fstab: "", lacksNetmount: true }).state).toBe("missing");
    expect(
      guestFstab.plan(fstabOf({ netdev: false }), { fstab: "", lacksNetmount: true }, undefined, false)
        .warnings,
    ).toBeUndefined();
    expect(guestFstab.plan(fstabOf(), { fstab: "" }, undefined, false).warnings).toBeUndefined();
  });
});
