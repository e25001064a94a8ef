import { escapeAttribute } from "../../../provider/formats/xml-element";
import { parseDomainExports } from "../../../provider/formats/domain-xml";

const domain = (name: string, devices: string, more = ""): string => `<domain>
  <name>${name}</name>
  <uuid>1bc66943-7fd0-4114-bc1e-3f6e6a962a47</uuid>
  <devices>
${devices}  </devices>
${more}</domain>
`;
const filesystem = (inside: string, attributes = ""): string => `    <filesystem type='mount'${attributes}>
${inside}
    </filesystem>
`;
const of = (more: object) => ({
  domain: "web1",
  uuid: "1bc66943-7fd0-4114-bc1e-3f6e6a962a47",
  driver: "9p",
  source: "/a",
  tag: "t",
  readOnly: false,
  accessMode: "passthrough",
  live: false,
  ...more,
});

test.each<[string, string, object[]]>([
  ["none", domain("web1", ""), []],
  ["9p", domain("web1", filesystem("<source dir='/a'/><target dir='t'/>")), [of({})]],
  [
    "mapped",
    domain("web1", filesystem("<source dir='/a'/><target dir='t'/>", " accessmode='mapped'")),
    [of({ accessMode: "mapped" })],
  ],
  [
    "read-only, with a driver said",
    domain("web1", filesystem("<driver type='path'/><source dir='/a'/><target dir='t'/><readonly/>")),
    [of({ readOnly: true })],
  ],
  [
    "virtiofs, a name with references",
    domain("a&amp;b", filesystem("<driver type='virtiofs'/><source dir='/a &lt;b&gt;'/><target dir='t'/>")),
    [of({ domain: "a&b", driver: "virtiofs", source: "/a <b>" })],
  ],
  [
    "of a running domain",
    domain("web1", filesystem("<source dir='/a'/><target dir='t'/>")).replace(
      "<domain>",
      '<domain id="live">',
    ),
    [of({ live: true })],
  ],
  [
    "what the metadata of its owner says is none",
    domain(
      "web1",
      "",
      "  <metadata><filesystem><source dir='/a'/></filesystem><devices><filesystem><source dir='/a'/></filesystem></devices></metadata>\n",
    ),
    [],
  ],
  [
    "what has no directory",
    domain("web1", filesystem("<driver type='virtiofs'/><source socket='/s'/><target dir='t'/>")),
    [],
  ],
])("%s", (_, text, expected) => {
  expect(parseDomainExports(text)).toEqual(expected);
});

test.each(["", "no XML", "<network/>"])("%j is no domain", (text) => {
  expect(() => parseDomainExports(text)).toThrow();
});

describe("9p devices on QEMU's command line", () => {
  const of = (...words: readonly string[]): unknown[] =>
    parseDomainExports(
      domain(
        "web1",
        "",
        `<qemu:commandline xmlns:qemu='urn:q'>${words.map((word) => `<qemu:arg value='${escapeAttribute(word)}'/>`).join("")}<qemu:env name='A' value='-virtfs'/></qemu:commandline>`,
      ),
    ).map(({ driver, source, tag, readOnly, accessMode, onCommandLine }) => [
      driver,
      source,
      tag,
      readOnly,
      accessMode,
      onCommandLine,
    ]);
  const device = "virtio-9p-pci,fsdev=f,mount_tag=data";

  test.each<[string, readonly string[], readonly (readonly unknown[])[]]>([
    [
      "-fsdev and -device",
      ["-fsdev", "local,id=f,path=/srv/x,security_model=mapped-xattr", "-device", device],
      [["/srv/x", "data", false, "mapped"]],
    ],
    [
      "in the other order, with two dashes",
      [
        "--device",
        "mount_tag=data,fsdev=f,driver=virtio-9p-pci",
        "--fsdev",
        "path=/srv/x,fsdriver=local,security_model=none,id=f",
      ],
      [["/srv/x", "data", false, "squash"]],
    ],
    [
      "doubled commas",
      [
        "-fsdev",
        "local,id=f,path=/srv/a,,b,,,security_model=passthrough",
        "-device",
        "virtio-9p-pci,fsdev=f,mount_tag=a,,b",
      ],
      [["/srv/a,b,", "a,b", false, "passthrough"]],
    ],
    [
      "-virtfs",
      ["-virtfs", "local,path=/srv/x,mount_tag=data,security_model=mapped-file,readonly=on"],
      [["/srv/x", "data", true, "mapped-file"]],
    ],
    [
      "readonly in short",
      ["-virtfs", "local,path=/srv/x,mount_tag=data,readonly"],
      [["/srv/x", "data", true, ""]],
    ],
    [
      "noreadonly",
      ["-virtfs", "local,path=/srv/x,mount_tag=data,noreadonly"],
      [["/srv/x", "data", false, ""]],
    ],
    [
      "readonly=off, the last holds",
      ["-virtfs", "local,readonly,path=/srv/x,mount_tag=data,readonly=off"],
      [["/srv/x", "data", false, ""]],
    ],
    [
      "JSON",
      [
        "-fsdev",
        "local,id=f,path=/srv/x",
        "-device",
        '{"driver":"virtio-9p-pci","id":"a","fsdev":"f","mount_tag":"it\'s"}',
      ],
      [["/srv/x", "it's", false, ""]],
    ],
    [
      "-set",
      [
        "-fsdev",
        "local,id=f,path=/srv/x",
        "-device",
        `${device},id=d`,
        "-set",
        "device.d.mount_tag=other",
        "-set",
        "fsdev.f.readonly=on",
      ],
      [["/srv/x", "other", true, ""]],
    ],
    [
      "two devices of one fsdev",
      [
        "-fsdev",
        "local,id=f,path=/srv/x",
        "-device",
        device,
        "-device",
        "virtio-9p-ccw,fsdev=f,mount_tag=more",
      ],
      [
        ["/srv/x", "data", false, ""],
        ["/srv/x", "more", false, ""],
      ],
    ],
    ["a proxy's directory is not told", ["-fsdev", "proxy,id=f,socket=/s", "-device", device], []],
    ["an fsdev without a device is no export", ["-fsdev", "local,id=f,path=/srv/x"], []],
    ["other devices", ["-device", "virtio-net-pci,netdev=n", "-drive", "file=/x,path=/y,mount_tag=data"], []],
    ["a word without its value", ["-device"], []],
  ])("%s", (_, words, expected) => {
    expect(of(...words)).toEqual(expected.map((one) => ["9p", ...one, true]));
  });

  test.each([0, 1, 17, 300])("%i of them", (count) => {
    const words = Array.from({ length: count }, (_, at) => [
      "-virtfs",
      `local,path=/srv/${at},mount_tag=t${at}`,
    ]);
    expect(of(...words.flat())).toHaveLength(count);
  });
});

test("what is cut off is an error and not a short list", () => {
  expect(() => parseDomainExports(domain("web1", "    <filesystem type='mount'>\n"))).toThrow();
});
