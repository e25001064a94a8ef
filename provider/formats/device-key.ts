import { childOf, type XmlElement } from "./xml-element";

/**
 * A short text that names a device under `<devices>` and is the same in the live and in the persistent XML of a
 * domain: `disk vda`, `interface 52:54:00:6b:3c:58`, `controller scsi 0`, `filesystem 9p foobar`.
 *
 * Only what the user declares goes in, and nothing that libvirt adds or changes while the domain runs (measured with
 * 9.0): alias, address, backing stores, the driver type of an empty cdrom, pty paths, channel sockets and states, the
 * interface's tap, graphics ports, the port of a console. Two devices without an identity of their own have equal keys.
 *
 * Source: libvirt 9.0 formatdomain.html#devices.
 */
export function keyOfDevice(device: XmlElement): string {
  const identity = (identities.get(device.name) ?? anyIdentity)(device);
  return [device.name, ...identity.filter((part) => part !== undefined && part !== "")].join(" ");
}

type Identity = (device: XmlElement) => readonly (string | undefined)[];

/** Enough for what a domain has once, or several times alike: sound, rng, watchdog, redirdev, tpm, panic, vsock. */
const anyIdentity = valuesAt("model", "type", "bus");

const identities = new Map<string, Identity>([
  ["channel", characterDevice],
  ["console", characterDevice],
  ["controller", valuesAt("type", "index")],
  ["disk", valuesAt("target/dev")],
  ["filesystem", (device) => [filesystemDriver(device), valueAt(device, "target/dir")]],
  ["graphics", valuesAt("type")],
  ["hostdev", (device) => [device.attributes["type"], ...hostDevice(device)]],
  ["input", valuesAt("type", "bus", "source/evdev", "source/dev")],
  ["interface", (device) => [valueAt(device, "mac/address")?.toLowerCase()]],
  ["lease", valuesAt("lockspace", "key")],
  ["memory", valuesAt("model", "target/size", "target/node", "source/path")],
  ["parallel", characterDevice],
  ["serial", characterDevice],
  ["shmem", valuesAt("name")],
  ["video", valuesAt("model/type")],
]);

function valuesAt(...paths: readonly string[]): Identity {
  return (device) => paths.map((path) => valueAt(device, path));
}

/** An attribute, or else the text of a child: `target/dev` is the attribute `dev` of `<target>`, or its `<dev>`. */
function valueAt(device: XmlElement, path: string): string | undefined {
  const [last = "", ...above] = path.split("/").reverse();
  const element = above.reduceRight<XmlElement | undefined>(childOf, device);
  return element?.attributes[last] ?? childOf(element, last)?.text;
}

function characterDevice(device: XmlElement): readonly (string | undefined)[] {
  const name = valueAt(device, "target/name");
  return name === undefined ? [device.attributes["type"], valueAt(device, "target/type")] : [name];
}

/** `9p`, which libvirt calls `path` and rarely says; another driver of a `type='mount'`; or another type. */
export function filesystemDriver(filesystem: XmlElement): string {
  const { type = "mount" } = filesystem.attributes;
  const driver = type === "mount" ? (valueAt(filesystem, "driver/type") ?? "path") : type;
  return driver === "path" ? "9p" : driver;
}

/**
 * What of the host it is: `0000:03:00.0` for PCI, `0x046d:0xc52b` for USB by vendor and product (a live domain
 * adds bus and device, which change when it is plugged anew), otherwise all that its `<source>` says.
 */
function hostDevice(device: XmlElement): readonly string[] {
  const vendor = valueAt(device, "source/vendor/id");
  if (vendor !== undefined) return [`${vendor}:${valueAt(device, "source/product/id") ?? ""}`];
  const source = childOf(device, "source");
  if (device.attributes["type"] === "pci") return [formatPciAddress(childOf(source, "address"))];
  return source === undefined ? [] : wordsOf(source);
}

/** `0000:03:00.0`, as lspci(8) writes it, from `domain='0x0000' bus='0x03' slot='0x00' function='0x0'`. */
function formatPciAddress(address: XmlElement | undefined): string {
  const { domain = "0", bus = "0", slot = "0", function: unit = "0" } = address?.attributes ?? {};
  const hexadecimal = (number: string, digits: number): string =>
    Number(number).toString(16).padStart(digits, "0");
  return `${hexadecimal(domain, 4)}:${hexadecimal(bus, 2)}:${hexadecimal(slot, 2)}.${hexadecimal(unit, 1)}`;
}

function wordsOf(element: XmlElement): string[] {
  return [
    ...Object.values(element.attributes),
    element.text.trim(),
    ...element.children.flatMap(wordsOf),
  ].filter((word) => word !== "");
}
