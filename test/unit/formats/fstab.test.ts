import fc from "fast-check";
import {
  bytesOf,
  formatFstabEntry,
  type FstabEntry,
  maxFstabLineBytes,
  mountPointOf,
  parseFstab,
} from "../../../provider/formats/fstab";

const seedLine = "foobar    /mnt/foobar    9p   trans=virtio,version=9p2000.L,_netdev 0 0";
const seedEntry: FstabEntry = {
  source: "foobar",
  mountPoint: "/mnt/foobar",
  type: "9p",
  options: "trans=virtio,version=9p2000.L,_netdev",
  dump: 0,
  pass: 0,
};

describe("parseFstab", () => {
  test.each([
    ["the seed's line", seedLine, seedEntry],
    ["tabs, and blanks before it", `  \tfoobar\t/mnt/foobar\t9p\t${seedEntry.options}\t0\t0  `, seedEntry],
    ["a CR at the end", `${seedLine}\r`, seedEntry],
    ["without dump and pass", "foobar /mnt/foobar 9p trans=virtio,version=9p2000.L,_netdev", seedEntry],
    [
      "without options",
      "a /b c",
      { source: "a", mountPoint: "/b", type: "c", options: "", dump: 0, pass: 0 },
    ],
    ["more fields than six", `${seedLine} # ours`, seedEntry],
    [
      "escapes",
      "\\043tag /a\\040b\\011\\012\\134 9p ro,x=\\054 1 2",
      { source: "#tag", mountPoint: "/a b\t\n\\", type: "9p", options: "ro,x=,", dump: 1, pass: 2 },
    ],
    [
      "UTF-8, raw and escaped",
      "\xc3\xa4 /\\303\\244 9p ro 0 0",
      { source: "ä", mountPoint: "/ä", type: "9p", options: "ro", dump: 0, pass: 0 },
    ],
  ])("reads %s", (_, line, entry) => {
    expect(parseFstab(`${line}\n`).map((found) => found.entry)).toEqual([entry]);
  });

  test.each(["", " \t", "# a /b c d 0 0", "  #a /b c d 0 0", "a", "\r"])("skips %j", (line) => {
    expect(parseFstab(`${line}\n`)).toEqual([]);
    expect(parseFstab(line)).toEqual([]);
  });

  test("gives the bytes of a line, and its text, without its end", () => {
    expect(parseFstab("# \xc3\xa4\n\na /\xc3\xa4\xff c d 0 0\r\n#\nb /y 9p o 0 0")).toMatchObject([
      { bytes: "a /\xc3\xa4\xff c d 0 0", text: "a /ä\ufffd c d 0 0", entry: { mountPoint: "/ä\ufffd" } },
      { bytes: "b /y 9p o 0 0", text: "b /y 9p o 0 0", entry: { source: "b" } },
    ]);
  });

  // What both readers make of these lines was tried: findmnt of util-linux 2.38.1, getmntent(3) of glibc 2.36.
  const onlyBoot = "mount(8) ignores the line, and the boot does not";
  test.each<[string, string | undefined]>([
    ["a /b 9p o # by hand", onlyBoot],
    ["a /b 9p o 0 # by hand", onlyBoot],
    ["a /b 9p o x", onlyBoot],
    ["a /b 9p o 0x", onlyBoot],
    ["a /b 9p # by hand", onlyBoot],
    ["a /b", onlyBoot],
    ["a /b 9p", undefined],
    ["a /b 9p o 0 0 # by hand", undefined],
    ["a /b 9p o 0 0 7 8", undefined],
    ["  a /b 9p o 0 0  ", undefined],
    ["a /b 9p o\r", 'mount(8) reads "o" where the boot reads "o\r"'],
    ["\\043t /b 9p o 0 0", 'mount(8) reads "#t" where the boot reads "\\043t"'],
    ["a\\\\b /b 9p o 0 0", 'mount(8) reads "a\\\\b" where the boot reads "a\\b"'],
    ["a /c/../b 9p o 0 0", "the boot takes no path with .."],
    [`a /b 9p ${"o".repeat(maxFstabLineBytes - 8)}`, undefined],
    [`a /b 9p ${"o".repeat(maxFstabLineBytes)}`, expect.stringContaining("where the boot reads") as string],
  ])("readers: %j", (line, differs) => {
    expect(parseFstab(`${line}\n`).map((found) => [found.entry.source.length > 0, found.differs])).toEqual([
      [true, differs],
    ]);
  });

  test.each(["/mnt/a", "/mnt//a", "/mnt/./a", "/mnt/a/", "//mnt/a/.", "/mnt/x/../a"])(
    "%s is /mnt/a",
    (mountPoint) => {
      expect(mountPointOf({ ...seedEntry, mountPoint })).toBe("/mnt/a");
    },
  );
});

describe("formatFstabEntry", () => {
  test("writes the seed's line to the letter", () => {
    expect(formatFstabEntry(seedEntry)).toBe(seedLine);
  });

  test("escapes what would break the line, and no comma", () => {
    const entry = { ...seedEntry, source: "#a,b#", mountPoint: "/mnt/#a b\t\n\r\\040", options: "a,b" };
    expect(formatFstabEntry(entry)).toBe("\\043a,b#    /mnt/#a\\040b\\011\\012\\015\\134040    9p   a,b 0 0");
  });

  test("every entry survives being written and read", () => {
    const text = fc.oneof(
      fc.string({ unit: "binary", minLength: 1 }).filter((value) => !value.includes("\0")),
      fc.string({
        unit: fc.constantFrom(" ", "\t", "\n", "\r", "\\", "#", ",", "ä", "0", "ÿ", "\u2028", "\u{1f4be}"),
        minLength: 1,
      }),
    );
    const entries = fc.record<FstabEntry>({
      source: text,
      mountPoint: text,
      type: text,
      options: text,
      dump: fc.nat(),
      pass: fc.nat(),
    });
    fc.assert(
      fc.property(entries, (entry) => {
        const bytes = `${bytesOf(formatFstabEntry(entry))}\n`;
        expect(parseFstab(bytes).map((line) => line.entry)).toEqual([entry]);
      }),
    );
  });
});
