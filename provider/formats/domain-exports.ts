import { parseCommandLineDevices } from "./qemu-command-line";
import { childOf, childrenOf, parseXml, textOf, type XmlElement } from "./xml-element";

/** What gives a domain a host directory, over 9p or virtiofs: a `<filesystem>`, or arguments for QEMU itself. */
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
  /** By `<qemu:commandline>`. */
  readonly onCommandLine?: true;
}

/**
 * Reads what a domain exports out of its definition, live or persistent:
 *
 * `<domain><name>web1</name><uuid>5a0c2f9e-6f0b-4f0e-9a53-0d5d5f6f3b11</uuid><devices><filesystem type='mount'
 * accessmode='mapped'><source dir='/foo/bar'/><target dir='foobar'/></filesystem></devices></domain>`
 *
 * Throws an Error for what is not a whole `<domain>`.
 * Source: libvirt 9.0 formatdomain.html#filesystems; a readonly virtiofs since libvirt 11.0.
 */
export function parseDomainExports(xml: string): DomainExport[] {
  const domain = parseXml(xml);
  if (domain.name !== "domain") throw new Error(`expected libvirt's <domain>, got <${domain.name}>`);
  const of = {
    domain: textOf(domain, "name") ?? "",
    uuid: textOf(domain, "uuid") ?? "",
    live: domain.attributes["id"] !== undefined,
  };
  const declared = childrenOf(childOf(domain, "devices"), "filesystem").flatMap(exportOf);
  const onCommandLine = parseCommandLineDevices(domain)
    .filter(({ source }) => source !== "")
    .map((device) => ({ ...device, driver: "9p" as const, onCommandLine: true as const }));
  return [...declared, ...onCommandLine].map((one) => ({ ...of, ...one }));
}

function exportOf(filesystem: XmlElement): Omit<DomainExport, "domain" | "uuid" | "live">[] {
  const { type = "mount" } = filesystem.attributes;
  const driver = childOf(filesystem, "driver")?.attributes["type"] ?? "path";
  const source = childOf(filesystem, "source")?.attributes["dir"];
  if (type !== "mount" || (driver !== "path" && driver !== "virtiofs") || source === undefined) return [];
  return [
    {
      driver: driver === "path" ? "9p" : driver,
      source,
      tag: childOf(filesystem, "target")?.attributes["dir"] ?? "",
      accessMode: filesystem.attributes["accessmode"] ?? "passthrough",
      readOnly: childOf(filesystem, "readonly") !== undefined,
    },
  ];
}
