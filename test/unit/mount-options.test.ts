import { extraOptionNames, formatMountOptions, namedOptions } from "../../provider/mount-options";
import { specOf } from "./sample";

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

test("no option has both an argument and a place in extra", () => {
  expect(extraOptionNames.filter((name) => Object.hasOwn(namedOptions, name))).toEqual([]);
});
