import { deviceArguments, wantedDevice } from "../../../../provider/drivers/ninep/device";
import { domainDevice } from "../../../../provider/layers/device/index";
import { type Device9p, formatDevice9p, plainPath } from "../../../../provider/formats/domain-xml";
import { escapeAttribute } from "../../../../provider/formats/xml-element";
import { device, domainOf, info, specOf } from "../../sample";
import { does, runScript } from "../../shell-machine";

type Seen = Parameters<typeof domainDevice.plan>[1];
const want = { domain: "web1", device, onlyWriter: true };
const seenOf = (devices: readonly Device9p[], more: Partial<Seen> = {}): Seen => ({
  info,
  persistent: domainOf(devices),
  has9p: true,
  apparmor: false,
  spellings: [],
  ...more,
});
const none = { device: null };
const json = (one: Device9p) => ({
  ...one,
  fileMode: one.fileMode ?? null,
  directoryMode: one.directoryMode ?? null,
});

test("wantedDevice is what the spec says, and nothing else", () => {
  const spec = specOf({
    readOnly: true,
    fileMode: "644",
    model: "virtio-transitional",
    guest: { mountPoint: "/mnt/a" },
  });
  expect(wantedDevice(spec)).toEqual({
    ...device,
    readOnly: true,
    fileMode: "0644",
    model: "virtio-transitional",
  });
});

const declare = "declare foobar (/foo/bar, mapped) in the domain";

describe("plan", () => {
  test.each<[string, readonly Device9p[], boolean, string[]]>([
    ["it is not there", [], false, [declare]],
    ["it is there", [device], false, []],
    ["others are there", [{ ...device, tag: "other" }], false, [declare]],
    [
      "it is there otherwise",
      [{ ...device, readOnly: true }],
      false,
      ["take foobar (/foo/bar) out of the domain", declare],
    ],
    [
      "it is there twice",
      [device, device],
      false,
      ["take foobar (/foo/bar) out of the domain", "take foobar (/foo/bar) out of the domain", declare],
    ],
    [
      "the share had the tag, with another source",
      [{ ...device, source: "/elsewhere" }],
      true,
      ["take foobar (/elsewhere) out of the domain", declare],
    ],
  ])("%s", (_, devices, known, steps) => {
    const plan = domainDevice.plan(want, seenOf(devices), undefined, known);
    expect(plan.refuse).toBeUndefined();
    expect(does(plan)).toEqual(steps);
  });

  test("the script declares it, and its undo takes it out", () => {
    const [step] = domainDevice.plan(want, seenOf([]), undefined, false).steps;
    const xml = `<filesystem type='\\''mount'\\'' accessmode='\\''mapped'\\''>
  <source dir='\\''/foo/bar'\\''/>
  <target dir='\\''foobar'\\''/>
</filesystem>`;
    expect(step?.run.text).toBe(`printf %s '${xml}' | vsh attach-device "$domain" /dev/stdin --config`);
    expect(step?.undo?.text).toBe(`printf %s '${xml}' | vsh detach-device "$domain" /dev/stdin --config`);
  });

  test.each<[string, Seen, string, string]>([
    [
      "unknownDomain",
      seenOf([], { info: undefined, persistent: undefined }),
      "libvirt has no domain web1",
      "give domain by its exact name or UUID, as `virsh list --all --uuid --name` shows them",
    ],
    [
      "transientDomain",
      seenOf([], { info: { ...info, persistent: false } }),
      "web1 is transient: it has no definition that a share could be written to",
      "define it (virsh define) and start it from there",
    ],
    [
      "qemuWithoutVirtio9p",
      seenOf([], { has9p: false }),
      "the emulator of web1, /usr/bin/qemu-system-x86_64, has no virtio-9p",
      "RHEL and its kin build QEMU without it: use another build of QEMU for this domain",
    ],
    [
      "tagTaken",
      seenOf([{ ...device, source: "/elsewhere" }]),
      "the tag foobar is taken in web1 by /elsewhere; this share would give it to /foo/bar",
      "choose another tag, or remove that device",
    ],
    [
      "tagTaken",
      seenOf([], {
        persistent: domainOf([], {
          otherFilesystems: [
            { driver: "virtiofs", source: "/v", tag: "foobar", readOnly: false, accessMode: "" },
          ],
        }),
      }),
      "the tag foobar is taken in web1 by a virtiofs device (/v); this share would give it to /foo/bar",
      "choose another tag, or remove that device",
    ],
  ])("refuses with %s", (code, seen, what, remedy) => {
    const refused = { refuse: [{ code, what, remedy }], steps: [] };
    expect(domainDevice.plan(want, seen, undefined, false)).toEqual(refused);
  });

  test.each([
    ["/srv/x", "a 9p device on QEMU's command line (/srv/x)"],
    ["", "a 9p device on QEMU's command line"],
  ])("a device on QEMU's command line has the tag, with the source %j", (source, named) => {
    const other = { driver: "9p", source, tag: "foobar", readOnly: false, accessMode: "mapped" };
    const seen = seenOf([device], { persistent: domainOf([device], { otherFilesystems: [other] }) });
    expect(domainDevice.plan(want, seen, none, true).refuse).toMatchObject([
      { code: "tagTaken", what: expect.stringContaining(`by ${named};`) as string },
    ]);
    expect(domainDevice.drift(want, seen)).toMatchObject({
      state: "differs",
      notes: [`web1 has the tag foobar for ${named}, too`],
    });
  });

  test.each<[string, Partial<Seen>]>([
    ["with a slash more", {}],
    ["through a link", { spellings: ["/link/bar/"] }],
  ])("a device that spells the directory otherwise is adopted, and given back as it was: %s", (_, more) => {
    const source = more.spellings?.[0] ?? "/foo//bar/";
    const xml = formatDevice9p({ ...device, source });
    const seen = seenOf([{ ...device, source: plainPath(source), xml }], more);
    expect(domainDevice.plan(want, seen, undefined, false)).toEqual({ steps: [], warnings: [] });
    expect(domainDevice.drift(want, seen)).toEqual({ state: "ok", args: {}, notes: [] });
    const before = domainDevice.remember(want, seen);
    const changed = seenOf([{ ...device, readOnly: true }]);
    expect(domainDevice.restore(want, before, changed).steps.at(-1)?.run.text).toContain(
      escapeAttribute(source),
    );
  });

  test.each([
    [{ refused: false, says: "warning: short-form boolean option 'readonly' deprecated" }, "complains of"],
    [{ refused: true, says: "Invalid parameter 'readonly'" }, "refuses"],
  ])("an emulator that %j", (readOnlyForm, verb) => {
    const readOnly = { ...want, device: { ...device, readOnly: true } };
    const plan = domainDevice.plan(readOnly, seenOf([], { readOnlyForm }), undefined, false);
    const said = readOnlyForm.refused ? plan.refuse?.map(({ what }) => what) : plan.warnings;
    expect(said).toEqual([expect.stringContaining(`the emulator of web1 ${verb}`)]);
    expect(plan.steps).toHaveLength(readOnlyForm.refused ? 0 : 1);
    expect(
      domainDevice.plan(readOnly, seenOf([readOnly.device], { readOnlyForm }), undefined, true).warnings,
    ).toEqual([]);
  });

  test("what was found at first contact says nothing of whose another source's device is", () => {
    const seen = seenOf([{ ...device, source: "/elsewhere" }]);
    expect(domainDevice.plan(want, seen, none, false).refuse?.map(({ code }) => code)).toEqual(["tagTaken"]);
  });

  test("a virtiofs device of the tag is refused at any time: the domain would not start with both", () => {
    const other = { driver: "virtiofs", source: "/v", tag: "foobar", readOnly: false, accessMode: "" };
    const seen = seenOf([], { persistent: domainOf([], { otherFilesystems: [other] }) });
    expect(domainDevice.plan(want, seen, none, true).refuse?.map(({ code }) => code)).toEqual(["tagTaken"]);
  });
});

describe("remember and restore", () => {
  const former = { ...device, readOnly: true, fileMode: "0644" };
  test.each<[string, readonly Device9p[], readonly Device9p[], string[]]>([
    ["nothing was there: it is taken out", [], [device], ["take foobar (/foo/bar) out of the domain"]],
    ["nothing was there, nothing is", [], [], []],
    ["it was there as it is", [device], [device], []],
    [
      "another was there",
      [former],
      [device],
      [
        "take foobar (/foo/bar) out of the domain",
        "declare foobar (/foo/bar, mapped, read-only) in the domain",
      ],
    ],
    [
      "another was there and is gone",
      [former],
      [],
      ["declare foobar (/foo/bar, mapped, read-only) in the domain"],
    ],
    ["somebody else has the tag now", [], [{ ...device, source: "/elsewhere" }], []],
  ])("%s", (_, then, now, steps) => {
    const before = domainDevice.remember(want, seenOf(then));
    expect(JSON.parse(JSON.stringify(before))).toStrictEqual(
      JSON.parse(JSON.stringify({ device: then[0] ?? null })),
    );
    expect(does(domainDevice.restore(want, before, seenOf(now)))).toEqual(steps);
  });

  test("a device comes back with all that libvirt had of it, also when its removal is undone", () => {
    const xml =
      "<filesystem type='mount'>\n  <driver type='path' wrpolicy='immediate' iommu='on'/>\n  <source dir='/foo/bar'/>\n  <target dir='foobar'/>\n  <address type='pci' slot='0x07'/>\n</filesystem>";
    const found = { ...device, accessMode: "passthrough", xml };
    const before = domainDevice.remember(want, seenOf([found]));
    const record = JSON.parse(JSON.stringify(before)) as typeof before;
    const [out, back] = domainDevice.restore(
      want,
      record,
      seenOf([{ ...device, xml: formatDevice9p(device) }]),
    ).steps;
    expect([out?.run.text, back?.run.text]).toEqual([
      expect.stringContaining("accessmode="),
      expect.stringContaining("wrpolicy="),
    ]);
    // Its address first, and without it where another device has that by now.
    expect(back?.run.text.split(" || ").map((text) => text.includes("<address"))).toEqual([true, false]);
    const [takenOut, declared] = domainDevice.plan(want, seenOf([found]), undefined, true).steps;
    expect(takenOut?.undo?.text).toContain("wrpolicy=");
    expect(declared?.run.text).toContain("wrpolicy=");
  });

  test("a record that an earlier release wrote, without the XML, gives the device back by its values", () => {
    const before = { device: json({ ...device, readOnly: true }) };
    const [, back] = domainDevice.restore(want, before, seenOf([device])).steps;
    expect(back?.run.text).toContain("<readonly/>");
  });

  test("a libvirt that does not answer has not lost the device", () => {
    const [takenOut] = domainDevice.restore(want, none, seenOf([device])).steps;
    const answering = (answer: string) => (text: string) => `vsh() { ${answer}; }\ndomain=x\n${text}`;
    const run = (answer: string) => runScript(takenOut?.run ?? { text: "" }, answering(answer)).toString();
    expect(() => run("return 1")).toThrow("Command failed");
    expect(run("echo '<domain/>'")).toBe("");
  });

  test("of a domain that is gone there is nothing to give back", () => {
    expect(
      domainDevice.restore(want, none, seenOf([], { info: undefined, persistent: undefined })).steps,
    ).toEqual([]);
  });
});

test.each<[string, Seen, object]>([
  ["as wanted", seenOf([device]), { state: "ok", args: {}, notes: [] }],
  ["gone", seenOf([]), { state: "missing", args: {}, notes: ["web1 has no filesystem foobar"] }],
  ["no domain", seenOf([], { persistent: undefined }), { state: "unknown", args: {}, notes: [] }],
  [
    "otherwise",
    seenOf([{ ...device, source: "/x", readOnly: true, fileMode: "0600" }]),
    { state: "differs", args: { source: "/x", readOnly: true, fileMode: "0600" }, notes: [] },
  ],
])("drift: %s", (_, seen, expected) => {
  expect(domainDevice.drift(want, seen)).toEqual(expected);
});

test.each(deviceArguments.filter((name) => name !== "tag"))("drift: %s alone", (name) => {
  const value = name === "readOnly" ? true : "other";
  expect(domainDevice.drift(want, seenOf([{ ...device, [name]: value }])).args).toEqual({ [name]: value });
});

test("drift: a mode that is there no more is null", () => {
  const wanted = { ...want, device: { ...device, fileMode: "0644" } };
  expect(domainDevice.drift(wanted, seenOf([device])).args).toEqual({ fileMode: null });
});
