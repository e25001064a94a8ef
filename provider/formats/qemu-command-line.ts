import { childrenOf, type XmlElement } from "./xml-element";

/** What a domain shares, by a `<filesystem>` or past libvirt, by arguments for QEMU itself. */
export interface Filesystem {
  /** `9p` on QEMU's command line. The driver of a `type='mount'` (`virtiofs`, `mtp`), otherwise the type (`template`, `ram`). */
  readonly driver: string;
  /**
   * Directory, file, device, socket or name; empty where there is none: `proxy` and `synth` of QEMU have none, nor has a
   * device whose `-fsdev` is missing.
   */
  readonly source: string;
  readonly tag: string;
  readonly readOnly: boolean;
  /** Of 9p, in libvirt's words: `mapped`, `passthrough` (its default), `squash`; what else there is as it is written. */
  readonly accessMode: string;
}

/**
 * Reads the 9p devices out of `<qemu:commandline>`, which libvirt passes on as it stands:
 *
 * ```
 * <qemu:commandline>
 *   <qemu:arg value='-fsdev'/>
 *   <qemu:arg value='local,id=fs0,path=/srv/a,,b,security_model=mapped-xattr,readonly=on'/>
 *   <qemu:arg value='-device'/>
 *   <qemu:arg value='virtio-9p-pci,fsdev=fs0,mount_tag=data'/>
 *   <qemu:arg value='-virtfs'/>
 *   <qemu:arg value='local,path=/srv/c,mount_tag=more,security_model=none'/>
 * </qemu:commandline>
 * ```
 * Source: QEMU 7.2 qemu(1) (`-fsdev`, `-virtfs`, `-device`, `-set`), util/qemu-option.c, system/vl.c.
 */
export function parseCommandLineDevices(domain: XmlElement): Filesystem[] {
  const words = childrenOf(domain, "qemu:commandline")
    .flatMap((line) => childrenOf(line, "qemu:arg"))
    .map(({ attributes }) => attributes["value"] ?? "");
  const options = words.map((word, index) => [word.replace(/^--?/, "-"), words[index + 1] ?? ""] as const);
  const of = (option: string, firstKey: string): Settings[] =>
    options.filter(([name]) => name === option).map(([, value]) => settingsIn(value, firstKey));
  const [fsdevs, devices] = [of("-fsdev", "fsdriver"), of("-device", "driver")];
  for (const [, value] of options.filter(([name]) => name === "-set")) {
    const [, group, id, key, text] = /^(fsdev|device)\.([^.]+)\.([^=]+)=(.*)$/s.exec(value) ?? [];
    const set = (group === "fsdev" ? fsdevs : devices).find((one) => one.get("id") === id);
    if (key !== undefined && text !== undefined) set?.set(key, text);
  }
  const fsdevOf = (device: Settings): Settings | undefined =>
    fsdevs.find((fsdev) => fsdev.get("id") === device.get("fsdev"));
  return [
    ...devices
      .filter((device) => /^virtio-9p(-|$)/.test(device.get("driver") ?? ""))
      .map((device) => deviceOf(device, fsdevOf(device))),
    ...of("-virtfs", "fsdriver").map((one) => deviceOf(one, one)),
  ];
}

type Settings = Map<string, string>;

function deviceOf(device: Settings, fsdev: Settings | undefined): Filesystem {
  const model = fsdev?.get("security_model") ?? "";
  return {
    driver: "9p",
    tag: device.get("mount_tag") ?? "",
    source: fsdev?.get("fsdriver") === "local" ? (fsdev.get("path") ?? "") : "",
    readOnly: /^(on|yes|true|y)$/.test(fsdev?.get("readonly") ?? "off"),
    accessMode: { none: "squash", "mapped-xattr": "mapped" }[model] ?? model,
  };
}

/**
 * `local,id=fs0,path=/srv/a,,b,readonly`: a comma in a value is doubled, the first may stand without its key, a key
 * alone is `on`, and one behind `no` is `off`. Of a key that is there twice the last holds. Since QEMU 6.2 a device may
 * be JSON, too: `{"driver":"virtio-9p-pci","fsdev":"fs0"}`.
 */
function settingsIn(text: string, firstKey: string): Settings {
  if (text.trimStart().startsWith("{")) return jsonSettings(text);
  const parts = text.match(/(?:[^,]|,,)+/g) ?? [];
  return new Map(
    parts.map((part, index): [string, string] => {
      const [key = "", ...value] = part.replaceAll(",,", ",").split("=");
      if (value.length > 0) return [key, value.join("=")];
      if (index === 0) return [firstKey, key];
      return key.startsWith("no") ? [key.slice(2), "off"] : [key, "on"];
    }),
  );
}

/** What is no JSON QEMU does not start with. */
function jsonSettings(text: string): Settings {
  try {
    const settings = JSON.parse(text) as Readonly<Record<string, unknown>>;
    return new Map(Object.entries(settings).map(([key, value]) => [key, String(value)]));
  } catch (error) {
    if (error instanceof SyntaxError) return new Map();
    throw error;
  }
}
