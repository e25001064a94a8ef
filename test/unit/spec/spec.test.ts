import fc from "fast-check";
import { hostIdentity, hostOnItsWay, parseSpec, unknownValue } from "../../../provider/spec/spec";
import { check } from "../../../provider/pulumi/lifecycle";
import { leastArgs, specOf } from "../sample";

const failuresOf = (args: Record<string, unknown>) => parseSpec({ ...leastArgs, ...args }).failures;

describe("defaults", () => {
  test("of a share with nothing but source, domain and tag", () => {
    expect(parseSpec(leastArgs)).toEqual({
      failures: [],
      spec: {
        source: "/foo/bar",
        domain: "web1",
        tag: "foobar",
        accessMode: "mapped",
        readOnly: false,
        multidevs: "default",
        model: "virtio",
        otherWriters: "refuse",
        host: { libvirtUri: "qemu:///system", escalate: "auto", verifyHostKey: true },
        directory: {
          create: true,
          owner: "qemu",
          group: "qemu",
          keepOwners: true,
          onDelete: "restore",
          privileged: "refuse",
          links: "keep",
          otherFileSystems: "refuse",
        },
        selinux: { manage: "auto", newFiles: "auto" },
        power: "never",
        timeouts: { commandMs: 120_000, shutdownMs: 120_000, bootMs: 300_000 },
      },
    });
  });

  test("of a guest", () => {
    expect(specOf({ guest: { mountPoint: "/mnt/foobar" } }).guest).toEqual({
      mountPoint: "/mnt/foobar",
      options: {
        msizeBytes: 131_072,
        netdev: true,
        nofail: true,
        automount: false,
        noexec: false,
        nosuid: false,
        nodev: true,
        extra: [],
      },
      mount: "now",
      selinuxBooleans: [],
      verifyHostKey: true,
    });
  });

  test("of a connection, and of its proxy", () => {
    const { connection } = specOf({
      host: { connection: { host: "kvm1", proxy: { host: "gate", user: "me" } } },
    }).host;
    const own = { port: 22, user: "root", dialErrorLimit: 10, perDialTimeout: 15 };
    expect(connection).toEqual({ host: "kvm1", ...own, proxy: { host: "gate", ...own, user: "me" } });
  });

  test.each([
    [{}, { owner: "qemu", group: "qemu", keepOwners: true }],
    [{ readOnly: true }, { owner: undefined, group: undefined, keepOwners: false }],
    [{ accessMode: "passthrough" }, { owner: undefined, group: undefined, keepOwners: false }],
    [
      { accessMode: "squash", directory: { owner: "root" } },
      { owner: "root", group: undefined, keepOwners: false },
    ],
    [
      { readOnly: true, directory: { owner: 0 } },
      { owner: "0", group: undefined, keepOwners: true },
    ],
    [{ directory: { owner: "alice" } }, { owner: "alice", group: "qemu", keepOwners: true }],
    [{ directory: { keepOwners: false } }, { owner: "qemu", group: "qemu", keepOwners: false }],
  ])("of the directory with %j", (args, expected) => {
    expect(specOf(args).directory).toEqual({
      create: true,
      onDelete: "restore",
      privileged: "refuse",
      links: "keep",
      otherFileSystems: "refuse",
      ...expected,
    });
  });
});

describe("canonical forms", () => {
  test.each([
    ["/foo/bar/", "/foo/bar"],
    ["//foo///bar", "/foo/bar"],
    ["/foo/./baz/../bar/.", "/foo/bar"],
    ["/../foo/bar", "/foo/bar"],
    ["/a b/ä'\"\\", "/a b/ä'\"\\"],
    ["/...", "/..."],
  ])("source %j", (source, expected) => {
    expect(specOf({ source }).source).toBe(expected);
    expect(specOf({ guest: { mountPoint: source } }).guest?.mountPoint).toBe(expected);
  });

  test.each([
    ["750", "0750"],
    ["0o750", "0750"],
    ["00750", "0750"],
    ["2750", "2750"],
    ["0", "0000"],
  ])("mode %j", (mode, expected) => {
    expect(specOf({ directory: { mode } }).directory.mode).toBe(expected);
    expect(specOf({ guest: { mountPoint: "/mnt/a", mode } }).guest?.mode).toBe(expected);
  });

  test.each([
    [0, "0"],
    ["0", "0"],
    ["007", "7"],
    ["www-data", "www-data"],
    ["EXAMPLE\\alice", "EXAMPLE\\alice"],
    ["alice@example.org", "alice@example.org"],
    ["machine$", "machine$"],
    [4294967294, "4294967294"],
  ])("owner %j", (owner, expected) => {
    expect(specOf({ directory: { owner } }).directory.owner).toBe(expected);
  });

  test("what is canonical stays as it is", () => {
    const text = fc.constantFrom("/foo/bar", "/a/../b//c", "/x/");
    const args = fc.record({
      source: text,
      readOnly: fc.boolean(),
      accessMode: fc.constantFrom("mapped", "passthrough", "squash"),
      directory: fc.record({ mode: fc.constantFrom("7", "0o1777", "0700") }),
      guest: fc.record({ mountPoint: text, options: fc.record({ cache: fc.constantFrom("none", "loose") }) }),
    });
    fc.assert(
      fc.property(args, (given) => {
        const once = specOf(given);
        expect(parseSpec(JSON.parse(JSON.stringify(once)))).toEqual({ spec: once, failures: [] });
      }),
    );
  });
});

describe("one argument that cannot be", () => {
  const systemSource = "is a directory of the system itself: share one that was made for it";
  const noCharacter = "must not contain what is no character: U+FFFE, U+FFFF, half of a surrogate pair";
  const systemMount = "is a directory of the system itself: mount on one of its own, such as /mnt/NAME";
  test.each([
    ["source", { source: "foo/bar" }, "must be an absolute path"],
    ["source", { source: "" }, "must not be empty"],
    ["source", { source: 7 }, "must be a text"],
    ["source", { source: "/foo\nbar" }, "must not contain control characters"],
    ["source", { source: "/foo\u0085bar" }, "must not contain control characters"],
    ["source", { source: `/${"a".repeat(4095)}` }, "must have at most 4095 bytes"],
    ["source", { source: "/" }, systemSource],
    ["source", { source: "/foo/.." }, systemSource],
    ["source", { source: "/home/" }, systemSource],
    ["source", { source: "//etc//ssl" }, systemSource],
    ["source", { source: "/usr/lib64/qemu" }, systemSource],
    ["source", { source: "/var/lib/virtio9p" }, systemSource],
    ...["\uFFFE", "\uFFFF", "\uD800", "\uDC00x"].flatMap(
      (strange): [string, Record<string, unknown>, string][] => [
        ["source", { source: `/foo${strange}bar` }, noCharacter],
        ["tag", { tag: `a${strange}` }, noCharacter],
        ["domain", { domain: `a${strange}` }, noCharacter],
        ["guest.mountPoint", { guest: { mountPoint: `/mnt/${strange}` } }, noCharacter],
        [
          "guest.options.context",
          { guest: { mountPoint: "/mnt/a", options: { context: `a${strange}` } } },
          noCharacter,
        ],
        [
          "guest.options.extra.0",
          { guest: { mountPoint: "/mnt/a", options: { extra: [`x-${strange}`] } } },
          noCharacter,
        ],
      ],
    ),
    [
      "host.connection.agentSocketPath",
      { host: { connection: { host: "a", agentSocketPath: "/a\0" } } },
      "must not contain control characters",
    ],
    ["power", { power: { toString: 1 } }, "must be one of never, start, restart, force"],
    ["host", { host: [] }, "must be an object"],
    ["host", { host: new Date(0) }, "must be an object"],
    ["guest", { guest: null }, "must be an object"],
    ["host.connection.proxy", { host: { connection: { host: "a", proxy: [] } } }, "must be an object"],
    ["timeouts.bootMs", { timeouts: { bootMs: NaN } }, "must be a number of milliseconds"],
    ["timeouts.bootMs", { timeouts: { bootMs: Infinity } }, "must be a whole number of milliseconds"],
    ["tag", { tag: "" }, "must not be empty"],
    ["tag", { tag: "a,b" }, "must not contain a comma"],
    ["tag", { tag: "a\tb" }, "must not contain control characters"],
    ["tag", { tag: "a".repeat(32) }, "must have at most 31 bytes"],
    ["tag", { tag: "ä".repeat(16) }, "must have at most 31 bytes"],
    ["tag", { tag: "#t" }, "must not begin with #, which makes its line in fstab a comment"],
    ...["LABEL=", "UUID=", "PARTLABEL=", "PARTUUID=", "ID="].map(
      (name): [string, Record<string, unknown>, string] => [
        "tag",
        { tag: `${name}x` },
        `must not begin with ${name}, by which fstab means a disk`,
      ],
    ),
    ...["/dev/vda", "/sys/x", "//dev/x", "/./dev", "/sys"].map(
      (tag): [string, Record<string, unknown>, string] => [
        "tag",
        { tag },
        "must not be a path in /dev or /sys, by which fstab means a device",
      ],
    ),
    [
      "guest.mountPoint",
      { guest: { mountPoint: `/${"m".repeat(4015)}` } },
      "makes a line in fstab of 4102 bytes, with the tag and guest.options: the boot reads no more than 4094",
    ],
    ["domain", { domain: "" }, "must not be empty"],
    [
      "accessMode",
      { accessMode: "maped" },
      "must be one of mapped, passthrough, squash: did you mean mapped?",
    ],
    ["accessMode", { accessMode: "none" }, "must be one of mapped, passthrough, squash"],
    ["readOnly", { readOnly: "yes" }, "must be true or false"],
    ["readOnly", { readOnly: null }, "must be true or false"],
    ["fileMode", { fileMode: "1644" }, 'must be an octal mode, such as "0750", of at most 0777'],
    ...["0", "000", "0000"].flatMap((mode): [string, Record<string, unknown>, string][] => [
      ["fileMode", { fileMode: mode }, "must not be zero, which libvirt leaves out"],
      ["directoryMode", { directoryMode: mode }, "must not be zero, which libvirt leaves out"],
    ]),
    ["fileMode", { fileMode: 644 }, 'must be octal text, such as "0750"'],
    ["directoryMode", { directoryMode: "rwx" }, 'must be an octal mode, such as "0750", of at most 0777'],
    ["host", { host: "kvm1" }, "must be an object"],
    [
      "host.libvirtUri",
      { host: { libvirtUri: "qemu+ssh://kvm1/system" } },
      "must be one of qemu:///system, qemu:///session",
    ],
    [
      "host.libvirtUri",
      { host: { libvirtUri: "qemu:///sytem" } },
      "must be one of qemu:///system, qemu:///session: did you mean qemu:///system?",
    ],
    ["host.escalate", { host: { escalate: "Sudo" } }, "must be one of auto, sudo, none: did you mean sudo?"],
    ["directory.owner", { directory: { owner: "a:b" } }, "must be a name or a number"],
    ["directory.owner", { directory: { owner: "-x" } }, "must be a name or a number"],
    ["directory.owner", { directory: { owner: -1 } }, "must be a name or a number"],
    ["directory.owner", { directory: { owner: 1.5 } }, "must be a name or a whole number"],
    ["directory.owner", { directory: { owner: 4294967295 } }, "must be a name or a number"],
    ["directory.owner", { directory: { owner: 4294967296 } }, "must be a name or a number"],
    ["directory.owner", { directory: { owner: "9999999999" } }, "must be a name or a number"],
    [
      "directory.mode",
      { directory: { mode: "10000" } },
      'must be an octal mode, such as "0750", of at most 7777',
    ],
    ["timeouts.commandMs", { timeouts: { commandMs: 999 } }, "must be at least 1000 ms"],
    ["timeouts.bootMs", { timeouts: { bootMs: 86_400_001 } }, "must be at most 86400000 ms"],
    ["timeouts.bootMs", { timeouts: { bootMs: 1000.5 } }, "must be a whole number of milliseconds"],
    ["guest.mountPoint", { guest: {} }, "is required"],
    ["guest.mountPoint", { guest: { mountPoint: "/usr" } }, systemMount],
    ["guest.mountPoint", { guest: { mountPoint: "/proc/9p" } }, systemMount],
    ["guest.mount", { guest: { mountPoint: "/mnt/a", mount: "later" } }, "must be one of now, boot"],
  ])("%s: %j", (property, args, reason) => {
    const failures = failuresOf(args);
    expect(failures[0]).toEqual({ property, reason });
    expect(failures.filter((failure) => failure.property !== property)).toEqual([]);
  });

  const tooMuch = "must be 0 (the kernel's own) or 4096 to 512000, the most that virtio carries";
  test.each([
    ["msizeBytes", 4095, tooMuch],
    ["msizeBytes", 512_001, tooMuch],
    ["msizeBytes", "512000", "must be a number of bytes"],
    ["cache", "lose", "must be one of none, readahead, mmap, loose, fscache: did you mean loose?"],
    ["access", "root", "must be user, any, client or a numeric uid"],
    ["context", "a b", "must be one SELinux context"],
    ["extra", "noatime", "must be a list of options"],
    ["extra.0", ["no atime"], "must be one option, without spaces and commas"],
    ["extra.0", ["a,b"], "must be one option, without spaces and commas"],
    ["extra.1", ["noatime", "noatim"], "the kernel knows no option noatim: did you mean noatime?"],
    ["extra.0", ["msize=4096"], "msize has an argument of its own: msizeBytes"],
    ["extra.0", ["ro"], "ro has an argument of its own: readOnly"],
    ["extra.0", ["zzzzzzzzzzz"], "the kernel knows no option zzzzzzzzzzz"],
    [
      "extra.0",
      ["x-systemd.requries=a.mount"],
      "the kernel knows no option x-systemd.requries: did you mean x-systemd.requires?",
    ],
    ["extra.0", ["constructor"], "the kernel knows no option constructor"],
  ])("guest.options.%s: %j", (property, value, reason) => {
    const options = { [property.split(".")[0] ?? ""]: value };
    expect(failuresOf({ guest: { mountPoint: "/mnt/a", options } })[0]).toEqual({
      property: `guest.options.${property}`,
      reason,
    });
  });

  test.each([
    [["noatime", "posixacl", "dfltuid=1000", "x-systemd.requires=a.mount", "x-mine", "comment=hello"]],
  ])("extra %j is let through", (extra) => {
    expect(failuresOf({ guest: { mountPoint: "/mnt/a", options: { extra } } })).toEqual([]);
  });
});

describe("names that are no arguments", () => {
  test.each([
    ["soruce", { soruce: 1 }, "is not an argument: did you mean source?"],
    ["accesMode", { accesMode: "mapped" }, "is not an argument: did you mean accessMode?"],
    [
      "host.libvirtURI",
      { host: { libvirtURI: "qemu:///system" } },
      "is not an argument: did you mean libvirtUri?",
    ],
    ["directory.ownr", { directory: { ownr: 0 } }, "is not an argument: did you mean owner?"],
    [
      "guest.options.nodevs",
      { guest: { mountPoint: "/mnt/a", options: { nodevs: true } } },
      "is not an argument: did you mean nodev?",
    ],
    ["msize", { msize: 8192 }, "is not an argument: did you mean guest.options.msizeBytes?"],
    [
      "guest.options.msize",
      { guest: { mountPoint: "/mnt/a", options: { msize: 8192 } } },
      "is not an argument: did you mean msizeBytes?",
    ],
    ["timeouts.boot", { timeouts: { boot: 1000 } }, "is not an argument: did you mean bootMs?"],
    ["mountPoint", { mountPoint: "/mnt/a" }, "is not an argument: did you mean guest.mountPoint?"],
    ["owner", { owner: 0 }, "is not an argument: did you mean directory.owner or guest.owner?"],
    ["soruce", { soruce: unknownValue }, "is not an argument: did you mean source?"],
    [
      "timeouts.xyzzyxyzzy",
      { timeouts: { xyzzyxyzzy: 1 } },
      "is not an argument (there are: commandMs, shutdownMs, bootMs)",
    ],
    [
      "host.constructor",
      { host: { constructor: 1 } },
      "is not an argument (there are: connection, verifyHostKey, libvirtUri, escalate)",
    ],
  ])("%s", (property, args, reason) => {
    expect(failuresOf(args)).toEqual([{ property, reason }]);
  });

  test("two in one object are both said, by name, and once what there is", () => {
    expect(failuresOf({ yyyyyyyyy: 1, soruce: 1, domian: 2, xxxxxxxxx: 2 })).toEqual([
      { property: "domian", reason: "is not an argument: did you mean domain?" },
      { property: "soruce", reason: "is not an argument: did you mean source?" },
      {
        property: "xxxxxxxxx",
        reason:
          "is not an argument (there are: source, domain, tag, accessMode, readOnly, multidevs, fileMode, directoryMode, model, otherWriters, host, directory, selinux, guest, power, timeouts)",
      },
      { property: "yyyyyyyyy", reason: "is not an argument" },
    ]);
  });
});

describe("arguments that contradict each other", () => {
  const guest = (more: Record<string, unknown>) => ({ guest: { mountPoint: "/mnt/a", ...more } });
  test.each([
    ["fileMode", { accessMode: "squash", fileMode: "0644" }],
    ["directoryMode", { accessMode: "passthrough", directoryMode: "0755" }],
    ["directory.keepOwners", { accessMode: "passthrough", directory: { keepOwners: true } }],
    ["guest.owner", { readOnly: true, ...guest({ owner: 0 }) }],
    ["guest.group", { accessMode: "passthrough", ...guest({ group: "root" }) }],
    ["guest.mode", { readOnly: true, ...guest({ mode: "0750" }) }],
    ["guest.mount", guest({ mount: "boot", mode: "0750" })],
    ["selinux.manage", { selinux: { manage: "never", type: "virt_content_t" } }],
    ["selinux.manage", { selinux: { manage: "never", newFiles: "inherit" } }],
    ["selinux.manage", { selinux: { manage: "always" }, host: { libvirtUri: "qemu:///session" } }],
    ["selinux.type", { selinux: { type: "a type" } }],
    ["guest.selinuxBooleans.0", guest({ selinuxBooleans: ["httpd_use_nfs=1"] })],
  ])("%s: %j", (property, args) => {
    expect(failuresOf(args).map((failure) => failure.property)).toEqual([property]);
  });
});

describe("who a host is", () => {
  const at = (connection: object, more: object = {}) => ({ connection, ...more });
  const session = { libvirtUri: "qemu:///session" };
  test.each<[string, unknown, unknown, boolean]>([
    ["itself", undefined, {}, true],
    ["this machine and another", {}, at({ host: "kvm1" }), false],
    [
      "credentials",
      at({ host: "kvm1", user: "a", password: "b" }),
      at({ host: "KVM1", port: 22, privateKey: "c" }),
      true,
    ],
    ["the proxy", at({ host: "kvm1" }), at({ host: "kvm1", proxy: { host: "gate" } }), true],
    ["the port", at({ host: "kvm1" }), at({ host: "kvm1", port: 2222 }), false],
    ["another user", at({ host: "kvm1", user: "a" }), at({ host: "kvm1", user: "b" }), true],
    [
      "another user, whose own libvirt it is",
      at({ host: "kvm1", user: "a" }, session),
      at({ host: "kvm1", user: "b" }, session),
      false,
    ],
  ])("%s", (_, one, other, same) => {
    expect(hostIdentity(one) === hostIdentity(other)).toBe(same);
  });

  test("two bastions may each have a host of one address", () => {
    const behind = (host: string) => hostOnItsWay(at({ host: "10.0.0.5", proxy: { host } }));
    expect(behind("a")).not.toBe(behind("b"));
    expect(behind("a")).toBe(behind("A"));
  });
});

describe("all at once", () => {
  test("every argument that is wrong in its own right", () => {
    const args = {
      source: "relative",
      tag: "a,b",
      fileMode: "9",
      host: { escalate: "su" },
      guest: { mountPoint: "/etc", options: { cache: "fast", extra: ["nope=1"] } },
    };
    expect(failuresOf(args).map(({ property }) => property)).toEqual([
      "source",
      "tag",
      "fileMode",
      "host.escalate",
      "guest.mountPoint",
      "guest.options.cache",
      "guest.options.extra.0",
    ]);
  });

  test("a wrong argument and a contradiction", () => {
    const args = { source: "relative", accessMode: "squash", fileMode: "0644" };
    expect(failuresOf(args).map(({ property }) => property)).toEqual(["source", "fileMode"]);
  });

  test("nothing given", () => {
    expect(parseSpec({})).toEqual({
      failures: [
        { property: "source", reason: "is required" },
        { property: "domain", reason: "is required" },
        { property: "tag", reason: "is required" },
      ],
    });
  });
});

describe("values that are not known yet", () => {
  test.each([
    [{ source: unknownValue }, []],
    [{ tag: unknownValue }, []],
    [{ guest: unknownValue }, []],
    [{ power: unknownValue }, []],
    [
      { guest: { mountPoint: unknownValue, options: { extra: [unknownValue], msizeBytes: unknownValue } } },
      [],
    ],
    [{ source: unknownValue, tag: "a,b" }, ["tag"]],
    [{ source: unknownValue, soruce: 1 }, ["soruce"]],
    [{ guest: { mountPoint: unknownValue, mode: "9" } }, ["guest.mode"]],
    [{ source: unknownValue, accessMode: "squash", fileMode: "0644" }, ["fileMode"]],
    [{ directory: { links: "map", recursive: unknownValue } }, []],
    [{ directory: { links: "map" }, power: unknownValue }, ["directory.links"]],
  ])("%j", (args, properties) => {
    const given = { ...leastArgs, ...args };
    const { spec, failures } = parseSpec(given);
    expect(failures.map(({ property }) => property)).toEqual(properties);
    expect(spec).toBeUndefined();
    expect(check(given).inputs).toEqual(given);
  });
});
