import {
  flagsOf,
  formatFlags,
  formatMounted,
  mountDifferences,
} from "../../../../provider/layers/mount/differences";
import { parseMountOptions, splitMountOptions } from "../../../../provider/drivers/ninep/mount-options";
import { type Mount, parseMountinfo } from "../../../../provider/formats/mountinfo";

/** A mount by its own flags and what v9fs shows. */
function mountOf(flags: string, values: string): Mount {
  const [mount] = parseMountinfo(`36 1 0:45 / /mnt/a ${flags} - 9p foobar ${values},trans=virtio`);
  if (!mount) throw new Error("no mount");
  return mount;
}
const wantedOf = (text: string): Parameters<typeof mountDifferences>[0] => ({
  options: parseMountOptions(text) as Parameters<typeof mountDifferences>[0]["options"],
  readOnly: splitMountOptions(text).includes("ro"),
});
const linux61 = "6.1.0-40-amd64";
const linux510 = "5.10.0-32-amd64";
const base = "trans=virtio,version=9p2000.L";

test.each<[string, string, string, string, string, string[]]>([
  ["as wanted", `${base},nodev`, "rw,nodev,relatime", "rw,access=client", linux61, []],
  ["its own size by name, 6.1", `${base},msize=131072`, "rw,relatime", "rw", linux61, []],
  ["its own size by name, 5.10", `${base},msize=8192`, "rw,relatime", "rw", linux510, []],
  ["not shown, 6.1", `${base},msize=8192`, "rw,relatime", "rw", linux61, ["msize=131072 for msize=8192"]],
  ["not shown, 5.10", `${base},msize=65536`, "rw,relatime", "rw", linux510, ["msize=8192 for msize=65536"]],
  ["size of its own", base, "rw,relatime", "rw,msize=8192", linux61, ["msize=8192 for msize=131072"]],
  ["5.16 is the first", base, "rw,relatime", "rw,msize=131072", "5.15.9", ["msize=131072 for msize=8192"]],
  ["5.16", base, "rw,relatime", "rw,msize=131072", "5.16.0", []],
  ["cache by name", `${base},cache=loose`, "rw,relatime", "rw,cache=loose", linux61, []],
  ["cache by a bare name", `${base},cache=loose`, "rw,relatime", "rw,loose", linux61, []],
  ["mmap by a bare name", base, "rw,relatime", "rw,mmap", linux61, ["cache=mmap for cache=none"]],
  ["cache by bits", `${base},cache=loose`, "rw,relatime", "rw,cache=f", "6.6.1", []],
  ["mmap by bits", `${base},cache=mmap`, "rw,relatime", "rw,cache=5", "6.6.1", []],
  ["none is not shown", `${base},cache=none`, "rw,relatime", "rw", linux61, []],
  ["cache", base, "rw,relatime", "rw,cache=loose", linux61, ["cache=loose for cache=none"]],
  ["no cache", `${base},cache=loose`, "rw,relatime", "rw", linux61, ["cache=none for cache=loose"]],
  ["other bits", `${base},cache=mmap`, "rw,relatime", "rw,cache=f", "6.6.1", ["cache=loose for cache=mmap"]],
  ["access", base, "rw,relatime", "rw,access=user", linux61, ["access=user for access=client"]],
  ["a uid with zeros", `${base},access=01000`, "rw,relatime", "rw,access=1000", linux61, []],
  ["access not shown", `${base},access=any`, "rw,relatime", "rw", linux61, []],
  ["ro", `${base},ro`, "rw,relatime", "rw", linux61, ["rw for ro"]],
  ["a read-only file system", base, "rw,relatime", "ro", linux61, ["ro for rw"]],
  ["suid", base, "rw,nosuid,noexec,relatime", "rw", linux61, ["nosuid for suid", "noexec for exec"]],
  ["access times are not compared", `${base},noatime`, "rw,nodiratime,relatime", "rw", linux61, []],
  ["the last of two", `${base},noexec,exec`, "rw,relatime", "rw", linux61, []],
])("%s", (_, text, flags, values, release, expected) => {
  const differences = mountDifferences(wantedOf(text), mountOf(flags, values), { mounts: [], release });
  expect(differences.map(({ shown, wanted }) => `${shown} for ${wanted}`)).toEqual(expected);
});

test.each<[string, string, string, boolean, Record<string, unknown>]>([
  ["flags", "rw,noexec,relatime", "rw", false, { nodev: false, noexec: true }],
  ["ro has none", "ro,nodev,relatime", "rw", false, {}],
  [
    "values",
    "rw,nodev,relatime",
    "rw,cache=mmap,access=1000,msize=8192",
    false,
    {
      cache: "mmap",
      access: "1000",
      msizeBytes: 8192,
    },
  ],
  ["a cache that check refuses", "rw,nodev,relatime", "rw,cache=9", false, {}],
  ["a size that check refuses", "rw,nodev,relatime", "rw,msize=1000000", false, {}],
  ["an automount", "rw,nodev,relatime", "rw", true, { automount: true }],
])("arguments: %s", (_, flags, values, isAutomounted, expected) => {
  const text = `${base},nodev,x-a,relatime`;
  const mount = mountOf(flags, values);
  const mounts = isAutomounted ? [{ ...mount, type: "autofs" }, mount] : [mount];
  const args = mountDifferences(wantedOf(text), mount, { mounts, release: linux61 }).map((one) => one.args);
  expect(Object.assign({}, ...args)).toEqual(
    Object.fromEntries(Object.entries(expected).map(([key, value]) => [`guest.options.${key}`, value])),
  );
});

test.each([
  ["rw,nodev,relatime", "rw", "rw,nodev,suid,exec,relatime,diratime"],
  ["rw", "ro", "ro,dev,suid,exec,strictatime,diratime"],
])("flagsOf a mount %s of a file system %s", (flags, values, expected) => {
  const mount = mountOf(flags, values);
  expect(formatFlags(flagsOf(mount), mount)).toBe(expected);
});

test.each([
  ["rw,nodev", "rw,sync,seclabel,access=client", "rw,nodev,sync,access=client,trans=virtio"],
  ["rw", "rw,loose", "rw,cache=loose,trans=virtio"],
  ["ro", "ro,cache=8f", "ro,cache=fscache,trans=virtio"],
  ["rw", 'rw,context="a:b:c:s0:c1,c2"', 'rw,context="a:b:c:s0:c1,c2",trans=virtio'],
])("formatMounted: %s and %s", (flags, values, expected) => {
  expect(formatMounted(mountOf(flags, values))).toBe(expected);
});
