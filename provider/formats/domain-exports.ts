import { childOf, childrenOf, parseXml, textOf, type XmlElement } from "./xml-element";

/** One `<filesystem>` by which a domain has a host directory, over 9p or virtiofs. */
export interface DomainExport {
  readonly domain: string;
  readonly uuid: string;
  readonly driver: "9p" | "virtiofs";
  readonly source: string;
  readonly tag: string;
  readonly readOnly: boolean;
  /** Of 9p: `mapped`, or as what else QEMU makes what the guest makes. */
  readonly accessMode: string;
  /** Of the running domain; else of the definition that its next start has. */
  readonly live: boolean;
}

/**
 * Reads what a domain exports out of its definition, which may be reduced to what matters:
 *
 * `<domain><name>web1</name><uuid>5a0c2f9e-6f0b-4f0e-9a53-0d5d5f6f3b11</uuid><filesystem type='mount'
 * accessmode='mapped'><source dir='/foo/bar'/><target dir='foobar'/></filesystem></domain>`
 *
 * Empty for an empty text; throws an Error for what is no XML.
 * Source: libvirt 9.0 formatdomain.html#filesystems; a readonly virtiofs since libvirt 11.0.
 */
export function parseDomainExports(text: string): DomainExport[] {
  return text === "" ? [] : exportsOf(parseXml(text));
}

function exportsOf(domain: XmlElement): DomainExport[] {
  return childrenOf(domain, "filesystem").flatMap((filesystem) => {
    const { type = "mount" } = filesystem.attributes;
    const driver = childOf(filesystem, "driver")?.attributes["type"] ?? "path";
    const source = childOf(filesystem, "source")?.attributes["dir"];
    if (type !== "mount" || (driver !== "path" && driver !== "virtiofs") || source === undefined) return [];
    return [
      {
        domain: textOf(domain, "name") ?? "",
        uuid: textOf(domain, "uuid") ?? "",
        driver: driver === "path" ? "9p" : driver,
        source,
        tag: childOf(filesystem, "target")?.attributes["dir"] ?? "",
        accessMode: filesystem.attributes["accessmode"] ?? "passthrough",
        readOnly: childOf(filesystem, "readonly") !== undefined,
        live: domain.attributes["id"] !== undefined,
      },
    ];
  });
}
