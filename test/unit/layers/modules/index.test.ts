import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { guestKernel, remedyFor } from "../../../../provider/layers/modules/index";
import { distribution } from "../../../../provider/layers/shared/guest";
import { specOf } from "../../sample";
import { does, runFact, runScript } from "../../shell-machine";

type Seen = Parameters<typeof guestKernel.plan>[1];
const bootFile = "9pnet_virtio\n9p\n";
const seenOf = (more: Partial<Seen> = {}): Seen => ({
  nineP: "available",
  release: "6.1.0-40-amd64",
  distribution: ["debian"],
  bootFile: undefined,
  ...more,
});
const load = "load 9pnet_virtio and 9p";
const boot = "load 9pnet_virtio and 9p at boot (/etc/modules-load.d/virtio9p.conf)";

test("is managed where there is a guest", () => {
  expect([guestKernel.want(specOf()), guestKernel.want(specOf({ guest: { mountPoint: "/mnt/a" } }))]).toEqual(
    [undefined, {}],
  );
});

test.each<[Partial<Seen>, string[]]>([
  [{}, [load, boot]],
  [{ nineP: "loaded" }, [boot]],
  [{ nineP: "loaded", bootFile }, []],
  [{ bootFile }, [load]],
  [{ bootFile: "9p\n" }, [load, boot]],
  [{ nineP: "builtIn" }, []],
])("plan: %j", (seen, steps) => {
  expect(does(guestKernel.plan({}, seenOf(seen), undefined, false))).toEqual(steps);
});

test("refuses a kernel without 9p, with the remedy", () => {
  const seen = seenOf({ nineP: "absent", release: "6.1.0-40-cloud-amd64" });
  expect(guestKernel.plan({}, seen, undefined, false)).toEqual({
    refuse: [
      {
        code: "guestKernelLacks9p",
        what: "kernel 6.1.0-40-cloud-amd64 has no 9p over virtio",
        remedy:
          "install the package linux-image-amd64 (linux-image-arm64 on ARM) in the guest in place of the cloud kernel, and boot it",
      },
    ],
    steps: [],
  });
});

test("names a kernel that was booted from the host without its modules in the guest", () => {
  const plan = guestKernel.plan({}, seenOf({ nineP: "noModules", release: "6.9.1" }), undefined, false);
  expect(plan.refuse).toEqual([
    {
      code: "guestKernelLacks9p",
      what: "the guest has no /lib/modules/6.9.1: the kernel that runs was booted from the host, and its modules are not in the guest",
      remedy:
        "put the modules of 6.9.1 into /lib/modules of the guest, or boot a kernel that has 9p built in",
    },
  ]);
  const { nineP } = guestKernel.facts({});
  const found = runFact(nineP, (text) =>
    text
      .replaceAll("/proc/filesystems", "/nowhere")
      .replaceAll("/lib/modules/", "/nowhere/")
      .replace(/^/, "modprobe() { return 1; }\n"),
  );
  expect(found).toBe("noModules");
});

test.each<[string, string, string, string]>([
  ["kernel/net/9p/9pnet_virtio.ko\nkernel/fs/9p/9p.ko\n", "", "", "builtIn"],
  [
    "",
    "kernel/fs/9p/9p.ko.xz: kernel/net/9p/9pnet.ko.xz\nkernel/net/9p/9pnet_virtio.ko.xz:\n",
    "",
    "available",
  ],
  ["kernel/fs/9p/9p.ko\n", "kernel/net/9p/9pnet_virtio.ko: kernel/net/9p/9pnet.ko\n", "", "available"],
  ["kernel/fs/9p/9p.ko\n", "kernel/net/9p/9pnet.ko:\n", "", "absent"],
  ["", "kernel/fs/x9p.ko:\nkernel/net/a9pnet_virtio.ko:\n", "", "absent"],
  ["", "", "modprobe() { :; }\n", "available"],
])(
  "9p by what is built in (%j), what depends (%j), and modprobe (%j): %s",
  (builtin, dep, modprobe, found) => {
    const folder = mkdtempSync(join(tmpdir(), "virtio9p-modules-"));
    const release = readFileSync("/proc/sys/kernel/osrelease", "utf8").trim();
    mkdirSync(join(folder, release));
    writeFileSync(join(folder, release, "modules.builtin"), builtin);
    writeFileSync(join(folder, release, "modules.dep"), dep);
    const { nineP } = guestKernel.facts({});
    const rewrite = (text: string): string =>
      `${modprobe || "modprobe() { return 1; }\n"}${text.replaceAll("/proc/filesystems", "/dev/null").replaceAll("/lib/modules/", `${folder}/`)}`;
    try {
      expect(runFact(nineP, rewrite)).toBe(found);
    } finally {
      rmSync(folder, { recursive: true });
    }
  },
);

test("a modprobe that loads nothing and says nothing has failed", () => {
  const [load] = guestKernel.plan({}, seenOf(), undefined, false).steps;
  const rewrite = (text: string) => `modprobe() { :; }\n${text.replace("/proc/filesystems", "/dev/null")}`;
  expect(() => runScript(load?.run ?? { text: ":" }, rewrite)).toThrow(/modprobe loaded no 9p/);
});

test.each([bootFile.trimEnd(), `${bootFile}\n`, "9p\n"])(
  "a boot file that says %j is written anew",
  (said) => {
    const folder = mkdtempSync(join(tmpdir(), "virtio9p-boot-"));
    writeFileSync(join(folder, "virtio9p.conf"), said);
    const [step] = guestKernel.plan({}, seenOf({ nineP: "loaded", bootFile: said }), undefined, false).steps;
    try {
      runScript(
        step?.run ?? { text: "" },
        (text) => `changed_in() { :; }\n${text.replaceAll("/etc/modules-load.d", folder)}`,
      );
      expect(readFileSync(join(folder, "virtio9p.conf"), "utf8")).toBe(bootFile);
    } finally {
      rmSync(folder, { recursive: true });
    }
  },
);

test.each<[string | null, string | undefined, string[]]>([
  [null, bootFile, ["remove /etc/modules-load.d/virtio9p.conf"]],
  ["9p\n", bootFile, ["give /etc/modules-load.d/virtio9p.conf back"]],
  [bootFile, bootFile, []],
  [null, undefined, []],
  [null, "edited\n", []],
])("restore: it was %j and is %j", (then, now, steps) => {
  expect(does(guestKernel.restore({}, { bootFile: then }, seenOf({ bootFile: now })))).toEqual(steps);
});

test.each<[Partial<Seen>, string]>([
  [{ nineP: "loaded", bootFile }, "ok"],
  [{ nineP: "builtIn" }, "ok"],
  [{ nineP: "loaded" }, "missing"],
  [{ nineP: "loaded", bootFile: "9p\n" }, "differs"],
])("drift: %j", (seen, state) => {
  expect(guestKernel.drift({}, seenOf(seen)).state).toBe(state);
});

test.each([
  ["6.1.0-40-cloud-amd64", ["debian"], "in place of the cloud kernel"],
  ["6.1.0-40-amd64", ["debian"], "linux-image-amd64"],
  ["6.8.0-1-kvm", ["ubuntu", "debian"], "linux-modules-extra"],
  ["3.10.0-1160.el7.x86_64", ["centos", "rhel", "fedora"], "kernel-plus from the centosplus repository"],
  ["5.14.0-427.el9.x86_64", ["rocky", "rhel", "centos", "fedora"], "kernel-ml of ELRepo"],
  ["6.4.0-default", ["opensuse-leap", "suse", "opensuse"], "kernel-default"],
  ["6.9.0", ["arch"], "CONFIG_9P_FS"],
])("remedy for %s of %j", (release, ids, part) => {
  expect(remedyFor(release, ids)).toContain(part);
});

test.each([
  ['NAME="Rocky Linux"\nID="rocky"\nID_LIKE="rhel centos fedora"\n', ["rocky", "rhel", "centos", "fedora"]],
  ["ID=debian\nVERSION_ID=12\n", ["debian"]],
  ["", []],
])("distribution of %j", (output, expected) => {
  expect(distribution.parse(output, Buffer.alloc(0))).toEqual(expected);
});
