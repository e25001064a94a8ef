import fc from "fast-check";
import { shownName } from "../../../provider/formats/shown-name";

const bytes = (text: string): string => Buffer.from(text).toString("latin1");

test.each([
  ["plain name-1.txt", "plain name-1.txt"],
  [bytes("ünï 漢字 🙂"), "ünï 漢字 🙂"],
  ["a\nb\r\t\x1b[31m\x7f", "a\\012b\\015\\011\\033[31m\\177"],
  ["back\\slash", "back\\134slash"],
  ["\xff\xfe", "\\377\\376"],
  ["a\xc3", "a\\303"],
  [bytes("\u202egnp.exe"), "\\342\\200\\256gnp.exe"],
  [bytes("\u2028"), "\\342\\200\\250"],
  [bytes("\u009b31m"), "\\302\\23331m"],
  // No shorter form than there is, no surrogates: they are no UTF-8.
  ["\xc0\xaf", "\\300\\257"],
  ["\xed\xa0\x80", "\\355\\240\\200"],
])("%j is shown as %s", (name, shown) => {
  expect(shownName(name)).toBe(shown);
});

test("the bytes can be told from what is shown, and nothing in it moves a terminal", () => {
  const name = fc.array(fc.integer({ min: 1, max: 255 })).map((all) => Buffer.from(all).toString("latin1"));
  fc.assert(
    fc.property(name, (given) => {
      const shown = shownName(given);
      const back = Buffer.concat(
        (shown.match(/\\[0-7]{3}|[^]/gu) ?? []).map((one) =>
          one.length === 4 && one.startsWith("\\")
            ? Buffer.from([Number.parseInt(one.slice(1), 8)])
            : Buffer.from(one),
        ),
      );
      expect(back.toString("latin1")).toBe(given);
      expect(shown).not.toMatch(/\p{C}/u);
    }),
  );
});
