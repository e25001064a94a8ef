import { decodeOctalEscapes, encodeOctalEscapes } from "../../../provider/formats/octal-escape";

test.each([
  ["/a\\040b", "/a b"],
  ["\\043tag", "#tag"],
  ["\\011\\012\\134", "\t\n\\"],
  ["\\134040", "\\040"],
  ["/y\\1238", "/yS8"],
  ["\\303\\244", "\xc3\xa4"],
  ["\\04 \\\\ \\8 \\", "\\04 \\\\ \\8 \\"],
])("%j decodes to %j", (text, decoded) => {
  expect(decodeOctalEscapes(text)).toBe(decoded);
});

test("what is asked for is encoded, and nothing else", () => {
  expect(encodeOctalEscapes("a b\t\\c", /[ \\]/g)).toBe("a\\040b\t\\134c");
});
