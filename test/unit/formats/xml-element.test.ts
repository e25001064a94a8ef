import {
  childOf,
  childrenOf,
  escapeAttribute,
  parseXml,
  textOf,
} from "../../../provider/formats/xml-element";

test("reads names, attributes, children and text, past declaration and comments", () => {
  const xml = `<?xml version="1.0"?><!-- c --><a x='1' y="01"><b>t&lt;<!-- c -->u</b> <q:c/><b/></a>\n\n`;
  expect(parseXml(xml)).toEqual({
    name: "a",
    attributes: { x: "1", y: "01" },
    children: [
      { name: "b", attributes: {}, children: [], text: "t<u" },
      { name: "q:c", attributes: {}, children: [], text: "" },
      { name: "b", attributes: {}, children: [], text: "" },
    ],
    text: " ",
  });
});

test.each([
  ["&amp;&lt;&gt;&quot;&apos;", "&<>\"'"],
  ["&#10;&#x9;&#xE4;&#128190;", "\n\tä\u{1f4be}"],
  ["&amp;lt;&amp;#10;", "&lt;&#10;"],
  ["&unknown;", "&unknown;"],
  ["raw\nline", "raw\nline"],
  [" blanks  ", " blanks  "],
  ["a>b", "a>b"],
])("decodes %j once, in an attribute and in text", (written, meant) => {
  const root = parseXml(`<a x="${written}"><b>${written}</b></a>`);
  expect(root.attributes["x"]).toBe(meant);
  expect(childOf(root, "b")?.text).toBe(meant);
});

test("CDATA is text as it stands", () => {
  expect(parseXml("<a>x<![CDATA[<&amp;>]]>&amp;</a>").text).toBe("x<&amp;>&");
});

test("finds children, and nothing in nothing", () => {
  const root = parseXml("<a><b> 1 </b><c/><b>2</b></a>");
  expect(textOf(root, "b")).toBe("1");
  expect(textOf(root, "c")).toBeUndefined();
  expect(childrenOf(root, "b").map(({ text }) => text)).toEqual([" 1 ", "2"]);
  expect(childOf(undefined, "b")).toBeUndefined();
  expect(childrenOf(undefined, "b")).toEqual([]);
});

test("escapes by name where there is one", () => {
  expect(escapeAttribute("a&b<c>d\"e'f\tg\nh\ri ä")).toBe(
    "a&amp;b&lt;c&gt;d&quot;e&apos;f&#9;g&#10;h&#13;i ä",
  );
});

test.each(["", "no xml", "<a>", "<a><b></a>", "<a x='1></a>", "<a/><b/>"])("refuses %j", (xml) => {
  expect(() => parseXml(xml)).toThrow();
});
