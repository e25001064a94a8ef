import { XMLParser, XMLValidator } from "fast-xml-parser";

/** An element of an XML document, its character references decoded. */
export interface XmlElement {
  readonly name: string;
  readonly attributes: Readonly<Record<string, string>>;
  readonly children: readonly XmlElement[];
  /** The text directly inside the element, blanks included. */
  readonly text: string;
}

/**
 * Reads an XML document into its root element. Throws an Error that says where it is not well-formed, so that
 * an output that was cut off is never taken for a short one.
 *
 * Takes all well-formed XML without a DOCTYPE: `<metadata>` of a domain holds whatever its owner put there, at any
 * depth and under any name. A line end inside an attribute stays one (an XML reader would make it a space): libvirt
 * writes it raw, and means it (measured, 9.0).
 */
export function parseXml(xml: string): XmlElement {
  if (xml.trim() === "") throw new Error("it is empty");
  const plain = withElementsOnly(xml);
  // The validator of 5.12 takes no name with a character beyond U+FFFF; positions in its errors stay right.
  const valid = XMLValidator.validate(plain.replace(/[\ud800-\udfff]/g, "\u4e00"));
  if (valid !== true) throw new Error(`${valid.err.msg} (line ${valid.err.line}, column ${valid.err.col})`);
  const [root, another] = toElements(parser.parse(plain) as readonly XmlNode[]);
  if (root === undefined || another !== undefined) throw new Error("it has not exactly one root element");
  return root;
}

/**
 * Without comments and processing instructions, and with CDATA as plain text. The parser of 5.12 takes an apostrophe in an
 * instruction for the beginning of a value. A bare `<` is always markup, for it must be escaped in a value.
 */
function withElementsOnly(xml: string): string {
  return xml.replace(/<!\[CDATA\[([^]*?)\]\]>|<!--[^]*?-->|<\?[^]*?\?>/g, (_, data?: string) =>
    data === undefined ? "" : escapeAttribute(data),
  );
}

/** The first child of that name. */
export function childOf(element: XmlElement | undefined, name: string): XmlElement | undefined {
  return element?.children.find((child) => child.name === name);
}

/** All children of that name, in their order. */
export function childrenOf(element: XmlElement | undefined, name: string): XmlElement[] {
  return element?.children.filter((child) => child.name === name) ?? [];
}

/** The text of the first child of that name, without the blanks around it; undefined where there is none. */
export function textOf(element: XmlElement | undefined, name: string): string | undefined {
  return childOf(element, name)?.text.trim() || undefined;
}

/** An element as a text that reads back as the same, a line for each child; blanks between them are not kept. */
export function formatXml({ name, attributes, children, text }: XmlElement, indent = ""): string {
  const written = Object.entries(attributes).map(([key, value]) => ` ${key}='${escapeAttribute(value)}'`);
  const opening = `${indent}<${name}${written.join("")}`;
  const own = escapeAttribute(text.trim());
  if (children.length === 0) return own === "" ? `${opening}/>` : `${opening}>${own}</${name}>`;
  const inside = children.map((child) => formatXml(child, `${indent}  `));
  return [`${opening}>${own}`, ...inside, `${indent}</${name}>`].join("\n");
}

/** Makes `text` fit for an attribute in single or double quotes. XML has no way to write other control characters. */
export function escapeAttribute(text: string): string {
  return text.replace(/[&<>"'\t\n\r]/g, (character) => `&${nameOf(character)};`);
}

/**
 * A node as fast-xml-parser gives it with `preserveOrder`: one key with the element's name and its children, or
 * `#text`, and maybe `:@` with the attributes.
 */
type XmlNode = Readonly<Record<string, unknown>>;

/**
 * Stands before each name while the parser has it: of 5.12 it refuses `constructor`, `prototype` and `__proto__`, and
 * renames `toString` and others. No XML name begins with it. The parser asks twice for some elements.
 */
const mark = ".";

/** Entities are decoded here and not by the parser: of 5.12 it leaves or corrupts numeric ones such as `&#10;`. */
const parser = new XMLParser({
  preserveOrder: true,
  ignoreAttributes: false,
  attributeNamePrefix: mark,
  transformTagName: (name) => (name.startsWith(mark) ? name : mark + name),
  processEntities: false,
  parseTagValue: false,
  parseAttributeValue: false,
  trimValues: false,
  maxNestedTags: Infinity,
  jPath: false,
});

/** Not by recursion, which a document of many levels would exhaust. */
function toElements(document: readonly XmlNode[]): readonly XmlElement[] {
  const roots: XmlElement[] = [];
  const open = [{ nodes: document, children: roots, addText: (_: string): void => undefined }];
  for (const { nodes, children, addText } of open) {
    for (const node of nodes) {
      const name = Object.keys(node).find((key) => key.startsWith(mark));
      if (name === undefined) {
        if (typeof node["#text"] === "string") addText(decodeReferences(node["#text"]));
        continue;
      }
      const element = { name: name.slice(1), attributes: attributesOf(node), children: [], text: "" };
      children.push(element);
      open.push({
        nodes: node[name] as readonly XmlNode[],
        children: element.children,
        addText: (text) => (element.text += text),
      });
    }
  }
  return roots;
}

function attributesOf(node: XmlNode): Readonly<Record<string, string>> {
  const written = Object.entries((node[":@"] ?? {}) as Record<string, string>);
  return Object.fromEntries(written.map(([key, value]) => [key.slice(1), decodeReferences(value)]));
}

const namedCharacters = new Map([
  ["amp", "&"],
  ["lt", "<"],
  ["gt", ">"],
  ["quot", '"'],
  ["apos", "'"],
]);

function nameOf(character: string): string {
  const named = [...namedCharacters].find(([, value]) => value === character);
  return named?.[0] ?? `#${character.charCodeAt(0)}`;
}

/** In one pass, so that `&amp;lt;` becomes `&lt;` and no more. */
function decodeReferences(text: string): string {
  return text.replace(
    /&(?:#x([0-9a-fA-F]+)|#([0-9]+)|(amp|lt|gt|quot|apos));/g,
    (whole, hex: string | undefined, decimal: string | undefined, named: string | undefined) => {
      if (named !== undefined) return namedCharacters.get(named) ?? whole;
      const code = hex === undefined ? Number(decimal) : Number.parseInt(hex, 16);
      return code <= 0x10ffff ? String.fromCodePoint(code) : whole;
    },
  );
}
