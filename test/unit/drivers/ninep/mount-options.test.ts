import fc from "fast-check";
import {
  cacheModes,
  extraOptionNames,
  formatMountOptions,
  isExtraOption,
  maxMsizeBytes,
  minMsizeBytes,
  namedOptions,
  parseMountOptions,
} from "../../../../provider/drivers/ninep/mount-options";
import { specOf } from "../../sample";

function optionsOf(options: Record<string, unknown>, readOnly = false): string {
  const { guest } = specOf({ guest: { mountPoint: "/mnt/foobar", options } });
  if (!guest) throw new Error("no guest");
  return formatMountOptions(guest.options, readOnly);
}

describe("formatMountOptions", () => {
  test.each([
    [{}, "trans=virtio,version=9p2000.L,_netdev,nofail,nodev,msize=131072"],
    [{ nofail: false, nodev: false, msizeBytes: 0 }, "trans=virtio,version=9p2000.L,_netdev"],
    [{ nofail: false, nodev: false, msizeBytes: 0, netdev: false }, "trans=virtio,version=9p2000.L"],
    [
      { noexec: true, nosuid: true, automount: true, extra: ["noatime", "x-a=b"] },
      "trans=virtio,version=9p2000.L,_netdev,nofail,nodev,nosuid,noexec,msize=131072,x-systemd.automount,noatime,x-a=b",
    ],
    [
      { cache: "loose", access: "1000", context: "system_u:object_r:t:s0:c1,c2", msizeBytes: 4096 },
      'trans=virtio,version=9p2000.L,_netdev,nofail,nodev,msize=4096,cache=loose,access=1000,context="system_u:object_r:t:s0:c1,c2"',
    ],
  ])("%j", (options, expected) => {
    expect(optionsOf(options)).toBe(expected);
  });

  test("a read-only share is mounted ro", () => {
    expect(optionsOf({}, true)).toBe("trans=virtio,version=9p2000.L,_netdev,nofail,nodev,ro,msize=131072");
  });
});

describe("parseMountOptions", () => {
  const flag = fc.boolean();
  const value = fc.stringMatching(/^[^\s,"=]{1,8}$/).filter((text) => !/\p{Cc}/u.test(text));
  const options = fc.record(
    {
      msizeBytes: fc.oneof(fc.constant(0), fc.integer({ min: minMsizeBytes, max: maxMsizeBytes })),
      cache: fc.constantFrom(...cacheModes),
      access: fc.oneof(fc.constantFrom("user", "any", "client"), fc.nat().map(String)),
      context: fc.stringMatching(/^[^\s"\\]{1,20}$/).filter((text) => !/\p{Cc}/u.test(text)),
      ...{ netdev: flag, nofail: flag, automount: flag, noexec: flag, nosuid: flag, nodev: flag },
      extra: fc.array(
        fc
          .tuple(fc.constantFrom(...extraOptionNames, "x-a", "comment"), fc.option(value), fc.boolean())
          .map(([name, text, quoted]) =>
            text === null ? name : quoted ? `${name}="${text}"` : `${name}=${text}`,
          ),
      ),
    },
    { requiredKeys: [] },
  );

  test("is the inverse of formatMountOptions, for all that check takes, read-only or not", () => {
    fc.assert(
      fc.property(options, fc.boolean(), (given, readOnly) => {
        const wanted = specOf({ readOnly, guest: { mountPoint: "/mnt/foobar", options: given } }).guest
          ?.options;
        expect(parseMountOptions(optionsOf(given, readOnly))).toEqual(wanted);
      }),
    );
  });

  test.each<[string, Record<string, unknown>]>([
    ["", {}],
    ["rw,dev,exec,suid,_netdev", { netdev: true }],
    ["nodev,dev,msize=8192,msize=4096", { msizeBytes: 4096 }],
    ["noatme,cache=lose", { extra: ["noatme", "cache=lose"] }],
    ["msize=0x2000,msize=1,access=root", { extra: ["msize=0x2000", "msize=1", "access=root"] }],
    ["context=a:b:c:s0,trans=tcp", { context: "a:b:c:s0", extra: ["trans=tcp"] }],
    ['context="a:b:c:s0:c1,c2",x-a="b,c"', { context: "a:b:c:s0:c1,c2", extra: ['x-a="b,c"'] }],
  ])("%s", (text, expected) => {
    const none = { msizeBytes: 0, netdev: false, nofail: false, automount: false };
    const flags = { noexec: false, nosuid: false, nodev: false, extra: [] };
    expect(parseMountOptions(text)).toEqual({ ...none, ...flags, ...expected });
  });
});

test.each([
  ["noatime", true],
  ["x-a=b", true],
  ['comment="a"', true],
  ['comment="a', false],
  ["x-a=b,c", false],
  ["noatme", false],
  ["msize=8192", false],
  ["x-systemd.automount", false],
  ["x-a=\u0001", false],
  ["", false],
])("isExtraOption(%j) is %s, as check has it", (option, expected) => {
  expect(isExtraOption(option)).toBe(expected);
  const check = () => optionsOf({ extra: [option] });
  if (expected) expect(check).not.toThrow();
  else expect(check).toThrow();
});

test("no option has both an argument and a place in extra", () => {
  expect(extraOptionNames.filter((name) => namedOptions.has(name))).toEqual([]);
});
