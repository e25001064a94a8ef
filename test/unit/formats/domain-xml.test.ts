import { readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import {
  type Device9p,
  type Domain,
  elementOf,
  formatChanged,
  formatDevice9p,
  liveOnlyDevices,
  parseDacBaselabel,
  parseDomain,
  plainPath,
  sameDevice,
  withoutAddress,
} from "../../../provider/formats/domain-xml";

/** Dumped by libvirt 9.0 and QEMU 7.2 on Debian 12; paths moved to /srv, the capabilities without guests. */
const sample = (name: string): string => readFileSync(join(__dirname, "samples", `${name}.xml`), "utf8");

const plain: Device9p = {
  source: "/srv/foo",
  tag: "foo",
  accessMode: "passthrough",
  readOnly: false,
  multidevs: "default",
  fileMode: undefined,
  directoryMode: undefined,
  model: "virtio",
};

describe("parseDomain of a running domain", () => {
  const live = parseDomain(sample("live"));

  test("reads what it is", () => {
    const { deviceKeys, devices9p, ...rest } = live;
    expect(deviceKeys).toHaveLength(44);
    expect(devices9p).toHaveLength(3);
    expect(rest).toEqual({
      name: "web1",
      uuid: "5f0c7f1e-6a0b-4c57-9d2f-1f7c1b2a3d4e",
      systemUuid: "5f0c7f1e-6a0b-4c57-9d2f-1f7c1b2a3d4e",
      type: "qemu",
      emulator: "/usr/bin/qemu-system-x86_64",
      onPoweroff: "destroy",
      dacLabel: { user: "64055", group: "64055" },
      agentChannel: "disconnected",
      otherFilesystems: [],
      hasBlockJob: false,
    });
  });

  test("reads its 9p devices in canonical form", () => {
    expect(live.devices9p).toMatchObject([
      {
        ...plain,
        source: "/srv/s & t",
        tag: "foo<bar",
        accessMode: "mapped",
        multidevs: "remap",
        fileMode: "0644",
        directoryMode: "0755",
      },
      { ...plain, source: "/srv/ro", tag: "ro", readOnly: true },
      {
        ...plain,
        source: "/srv/nl\nx\ty",
        tag: "nl",
        accessMode: "squash",
        model: "virtio-non-transitional",
      },
    ]);
  });

  test("sees a block copy", () => {
    expect(parseDomain(sample("blockjob")).hasBlockJob).toBe(true);
  });
});

describe("parseDomain of a persistent definition", () => {
  const persistent = parseDomain(sample("inactive"));

  test("knows neither the label nor the agent's state", () => {
    expect(persistent.dacLabel).toBeUndefined();
    expect(persistent.agentChannel).toBe("unknown");
  });

  test("has the same 9p devices", () => {
    const live = parseDomain(sample("live"));
    expect(persistent.devices9p.slice(0, 2).map(formatDevice9p)).toEqual(
      live.devices9p.slice(0, 2).map(formatDevice9p),
    );
  });

  test("shows what the first start makes of line ends in a path", () => {
    expect(parseDomain(sample("never-started")).devices9p[2]?.source).toBe("/srv/nl\nx\ty");
    expect(persistent.devices9p[2]?.source).toBe("/srv/nl x y");
  });
});

describe("parseDomain in small", () => {
  test("fills in defaults", () => {
    expect(domainWith("")).toEqual({
      name: "d",
      uuid: "u",
      systemUuid: "u",
      type: "kvm",
      emulator: undefined,
      onPoweroff: "destroy",
      dacLabel: undefined,
      agentChannel: "absent",
      devices9p: [],
      otherFilesystems: [],
      deviceKeys: [],
      hasBlockJob: false,
    });
  });

  test.each([
    ["+107:+36", { user: "107", group: "36" }],
    ["libvirt-qemu:kvm", { user: "libvirt-qemu", group: "kvm" }],
    ["\n    qemu:qemu\n  ", { user: "qemu", group: "qemu" }],
    ["", undefined],
    ["qemu", undefined],
  ])("reads the label %j", (label, expected) => {
    const xml = `<seclabel model='selinux'><label>a:b:c:s0</label></seclabel>
      <seclabel type='static' model='dac' relabel='yes'><label>${label}</label></seclabel>`;
    expect(domainWith("", xml).dacLabel).toEqual(expected);
  });

  test("has no label where libvirt is told to set none", () => {
    expect(domainWith("", "<seclabel type='none' model='dac'/>").dacLabel).toBeUndefined();
  });

  test.each([
    ["connected", " state='connected'"],
    ["disconnected", " state='disconnected'"],
    ["unknown", ""],
  ])("finds the agent %s", (expected, state) => {
    const channels = `<channel type='spicevmc'><target name='com.redhat.spice.0' state='connected'/></channel>
      <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'${state}/></channel>`;
    expect(domainWith(channels).agentChannel).toBe(expected);
  });

  test("reads another power-off action", () => {
    expect(domainWith("", "<on_poweroff>restart</on_poweroff>").onPoweroff).toBe("restart");
  });

  test("tells other file systems from 9p", () => {
    const domain = domainWith(`
      <filesystem type='mount' accessmode='passthrough'>
        <driver type='virtiofs' queue='1024'/><source dir='/a'/><target dir='va'/></filesystem>
      <filesystem type='mount'><driver type='virtiofs'/><source socket='/s'/><target dir='vs'/></filesystem>
      <filesystem type='mount'><driver type='mtp'/><source dir='/m'/><target dir='m'/><readonly/></filesystem>
      <filesystem type='template'><source name='t'/><target dir='/'/></filesystem>
      <filesystem type='ram'><source usage='1024' units='KiB'/><target dir='/r'/></filesystem>
      <filesystem><source dir='/n'/><target dir='n'/></filesystem>`);
    expect(domain.devices9p).toMatchObject([{ ...plain, source: "/n", tag: "n" }]);
    expect(domain.otherFilesystems).toMatchObject([
      { driver: "virtiofs", source: "/a", tag: "va", readOnly: false },
      { driver: "virtiofs", source: "/s", tag: "vs", readOnly: false },
      { driver: "mtp", source: "/m", tag: "m", readOnly: true },
      { driver: "template", source: "t", tag: "/", readOnly: false },
      { driver: "ram", source: "", tag: "/r", readOnly: false },
    ]);
  });

  test.each([
    ["<network/>", "expected libvirt's <domain>, got <network>"],
    ["<domain type='kvm'><uuid>u</uuid></domain>", "the domain's <name> is missing in libvirt's XML"],
    ["<domain type='kvm'><name>d</name></domain>", "the domain's <uuid> is missing in libvirt's XML"],
    ["<domain><name>d</name><uuid>u</uuid></domain>", "the domain's type is missing in libvirt's XML"],
    ["", "expected libvirt's <domain>, got something that is no XML: it is empty"],
  ])("refuses %j", (xml, message) => {
    expect(() => parseDomain(xml)).toThrow(expect.objectContaining({ message }) as Error);
  });

  test("refuses a dump that was cut off", () => {
    expect(() => parseDomain(sample("live").slice(0, 5000))).toThrow(
      /^expected libvirt's <domain>, got something that is no XML: /,
    );
  });
});

describe("liveOnlyDevices", () => {
  const live = parseDomain(sample("live"));
  const persistent = parseDomain(sample("inactive"));

  test("finds none in an ordinary running domain, whose keys are all equal", () => {
    expect(liveOnlyDevices(live, persistent)).toEqual([]);
    expect([...live.deviceKeys].sort()).toEqual([...persistent.deviceKeys].sort());
  });

  test("finds none against the definition before the first start", () => {
    const before = parseDomain(sample("never-started"));
    expect(liveOnlyDevices(live, before)).toEqual([]);
    expect([...live.deviceKeys].sort()).toEqual([...before.deviceKeys].sort());
  });

  test("finds none while a block job runs", () => {
    expect(liveOnlyDevices(parseDomain(sample("blockjob")), parseDomain(sample("hotplugged")))).toEqual([]);
  });

  test("names what was plugged in", () => {
    expect(liveOnlyDevices(parseDomain(sample("hotplugged")), persistent)).toEqual([
      "disk vdb",
      "channel org.foo.0",
      "input mouse usb",
      "redirdev spicevmc usb",
    ]);
  });

  test("counts devices that look alike", () => {
    const rng = "<rng model='virtio'/>";
    expect(liveOnlyDevices(domainWith(rng + rng), domainWith(rng))).toEqual(["rng virtio"]);
  });

  test("leaves out what cannot be plugged in, and what only the persistent one has", () => {
    const pending = domainWith(`<filesystem><source dir='/n'/><target dir='n'/></filesystem>
      <controller type='pci' index='3'/><controller type='scsi' index='1'/><sound model='ich9'/><tpm/>
      <filesystem><driver type='virtiofs'/><target dir='v'/></filesystem>`);
    expect(liveOnlyDevices(pending, domainWith("<disk><target dev='vdb'/></disk>"))).toEqual([
      "controller scsi 1",
      "filesystem virtiofs v",
    ]);
  });
});

describe("formatDevice9p", () => {
  test("writes what is not the default, and accessmode", () => {
    expect(formatDevice9p(plain)).toBe(
      [
        "<filesystem type='mount' accessmode='passthrough'>",
        "  <source dir='/srv/foo'/>",
        "  <target dir='foo'/>",
        "</filesystem>",
      ].join("\n"),
    );
  });

  test("writes everything", () => {
    const device: Device9p = {
      source: "/srv/a&b 'c' \"d\" <ä>",
      tag: "t&t",
      accessMode: "mapped",
      readOnly: true,
      multidevs: "remap",
      fileMode: "0644",
      directoryMode: "0755",
      model: "virtio-transitional",
    };
    expect(formatDevice9p(device)).toBe(
      [
        "<filesystem type='mount' accessmode='mapped' model='virtio-transitional' multidevs='remap' fmode='0644' dmode='0755'>",
        "  <source dir='/srv/a&amp;b &apos;c&apos; &quot;d&quot; &lt;ä&gt;'/>",
        "  <target dir='t&amp;t'/>",
        "  <readonly/>",
        "</filesystem>",
      ].join("\n"),
    );
  });

  test("every device survives being written and read", () => {
    fc.assert(
      fc.property(arbitraryDevice, (device) => {
        const xml = formatDevice9p(device);
        expect(domainWith(xml).devices9p).toEqual([{ ...device, source: plainPath(device.source), xml }]);
      }),
      { numRuns: 500 },
    );
  });
});

describe("what a device has besides", () => {
  const rich = `<filesystem type='mount' accessmode='passthrough' model='virtio' acl='x'>
  <driver type='path' wrpolicy='immediate' iommu='on' ats='on'/>
  <binary path='/b'/>
  <idmap>
    <uid start='0' target='1000' count='10'/>
  </idmap>
  <source dir='//srv/./foo/'/>
  <target dir='foo'/>
  <space_hard_limit unit='bytes'>100</space_hard_limit>
  <alias name='ua-mine'/>
  <address type='pci' domain='0x0000' bus='0x02' slot='0x07' function='0x0'/>
</filesystem>`;
  const [found = plain] = domainWith(rich).devices9p;

  test("is no part of the comparison, and comes back to the letter", () => {
    expect(sameDevice(found, plain)).toBe(true);
    expect(elementOf(found)).toBe(rich);
    expect(elementOf(plain)).toBe(formatDevice9p(plain));
  });

  test("stays where something else is changed", () => {
    const wanted = { ...plain, accessMode: "mapped", readOnly: true, fileMode: "0640" };
    const changed = formatChanged(found, wanted);
    expect(domainWith(changed).devices9p).toMatchObject([wanted]);
    for (const line of rich
      .split("\n")
      .slice(1, -1)
      .filter((one) => !one.includes("<source")))
      expect(changed).toContain(line);
    expect(changed).toContain("<source dir='/srv/foo'/>");
    expect(changed).toContain("acl='x'");
    expect(changed).not.toContain("passthrough");
  });

  test("but not its address on another model", () => {
    const changed = formatChanged(found, { ...plain, model: "virtio-transitional" });
    expect(changed).not.toContain("<address");
    expect(changed).toContain("<alias name='ua-mine'/>");
  });

  test("its address alone can be left out", () => {
    expect(withoutAddress(rich)).toBe(
      rich
        .split("\n")
        .filter((line) => !line.includes("<address"))
        .join("\n"),
    );
    expect(withoutAddress(formatDevice9p(plain))).toBeUndefined();
  });

  test("a value that a later libvirt has stays as it is", () => {
    const [later] = domainWith(
      "<filesystem accessmode='new' multidevs='newer' model='newest'><source dir='/a'/><target dir='t'/></filesystem>",
    ).devices9p;
    expect(later).toMatchObject({ accessMode: "new", multidevs: "newer", model: "newest" });
  });
});

test.each([
  ["/srv/data/", "/srv/data"],
  ["//srv//data", "/srv/data"],
  ["/srv/./data/.", "/srv/data"],
  ["/", "/"],
  ["//", "/"],
  ["/a/../b/", "/a/../b"],
  ["/.hidden/", "/.hidden"],
  ["/a/..", "/a/.."],
  ["/a...", "/a..."],
])("plainPath(%j) is %j", (path, plainer) => {
  expect(plainPath(path)).toBe(plainer);
});

describe("sameDevice", () => {
  test.each<Partial<Device9p>>([
    { source: "/srv/bar" },
    { tag: "bar" },
    { accessMode: "mapped" },
    { readOnly: true },
    { multidevs: "remap" },
    { fileMode: "0644" },
    { directoryMode: "0755" },
    { model: "virtio-transitional" },
  ])("is not so with another %j", (change) => {
    expect(sameDevice(plain, { ...plain, ...change })).toBe(false);
  });

  test("is so for equal ones", () => {
    expect(sameDevice(plain, { ...plain })).toBe(true);
  });
});

describe("parseDacBaselabel", () => {
  test.each([
    ["kvm", { user: "64055", group: "64055" }],
    ["qemu", { user: "64055", group: "64055" }],
    ["xen", undefined],
  ])("of %s", (type, label) => {
    expect(parseDacBaselabel(sample("capabilities"), type)).toEqual(label);
  });

  test("is not SELinux's", () => {
    const xml = `<capabilities><host><secmodel><model>selinux</model><doi>0</doi>
      <baselabel type='kvm'>system_u:system_r:svirt_t:s0</baselabel></secmodel></host></capabilities>`;
    expect(parseDacBaselabel(xml, "kvm")).toBeUndefined();
  });

  test("refuses something else", () => {
    expect(() => parseDacBaselabel("<domain/>", "kvm")).toThrow(
      new Error("expected libvirt's <capabilities>, got <domain>"),
    );
  });
});

function domainWith(devices: string, elements = ""): Domain {
  return parseDomain(
    `<domain type='kvm'><name>d</name><uuid>u</uuid>${elements}<devices>${devices}</devices></domain>`,
  );
}

/** All that XML 1.0 can carry (https://www.w3.org/TR/xml/#charsets). */
const text = fc.oneof(
  // eslint-disable-next-line no-control-regex
  fc.string({ unit: "binary" }).filter((value) => !/[\0-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]/.test(value)),
  fc.string({
    unit: fc.constantFrom(
      "&",
      "<",
      ">",
      '"',
      "'",
      ";",
      "#x10",
      " ",
      "\t",
      "\n",
      "\r",
      "ä",
      "/",
      "=",
      "&amp;",
      "&#10;",
      "]]>",
      "<!--",
      "__proto__",
    ),
  }),
);
const mode = fc.option(
  fc.integer({ min: 0, max: 0o777 }).map((bits) => bits.toString(8).padStart(4, "0")),
  { nil: undefined },
);
const arbitraryDevice = fc.record<Device9p>({
  source: text,
  tag: text,
  accessMode: fc.constantFrom("mapped", "passthrough", "squash"),
  readOnly: fc.boolean(),
  multidevs: fc.constantFrom("default", "remap", "forbid", "warn"),
  fileMode: mode,
  directoryMode: mode,
  model: fc.constantFrom("virtio", "virtio-transitional", "virtio-non-transitional"),
});

test("the guest's system has the domain's UUID, or one of its own (libvirt 11.7)", () => {
  const xml = "<domain type='kvm'><name>d</name><uuid>u</uuid><hwuuid>h</hwuuid></domain>";
  expect(parseDomain(xml)).toMatchObject({ uuid: "u", systemUuid: "h" });
});
