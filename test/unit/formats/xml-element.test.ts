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

test.each(["", "no xml", "<a>", "<a><b></a>", "<a x='1></a>", "<a/><b/>", "<a>&unknown;</a>"])(
  "refuses %j",
  (xml) => {
    expect(() => parseXml(xml)).toThrow();
  },
);

describe("all that a domain's metadata may hold", () => {
  const names = [
    "constructor",
    "prototype",
    "__proto__",
    "hasOwnProperty",
    "toString",
    "x:__proto__",
    "\u{10400}",
    "é-\u{20000}.1",
  ];

  test.each(names)("an element and an attribute called %s", (name) => {
    const { children } = parseXml(`<a><${name} ${name}='v &lt;'><${name}/>t</${name}></a>`);
    expect(children.map(({ name: is, text }) => [is, text])).toEqual([[name, "t"]]);
    expect(Object.entries(children[0]?.attributes ?? {})).toEqual([[name, "v <"]]);
    expect(childrenOf(children[0], name)).toHaveLength(1);
    expect(({} as Record<string, unknown>)["v"]).toBeUndefined();
  });

  test.each([0, 1, 17, 300, 5000])("%i levels", (levels) => {
    let at = parseXml(`<a>${"<b>".repeat(levels)}x${"</b>".repeat(levels)}</a>`);
    for (let level = 0; level < levels; level += 1) at = at.children[0] ?? at;
    expect(at.text).toBe("x");
  });

  test.each([
    ["<?note it's an instruction?>", ""],
    ['<?a "?>"?>', '"?>'],
    ["<!-- it's a > comment < -->", ""],
    ["<![CDATA[<domain><name>it's</name>]]]]><![CDATA[>]]>", "<domain><name>it's</name>]]>"],
    ["<![CDATA[<!-- no comment -->]]>", "<!-- no comment -->"],
    ["<!-- <![CDATA[ no data ]]> -->", ""],
    ["<![CDATA[&amp;]]>&amp;", "&amp;&"],
    ["]] >", "]] >"],
  ])("%s", (written, text) => {
    expect(parseXml(`<a>${written}<b/></a>`)).toMatchObject({ text, children: [{ name: "b" }] });
  });

  test("a value of a megabyte, and ten thousand elements", () => {
    const value = "v".repeat(1 << 20);
    const root = parseXml(`<a x='${value}'>${"<b y='1'>t</b>\n".repeat(10_000)}</a>`);
    expect([root.attributes["x"]?.length, root.children.length]).toEqual([1 << 20, 10_000]);
  });
});
