import fc from "fast-check";
import {
  addLine,
  applySplice,
  formatFstabEntry,
  type FstabEntry,
  type FstabLine,
  parseFstab,
  removeLine,
  replaceLine,
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

  test.each([
    "",
    " \t",
    "# a /b c d 0 0",
    "  #a /b c d 0 0",
    "a",
    "a /b",
    "a /b c d e",
    "a /b c d 0 2x",
    "\r",
  ])("skips %j", (line) => {
    expect(parseFstab(`${line}\n`)).toEqual([]);
    expect(parseFstab(line)).toEqual([]);
  });

  test("gives offsets in bytes, the terminator within, and the text without it", () => {
    expect(parseFstab("# \xc3\xa4\n\na /\xc3\xa4 c d 0 0\r\n#\nb /y 9p o 0 0")).toMatchObject([
      { start: 6, end: 21, text: "a /ä c d 0 0", entry: { mountPoint: "/ä" } },
      { start: 23, end: 36, text: "b /y 9p o 0 0", entry: { source: "b" } },
    ]);
  });
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
        const bytes = applySplice("", addLine("", formatFstabEntry(entry)));
        expect(parseFstab(bytes).map((line) => line.entry)).toEqual([entry]);
      }),
    );
  });
});

describe("addLine", () => {
  test.each([
    ["", `${seedLine}\n`],
    ["a /b c d 0 0\n", `a /b c d 0 0\n${seedLine}\n`],
    ["a /b c d 0 0", `a /b c d 0 0\n${seedLine}`],
    ["a\r\nb\r\n", `a\r\nb\r\n${seedLine}\r\n`],
    ["a\r\nb", `a\r\nb\r\n${seedLine}`],
    ["a\nb\r\n", `a\nb\r\n${seedLine}\n`],
    ["a\r", `a\r\n${seedLine}`],
    ["\n", `\n${seedLine}\n`],
  ])("to %j", (before, after) => {
    expect(applySplice(before, addLine(before, seedLine))).toBe(after);
  });

  test("encodes the line in UTF-8", () => {
    expect(addLine("\xe4\n", "ä")).toEqual({ offset: 2, remove: 0, insert: "\xc3\xa4\n" });
  });
});

describe("removeLine", () => {
  test("takes no more than the line when others have added lines after it", () => {
    const before = "a /b c d 0 0";
    const added = applySplice(before, addLine(before, seedLine));
    const continued = `${added}\nlater /l 9p o 0 0\n`;
    expect(applySplice(continued, removeLine(continued, ours(continued)))).toBe(
      "a /b c d 0 0\nlater /l 9p o 0 0\n",
    );
  });

  test("takes the only line", () => {
    expect(applySplice(seedLine, removeLine(seedLine, ours(seedLine)))).toBe("");
  });
});

describe("of any file, byte for byte,", () => {
  /** Lines, line ends and bytes such as real files have and such as nobody writes; no NUL. */
  const bytes = fc.oneof(
    fc.string({
      unit: fc.constantFrom("a", " ", "\t", "#", "\n", "\r", "\r\n", "\\", "\xe4", "a /b c d 0 0"),
    }),
    fc.array(fc.integer({ min: 1, max: 255 })).map((codes) => String.fromCharCode(...codes)),
    fc.array(fc.constantFrom("a /b c d 0 0", "", "# c", "\xff")).map((lines) => lines.join("\r\n")),
  );

  test("adding and removing gives it back", () => {
    fc.assert(
      fc.property(bytes, (before) => {
        const added = applySplice(before, addLine(before, seedLine));
        expect(applySplice(added, removeLine(added, ours(added)))).toBe(before);
      }),
      { numRuns: 2000 },
    );
  });

  test("adding several and removing them in any order gives it back", () => {
    fc.assert(
      fc.property(bytes, fc.shuffledSubarray(["x", "y", "z"], { minLength: 3 }), (before, order) => {
        const full = ["x", "y", "z"].reduce(
          (text, source) => applySplice(text, addLine(text, formatFstabEntry({ ...seedEntry, source }))),
          before,
        );
        const emptied = order.reduce(
          (text, source) => applySplice(text, removeLine(text, lineOf(text, source))),
          full,
        );
        expect(emptied).toBe(before);
      }),
      { numRuns: 1000 },
    );
  });

  test("replacing keeps all that is around the line", () => {
    fc.assert(
      fc.property(bytes, bytes, (before, after) => {
        const head = before === "" || before.endsWith("\n") ? before : `${before}\n`;
        const tail = after === "" ? "" : `\n${after}`;
        const text = `${head}${seedLine}${tail}`;
        const line = ours(text, head.length);
        const replaced = applySplice(text, replaceLine(text, line, "é /new 9p"));
        expect(replaced).toBe(`${head}\xc3\xa9 /new 9p${tail}`);
      }),
      { numRuns: 1000 },
    );
  });

  test.each(["\n", "\r\n", "\r", ""])("replacing keeps the terminator %j", (terminator) => {
    const text = `a\n${seedLine}${terminator}`;
    expect(applySplice(text, replaceLine(text, ours(text), "new"))).toBe(`a\nnew${terminator}`);
  });
});

function ours(bytes: string, start?: number): FstabLine {
  const line = parseFstab(bytes).findLast(
    ({ entry, start: at }) => entry.source === "foobar" && (start === undefined || at === start),
  );
  if (!line) throw new Error(`no line of ours in ${JSON.stringify(bytes)}`);
  return line;
}

function lineOf(bytes: string, source: string): FstabLine {
  const line = parseFstab(bytes).findLast(({ entry }) => entry.source === source);
  if (!line) throw new Error(`no line ${source} in ${JSON.stringify(bytes)}`);
  return line;
}
