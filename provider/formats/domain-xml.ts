import { filesystemDriver, keyOfDevice } from "./device-key";
import { formatOctalMode, parseOctalMode } from "./octal-mode";
import { type Filesystem, parseCommandLineDevices } from "./qemu-command-line";
import {
  childOf,
  childrenOf,
  escapeAttribute,
  formatXml,
  parseXml,
  textOf,
  type XmlElement,
} from "./xml-element";

/** A virtio-9p export of a domain in canonical form: libvirt's defaults filled in, address and alias left out. */
export interface Device9p {
  /** The host directory, without doubled or trailing slashes. */
  readonly source: string;
  /** What the guest mounts. */
  readonly tag: string;
  /** `mapped`, `passthrough` (libvirt's default), `squash`; as it is written where a later libvirt has more. */
  readonly accessMode: string;
  readonly readOnly: boolean;
  readonly multidevs: string;
  /** Of files that the guest makes: four octal digits; undefined leaves it to QEMU (0600). */
  readonly fileMode: string | undefined;
  /** Of directories that the guest makes: four octal digits; undefined leaves it to QEMU (0700). */
  readonly directoryMode: string | undefined;
  readonly model: string;
  /** Its whole element as libvirt has it, with what has no place above; undefined: it is not there yet. */
  readonly xml?: string;
}

/** What the project wants to know of a domain, live or persistent. */
export interface Domain {
  readonly name: string;
  readonly uuid: string;
  /** What the guest sees as its system's: the domain's, unless `<hwuuid>` gives another (libvirt 11.7). */
  readonly systemUuid: string;
  /** `kvm`, `qemu`. */
  readonly type: string;
  readonly emulator: string | undefined;
  /** What a power-off does: `destroy`, which is the default, `restart`, `preserve`, `rename-restart`. */
  readonly onPoweroff: string;
  /** Who runs its QEMU, where this domain says so itself; a live domain always does. */
  readonly dacLabel: DacLabel | undefined;
  /** How it gets its SELinux label: `static`, `none`, or `dynamic`, with other categories at each start. */
  readonly selinuxLabel?: string | undefined;
  /** Of the QEMU guest agent's channel; `unknown` where no state is given, as in every persistent definition. */
  readonly agentChannel: "absent" | "disconnected" | "connected" | "unknown";
  readonly devices9p: readonly Device9p[];
  /** A `<filesystem>` that is not 9p, and 9p devices past libvirt. */
  readonly otherFilesystems: readonly Filesystem[];
  /** A text for each device, in the order of the XML, the same in live and persistent (see `keyOfDevice`). */
  readonly deviceKeys: readonly string[];
  /** A block copy or an active commit runs. Pulls and inner commits do not show in the XML, but to `virsh blockjob`. */
  readonly hasBlockJob: boolean;
}

/** User and group, each a name or a number without the `+`. */
export interface DacLabel {
  readonly user: string;
  readonly group: string;
}

/**
 * Reads what `virsh dumpxml` prints, live or with `--inactive`.
 *
 * ```
 * <filesystem type='mount' accessmode='mapped' fmode='0644'>
 *   <source dir='/srv/foo &amp; bar'/>
 *   <target dir='foobar'/>
 *   <readonly/>
 * </filesystem>
 * ```
 * Throws an Error when it is not a whole `<domain>`.
 *
 * Source: libvirt 9.0 formatdomain.html (#filesystems, #security-label, #channel) and dumps of that version.
 */
export function parseDomain(xml: string): Domain {
  const domain = parseRoot(xml, "domain");
  const devices = childOf(domain, "devices");
  const filesystems = childrenOf(devices, "filesystem");
  const is9p = (filesystem: XmlElement): boolean => filesystemDriver(filesystem) === "9p";
  const uuid = required(textOf(domain, "uuid"), "the domain's <uuid>");
  return {
    name: required(textOf(domain, "name"), "the domain's <name>"),
    uuid,
    systemUuid: textOf(domain, "hwuuid") ?? uuid,
    type: required(domain.attributes["type"], "the domain's type"),
    emulator: textOf(devices, "emulator"),
    onPoweroff: textOf(domain, "on_poweroff") ?? "destroy",
    dacLabel: parseDacLabel(textOf(securityLabel(domain, "dac"), "label") ?? ""),
    selinuxLabel: securityLabel(domain, "selinux")?.attributes["type"],
    agentChannel: parseAgentChannel(devices),
    devices9p: filesystems.filter(is9p).map(parseDevice9p),
    otherFilesystems: [
      ...filesystems.filter((filesystem) => !is9p(filesystem)).map(parseFilesystem),
      ...parseCommandLineDevices(domain),
    ],
    deviceKeys: (devices?.children ?? []).filter(({ name }) => name !== "emulator").map(keyOfDevice),
    hasBlockJob: childrenOf(devices, "disk").some((disk) => childOf(disk, "mirror") !== undefined),
  };
}

/** What gives a domain a host directory, over 9p or virtiofs: a `<filesystem>`, or arguments for QEMU itself. */
export interface DomainExport extends Filesystem {
  readonly domain: string;
  readonly uuid: string;
  /** Of the running domain; else of the definition that its next start has. */
  readonly live: boolean;
  /** By `<qemu:commandline>`. */
  readonly onCommandLine?: true;
}

/**
 * Reads what a domain exports out of its definition, live or persistent; of a `<filesystem>` see {@link parseDomain}.
 *
 * Throws an Error for what is not a whole `<domain>`.
 * Source: libvirt 9.0 formatdomain.html#filesystems; a readonly virtiofs since libvirt 11.0.
 */
export function parseDomainExports(xml: string): DomainExport[] {
  const domain = parseRoot(xml, "domain");
  const of = {
    domain: textOf(domain, "name") ?? "",
    uuid: textOf(domain, "uuid") ?? "",
    live: domain.attributes["id"] !== undefined,
  };
  const declared = childrenOf(childOf(domain, "devices"), "filesystem")
    .filter((filesystem) => childOf(filesystem, "source")?.attributes["dir"] !== undefined)
    .map(parseFilesystem)
    .filter(({ driver }) => driver === "9p" || driver === "virtiofs");
  const onCommandLine = parseCommandLineDevices(domain)
    .filter(({ source }) => source !== "")
    .map((device) => ({ ...device, onCommandLine: true as const }));
  return [...declared, ...onCommandLine].map((one) => ({ ...of, ...one }));
}

/**
 * The devices that only the running domain has and that the next power cycle would take away: `disk vdb`.
 *
 * Left out is what libvirt cannot plug into a running domain (9p among it, and all controllers but SCSI):
 * there the persistent definition was edited, and waits for that very power cycle.
 *
 * Source: libvirt 9.0 refused live attach of 9p, audio, graphics, hub, iommu, memballoon, panic, sound, tpm
 * and a virtio-serial controller when tried; video, smartcard, nvram, crypto, pstore and the other
 * controllers are left out as its src/qemu/qemu_hotplug.c has it.
 */
export function liveOnlyDevices(live: Domain, persistent: Domain): string[] {
  const remaining = [...persistent.deviceKeys];
  return live.deviceKeys.filter((key) => {
    const index = remaining.indexOf(key);
    if (index !== -1) remaining.splice(index, 1);
    return index === -1 && !neverHotPlugged.test(key);
  });
}

const neverHotPlugged =
  /^(filesystem 9p|controller (?!scsi)\S+|audio|crypto|graphics|hub|iommu|memballoon|nvram|panic|pstore|smartcard|sound|tpm|video)( |$)/;

/** Whether nothing has to be done to make one of the other. */
export function sameDevice(a: Device9p, b: Device9p): boolean {
  return formatDevice9p(a) === formatDevice9p(b);
}

/**
 * The element for `virsh attach-device` and `detach-device`. Attributes are written where they differ from the
 * default, `accessmode` always. XML cannot carry control characters other than tab and line ends, and of
 * those the first start of the domain makes blanks in the persistent definition (measured, libvirt 9.0): neither
 * may be in source or tag.
 *
 * Source: libvirt 9.0 formatdomain.html#filesystems.
 */
export function formatDevice9p(device: Device9p): string {
  const attributes = [
    ` type='mount' accessmode='${escapeAttribute(device.accessMode)}'`,
    device.model === "virtio" ? "" : ` model='${escapeAttribute(device.model)}'`,
    device.multidevs === "default" ? "" : ` multidevs='${escapeAttribute(device.multidevs)}'`,
    device.fileMode === undefined ? "" : ` fmode='${escapeAttribute(device.fileMode)}'`,
    device.directoryMode === undefined ? "" : ` dmode='${escapeAttribute(device.directoryMode)}'`,
  ];
  return [
    `<filesystem${attributes.join("")}>`,
    `  <source dir='${escapeAttribute(device.source)}'/>`,
    `  <target dir='${escapeAttribute(device.tag)}'/>`,
    ...(device.readOnly ? ["  <readonly/>"] : []),
    "</filesystem>",
  ].join("\n");
}

/**
 * The element of a device, as it is or as it is made: libvirt's own text where there is one, so that what this package
 * knows nothing of comes back too (`<driver wrpolicy>`, `<alias>`, `<address>`, `<idmap>`, limits).
 */
export function elementOf(device: Device9p): string {
  return device.xml ?? formatDevice9p(device);
}

/** The element that makes `wanted` of a device that is there: what this package knows nothing of stays as it is. */
export function formatChanged(present: Device9p, wanted: Device9p): string {
  const [old, own] = [parseXml(elementOf(present)), parseXml(formatDevice9p(wanted))];
  const kept = Object.entries(old.attributes).filter(([name]) => !ownAttributes.has(name));
  const inside = old.children.filter(
    // Another model may need another kind of slot.
    ({ name }) => !ownElements.has(name) && !(name === "address" && present.model !== wanted.model),
  );
  return formatXml({
    ...own,
    attributes: { ...own.attributes, ...Object.fromEntries(kept) },
    children: [...inside, ...own.children],
  });
}

const ownAttributes = new Set(["type", "accessmode", "model", "multidevs", "fmode", "dmode"]);
const ownElements = new Set(["source", "target", "readonly"]);

/** An element without its address, for the case that another device took its slot meanwhile; undefined: it has none. */
export function withoutAddress(xml: string): string | undefined {
  const element = parseXml(xml);
  const children = element.children.filter(({ name }) => name !== "address");
  return children.length === element.children.length ? undefined : formatXml({ ...element, children });
}

/** A path without doubled slashes, `.` and a slash at its end; `..` stays, for a link may stand before it. */
export function plainPath(path: string): string {
  return path.replace(/(\/\.?)+(?=\/)/g, "").replace(/(.)\/\.?$/, "$1");
}

/**
 * Who runs the QEMU of domains that have no label of their own, from `virsh capabilities`; undefined where
 * libvirt has no DAC driver, as in a session.
 *
 * ```
 * <secmodel><model>dac</model><doi>0</doi><baselabel type='kvm'>+64055:+64055</baselabel></secmodel>
 * ```
 * Source: libvirt 9.0 formatcaps.html.
 */
export function parseDacBaselabel(capabilitiesXml: string, domainType: string): DacLabel | undefined {
  const host = childOf(parseRoot(capabilitiesXml, "capabilities"), "host");
  const baselabel = childrenOf(host, "secmodel")
    .filter((model) => textOf(model, "model") === "dac")
    .flatMap((model) => childrenOf(model, "baselabel"))
    .find((label) => label.attributes["type"] === domainType);
  return baselabel && parseDacLabel(baselabel.text);
}

function parseRoot(xml: string, name: string): XmlElement {
  let root: XmlElement;
  try {
    root = parseXml(xml);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new Error(`expected libvirt's <${name}>, got something that is no XML: ${reason}`, { cause });
  }
  if (root.name !== name) throw new Error(`expected libvirt's <${name}>, got <${root.name}>`);
  return root;
}

function required(value: string | undefined, what: string): string {
  if (value === undefined) throw new Error(`${what} is missing in libvirt's XML`);
  return value;
}

/** `<seclabel type='static' model='selinux' relabel='yes'><label>system_u:system_r:svirt_t:s0:c1,c2</label></seclabel>`. */
function securityLabel(domain: XmlElement, model: string): XmlElement | undefined {
  return childrenOf(domain, "seclabel").find(({ attributes }) => attributes["model"] === model);
}

/** `+64055:+64055` or `libvirt-qemu:kvm`; the plus only says that a number and no name is meant. */
function parseDacLabel(label: string): DacLabel | undefined {
  const [, user, group] = /^\s*\+?([^:]+):\+?([^:]+?)\s*$/.exec(label) ?? [];
  return user === undefined || group === undefined ? undefined : { user, group };
}

function parseAgentChannel(devices: XmlElement | undefined): Domain["agentChannel"] {
  const target = childrenOf(devices, "channel")
    .map((channel) => childOf(channel, "target"))
    .find((channelTarget) => channelTarget?.attributes["name"] === "org.qemu.guest_agent.0");
  if (target === undefined) return "absent";
  const { state } = target.attributes;
  return state === "connected" || state === "disconnected" ? state : "unknown";
}

function parseDevice9p(filesystem: XmlElement): Device9p {
  const { multidevs = "default", model = "virtio", fmode, dmode } = filesystem.attributes;
  const { source, tag, accessMode, readOnly } = parseFilesystem(filesystem);
  return {
    source: plainPath(source),
    tag,
    accessMode,
    readOnly,
    multidevs,
    fileMode: canonicalMode(fmode),
    directoryMode: canonicalMode(dmode),
    model,
    xml: formatXml(filesystem),
  };
}

function canonicalMode(text = ""): string | undefined {
  const mode = parseOctalMode(text);
  return mode === undefined ? undefined : formatOctalMode(mode);
}

function parseFilesystem(filesystem: XmlElement): Filesystem {
  const { dir, file, dev, socket, name } = childOf(filesystem, "source")?.attributes ?? {};
  return {
    driver: filesystemDriver(filesystem),
    source: dir ?? file ?? dev ?? socket ?? name ?? "",
    tag: childOf(filesystem, "target")?.attributes["dir"] ?? "",
    readOnly: childOf(filesystem, "readonly") !== undefined,
    accessMode: filesystem.attributes["accessmode"] ?? "passthrough",
  };
}
