import { XMLParser } from "fast-xml-parser";

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
 * A line end inside an attribute stays one (an XML reader would make it a space): libvirt writes it raw, and
 * means it (measured, 9.0).
 */
export function parseXml(xml: string): XmlElement {
  if (xml.trim() === "") throw new Error("it is empty");
  const nodes = parser.parse(xml, true) as readonly XmlNode[];
  const [root, another] = nodes.flatMap(toElements).filter(({ name }) => !name.startsWith("?"));
  if (root === undefined || another !== undefined) throw new Error("it has not exactly one root element");
  return root;
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

/** Makes `text` fit for an attribute in single or double quotes. XML has no way to write other control characters. */
export function escapeAttribute(text: string): string {
  return text.replace(/[&<>"'\t\n\r]/g, (character) => `&${nameOf(character)};`);
}

/**
 * A node as fast-xml-parser gives it with `preserveOrder`: one key with the element's name and its children, or
 * `#text` or `#cdata`, and maybe `:@` with the attributes.
 */
type XmlNode = Readonly<Record<string, unknown>>;

/** Entities are decoded here and not by the parser: of 5.12 it leaves or corrupts numeric ones such as `&#10;`. */
const parser = new XMLParser({
  preserveOrder: true,
  ignoreAttributes: false,
  attributeNamePrefix: "",
  cdataPropName: "#cdata",
  processEntities: false,
  parseTagValue: false,
  parseAttributeValue: false,
  trimValues: false,
});

function toElements(node: XmlNode): XmlElement[] {
  const name = Object.keys(node).find((key) => key !== ":@");
  if (name === undefined || name.startsWith("#")) return [];
  const nodes = node[name] as readonly XmlNode[];
  const attributes = (node[":@"] ?? {}) as Record<string, string>;
  return [
    {
      name,
      attributes: Object.fromEntries(
        Object.entries(attributes).map(([key, value]) => [key, decodeReferences(value)]),
      ),
      children: nodes.flatMap(toElements),
      text: nodes.map(textOfNode).join(""),
    },
  ];
}

function textOfNode(node: XmlNode): string {
  if (typeof node["#text"] === "string") return decodeReferences(node["#text"]);
  const [data] = (node["#cdata"] ?? []) as readonly XmlNode[];
  return typeof data?.["#text"] === "string" ? data["#text"] : "";
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
      return String.fromCodePoint(hex === undefined ? Number(decimal) : Number.parseInt(hex, 16));
    },
  );
}
