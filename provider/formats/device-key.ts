import { childOf, type XmlElement } from "./xml-element";

/**
 * A short text that names a device under `<devices>` and is the same in the live and in the persistent XML of a
 * domain: `disk vda`, `interface 52:54:00:6b:3c:58`, `controller scsi 0`, `filesystem 9p foobar`.
 *
 * Only what the user declares goes in. Left out is what libvirt adds or changes while the domain runs (measured
 * with 9.0): alias, address, backing stores, the driver type of an empty cdrom, pty paths, channel sockets
 * and states, the interface's tap, graphics ports, the port of a console (the first start
 * numbers the persistent ones anew, and sorts the controllers). Two devices without an identity of their own (two `rng virtio`) have equal keys.
 *
 * Source: libvirt 9.0 formatdomain.html#devices.
 */
export function keyOfDevice(device: XmlElement): string {
  const identity = (identities.get(device.name) ?? identityByAttributes)(device);
  return [device.name, ...identity.filter((part) => part !== undefined && part !== "")].join(" ");
}

type Identity = (device: XmlElement) => readonly (string | undefined)[];

const identities = new Map<string, Identity>(
  Object.entries<Identity>({
    channel: identityOfCharacterDevice,
    console: identityOfCharacterDevice,
    controller: ({ attributes }) => [attributes["type"], attributes["index"]],
    disk: (device) => [attributeOf(device, "target", "dev")],
    filesystem: (device) => [filesystemDriver(device), attributeOf(device, "target", "dir")],
    graphics: ({ attributes }) => [attributes["type"]],
    hostdev: (device) => [device.attributes["type"], ...identityOfHostDevice(device)],
    input: (device) => [
      device.attributes["type"],
      device.attributes["bus"],
      attributeOf(device, "source", "evdev") ?? attributeOf(device, "source", "dev"),
    ],
    interface: (device) => [attributeOf(device, "mac", "address")?.toLowerCase()],
    lease: (device) => [childOf(device, "lockspace")?.text, childOf(device, "key")?.text],
    memory: (device) => [
      device.attributes["model"],
      childOf(childOf(device, "target"), "size")?.text,
      childOf(childOf(device, "target"), "node")?.text,
      childOf(childOf(device, "source"), "path")?.text,
    ],
    parallel: identityOfCharacterDevice,
    serial: identityOfCharacterDevice,
    shmem: ({ attributes }) => [attributes["name"]],
    video: (device) => [attributeOf(device, "model", "type")],
  }),
);

/** Enough for what a domain has once, or several times alike: sound, rng, watchdog, redirdev, tpm, panic, vsock. */
function identityByAttributes({ attributes }: XmlElement): readonly (string | undefined)[] {
  return [attributes["model"], attributes["type"], attributes["bus"]];
}

function identityOfCharacterDevice(device: XmlElement): readonly (string | undefined)[] {
  const name = attributeOf(device, "target", "name");
  return name === undefined ? [device.attributes["type"], attributeOf(device, "target", "type")] : [name];
}

/** 9p goes by its name here, though libvirt calls its driver `path` and rarely says so. */
function filesystemDriver(device: XmlElement): string {
  const { type = "mount" } = device.attributes;
  const driver = type === "mount" ? (attributeOf(device, "driver", "type") ?? "path") : type;
  return driver === "path" ? "9p" : driver;
}

/**
 * What of the host it is: `0000:03:00.0` for PCI, `0x046d:0xc52b` for USB by vendor and product (a live domain
 * adds bus and device, which change when it is plugged anew), otherwise all that its `<source>` says.
 */
function identityOfHostDevice(device: XmlElement): readonly string[] {
  const source = childOf(device, "source");
  const vendor = attributeOf(source, "vendor", "id");
  if (vendor !== undefined) return [`${vendor}:${attributeOf(source, "product", "id") ?? ""}`];
  if (device.attributes["type"] === "pci") return [formatPciAddress(childOf(source, "address"))];
  return source === undefined ? [] : wordsOf(source);
}

/** `0000:03:00.0`, as lspci(8) writes it, from `domain='0x0000' bus='0x03' slot='0x00' function='0x0'`. */
function formatPciAddress(address: XmlElement | undefined): string {
  const { domain = "0", bus = "0", slot = "0", function: unit = "0" } = address?.attributes ?? {};
  const [domainDigits, busDigits, slotDigits] = [
    hexadecimal(domain, 4),
    hexadecimal(bus, 2),
    hexadecimal(slot, 2),
  ];
  return `${domainDigits}:${busDigits}:${slotDigits}.${hexadecimal(unit, 1)}`;
}

function hexadecimal(number: string, digits: number): string {
  return Number(number).toString(16).padStart(digits, "0");
}

function wordsOf(element: XmlElement): string[] {
  return [
    ...Object.values(element.attributes),
    element.text.trim(),
    ...element.children.flatMap(wordsOf),
  ].filter((word) => word !== "");
}

function attributeOf(element: XmlElement | undefined, child: string, attribute: string): string | undefined {
  return childOf(element, child)?.attributes[attribute];
}
