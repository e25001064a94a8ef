import { SaxesParser } from "saxes";

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
 * A line end inside an attribute stays one (an XML reader would make it a space): libvirt writes it raw, and means it
 * (measured, 9.0).
 */
export function parseXml(xml: string): XmlElement {
  if (xml.trim() === "") throw new Error("it is empty");
  const document = { children: [] as XmlElement[], text: "" };
  const open = [document];
  const addText = (text: string): void => {
    const element = open.at(-1);
    if (element) element.text += text;
  };
  const parser = new SaxesParser();
  parser.on("error", (error) => {
    throw error;
  });
  parser.on("opentag", ({ name, attributes }) => {
    const element = { name, attributes, children: [], text: "" };
    open.at(-1)?.children.push(element);
    open.push(element);
  });
  parser.on("text", addText);
  parser.on("cdata", addText);
  parser.on("closetag", () => open.pop());
  parser.write(xml.replace(/="[^"<]*"|='[^'<]*'/g, (value) => value.replace(/[\t\n]/g, referenceTo))).close();
  const [root] = document.children;
  if (!root) throw new Error("it has no root element");
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
  return text.replace(/[&<>"'\t\n\r]/g, referenceTo);
}

const named: Readonly<Record<string, string>> = {
  "&": "amp",
  "<": "lt",
  ">": "gt",
  '"': "quot",
  "'": "apos",
};

function referenceTo(character: string): string {
  return `&${named[character] ?? `#${character.charCodeAt(0)}`};`;
}
