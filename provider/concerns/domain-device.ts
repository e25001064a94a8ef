import {
  alone,
  type Concern,
  type Context,
  type Facts,
  type Json,
  type Needed,
  type Refusal,
  type Step,
  refused,
  refuse,
} from "../engine/concern";
import { type Script, sh } from "../formats/shell";
import {
  type Device9p,
  type Domain,
  elementOf,
  formatChanged,
  formatDevice9p,
  type OtherFilesystem,
  sameDevice,
  withoutAddress,
} from "../formats/domain-xml";
import type { Mount } from "../formats/mountinfo";
import { apparmorRefusals, apparmorWarnings, libvirtUnderApparmor } from "./apparmor-checks";
import { hostMounts } from "./mounts";
import {
  exportsNear,
  type HostExports,
  hostExports,
  otherSpellings,
  secondWriters,
  spelledAs,
  unknownWriters,
} from "./second-writer";
import {
  type DomainInfo,
  domainInfo,
  emulatorHas9p,
  liveDomain,
  persistentDomain,
  type ReadOnlyForm,
  readOnlyForm,
} from "./domain-facts";

interface DeviceWant {
  readonly domain: string;
  readonly device: Device9p;
  /** Nobody else may write to the same tree. */
  readonly onlyWriter: boolean;
}

interface DeviceSeen {
  readonly info: DomainInfo | undefined;
  readonly persistent: Domain | undefined;
  readonly live: Domain | undefined;
  readonly has9p: boolean | undefined;
  readonly apparmor: boolean;
  /** How else the domain spells the directory. */
  readonly spellings: readonly string[];
  /** Asked of what is read-only. */
  readonly readOnlyForm?: ReadOnlyForm | undefined;
  /** Asked for the only writer. */
  readonly exports?: HostExports;
  readonly near?: string;
  readonly mounts?: readonly Mount[];
}

const restoreNeeds = { persistent: "must", spellings: "may" } as const;
/** Of who else writes a refresh says what it can see. */
const driftNeeds = {
  info: "must",
  persistent: "must",
  spellings: "may",
  exports: "may",
  near: "may",
  mounts: "may",
} as const;

/** The device that stood under the tag at first contact, with its own XML where a release kept that; null: none. */
type DeviceBefore = {
  readonly [key: string]: Json;
  readonly device: { readonly [K in keyof Device9p]?: Json } | null;
};

/**
 * The `<filesystem>` of the domain's persistent definition.
 *
 * `attach-device --config` and not dump, edit, define: libvirt edits its own copy, so no secret leaves
 * it and nothing else is touched. 9p has no hot-plug (src/qemu/qemu_hotplug.c, libvirt 9.0): the running
 * QEMU is the power cycle's business. libvirt knows no update of a filesystem either: a changed one is
 * taken out and put in.
 *
 * Refuses with `unknownDomain`, `domainRenamed`, `transientDomain`, `qemuWithoutVirtio9p`, `appArmorForbids`,
 * `tagTaken`, `secondWriter`, `readOnlyRefused`.
 * Source: libvirt 9.0 formatdomain.html#filesystems, virsh(1).
 */
export const domainDevice: Concern<
  DeviceWant,
  DeviceSeen,
  DeviceBefore,
  typeof restoreNeeds,
  typeof driftNeeds
> = {
  layer: "device",
  place: "host",
  up: "host",
  down: "hostDetach",
  scope: "domain",

  want: (spec) => ({
    domain: spec.domain,
    device: wantedDevice(spec),
    onlyWriter: spec.otherWriters === "refuse" && !spec.readOnly,
  }),
  identity: (want) => want.device.tag,
  facts: (want): Facts<DeviceSeen> => ({
    info: domainInfo,
    persistent: persistentDomain,
    live: liveDomain,
    has9p: emulatorHas9p,
    apparmor: libvirtUnderApparmor,
    spellings: otherSpellings(want.device.source),
    ...(want.device.readOnly ? { readOnlyForm } : {}),
    ...(want.onlyWriter
      ? { exports: hostExports, near: exportsNear(want.device.source), mounts: hostMounts }
      : {}),
  }),
  needs: { restore: restoreNeeds, drift: driftNeeds },

  plan(want, seen, _before, known, context = alone) {
    const refuse = [
      ...domainProblems(want, seen),
      ...apparmorRefusals(want.device, seen.apparmor),
      ...otherWriters(want, seen, context),
    ];
    if (refuse.length > 0) return { refuse, steps: [] };
    const same = devicesOf(want, seen).filter((device) => device.tag === want.device.tag);
    const other = takenBy(want, seen);
    const stranger = known ? undefined : same.find((device) => device.source !== want.device.source);
    if (other ?? stranger) {
      const who = other ? describe(other) : (stranger?.source ?? "");
      return refused(
        "tagTaken",
        `the tag ${want.device.tag} is taken in ${seen.info?.name ?? want.domain} by ${who}; this share would give it to ${want.device.source}`,
        "choose another tag, or remove that device",
      );
    }
    const [first] = same;
    const warnings = unknownWriters(want.device.source, seen.exports, seen.info?.uuid);
    if (same.length === 1 && first && sameDevice(first, want.device)) return { steps: [], warnings };
    const trouble = readOnlyTrouble(want, seen);
    if (trouble.refuse.length > 0) return { refuse: trouble.refuse, steps: [] };
    const xml = first ? formatChanged(first, want.device) : formatDevice9p(want.device);
    return {
      steps: [...same.map(detachStep), attachStep({ ...want.device, xml })],
      warnings: [...warnings, ...apparmorWarnings(want.device, seen.apparmor), ...trouble.warnings],
    };
  },

  remember(want, seen) {
    const found = devicesOf(want, seen).find((device) => device.tag === want.device.tag);
    return { device: found ? toJson(found) : null };
  },

  restore(old, before, seen) {
    const now = devicesOf(old, seen).find((device) => device.tag === old.device.tag);
    const then = before.device === null ? undefined : fromJson(before.device);
    if (!seen.persistent || (now && then ? sameDevice(now, then) : now === then)) return { steps: [] };
    // Whoever put another source under our tag meanwhile owns it now.
    if (now && now.source !== old.device.source && now.source !== then?.source) {
      return {
        steps: [],
        warnings: [`the tag ${now.tag} now belongs to ${now.source}: that device was left`],
      };
    }
    return { steps: [...(now ? [detachStep(now)] : []), ...(then ? [attachStep(then)] : [])] };
  },

  drift(want, seen) {
    const now = devicesOf(want, seen).find((device) => device.tag === want.device.tag);
    if (!seen.persistent) return { state: "unknown", args: {}, notes: [] };
    const other = takenBy(want, seen);
    const notes = [
      ...renamed(want, seen),
      ...otherWriters(want, seen, alone).map(({ what }) => what),
      ...unknownWriters(want.device.source, seen.exports, seen.info?.uuid),
      ...(other
        ? [`${seen.persistent.name} has the tag ${want.device.tag} for ${describe(other)}, too`]
        : []),
    ];
    if (!now) {
      const missing = `${seen.persistent.name} has no filesystem ${want.device.tag}`;
      return { state: "missing", args: {}, notes: [missing, ...notes] };
    }
    const args = differences(want.device, now);
    return { state: Object.keys(args).length === 0 && !other ? "ok" : "differs", args, notes };
  },
};

/** The arguments that the device is made of ({@link wantedDevice}): a running QEMU gets another only by a power cycle. */
export const deviceArguments = [
  "source",
  "tag",
  "accessMode",
  "readOnly",
  "multidevs",
  "fileMode",
  "directoryMode",
  "model",
] as const;

/** The device that a spec asks for. */
export function wantedDevice(spec: {
  readonly source: string;
  readonly tag: string;
  readonly accessMode: Device9p["accessMode"];
  readonly readOnly: boolean;
  readonly multidevs: Device9p["multidevs"];
  readonly fileMode?: string | undefined;
  readonly directoryMode?: string | undefined;
  readonly model: Device9p["model"];
}): Device9p {
  return {
    source: spec.source,
    tag: spec.tag,
    accessMode: spec.accessMode,
    readOnly: spec.readOnly,
    multidevs: spec.multidevs,
    fileMode: spec.fileMode,
    directoryMode: spec.directoryMode,
    model: spec.model,
  };
}

/** What its definition declares, with the share's own spelling of its directory. */
function devicesOf(
  want: DeviceWant,
  { persistent, spellings }: Needed<DeviceSeen, typeof restoreNeeds>,
): readonly Device9p[] {
  return persistent ? spelledAs(want.device.source, spellings, persistent).devices9p : [];
}

/** What has the tag and is no `<filesystem>` over 9p: the guest could not tell the two apart. */
function takenBy(
  { device }: DeviceWant,
  { persistent }: Pick<DeviceSeen, "persistent">,
): OtherFilesystem | undefined {
  return persistent?.otherFilesystems.find(({ tag }) => tag === device.tag);
}

/** `a virtiofs device (/v)`. */
function describe({ driver, source }: OtherFilesystem): string {
  const what = driver === "9p" ? "a 9p device on QEMU's command line" : `a ${driver} device`;
  return source === "" ? what : `${what} (${source})`;
}

/** That it is refused is known before anything is changed; that it is complained of is said once, with the change. */
function readOnlyTrouble(want: DeviceWant, { readOnlyForm: form, info }: DeviceSeen) {
  if (!form || form.says === "") return { refuse: [], warnings: [] };
  const name = info?.name ?? want.domain;
  if (form.refused && form.says.includes("readonly")) {
    const what = `the emulator of ${name} refuses what this libvirt writes for a read-only share, and would not start: ${form.says}`;
    const remedy = "use a newer libvirt, which writes readonly=on, or another QEMU for this domain";
    return { refuse: [{ code: "readOnlyRefused" as const, what, remedy }], warnings: [] };
  }
  const says = `the emulator of ${name} complains of what this libvirt writes for a read-only share, in the domain's log, and starts all the same: ${form.says}`;
  return { refuse: [], warnings: [says] };
}

/** The domain goes by its UUID; that it is not called as the program calls it is said. */
function renamed(want: DeviceWant, { info }: Pick<DeviceSeen, "info">): string[] {
  if (!info || info.name === want.domain || info.uuid === want.domain.toLowerCase()) return [];
  const other =
    info.namesake === undefined ? "" : `; ${want.domain} is another domain now (${info.namesake})`;
  return [`the domain ${want.domain} is called ${info.name} now: write that, or its UUID, as domain${other}`];
}

/** Needs to be known by the tags that the share has or had: its own device is no second writer. */
function otherWriters(
  want: DeviceWant,
  seen: Needed<DeviceSeen, Pick<typeof driftNeeds, "info" | "exports" | "near" | "mounts">>,
  context: Context,
): Refusal[] {
  if (!seen.exports || !seen.mounts) return [];
  const { source, tag } = want.device;
  return secondWriters(
    { source, tag, domain: seen.info?.name ?? want.domain },
    { exports: seen.exports, mounts: seen.mounts, domainUuid: seen.info?.uuid },
    { ...context, tags: new Set([...context.tags, tag]) },
  );
}

function domainProblems(want: DeviceWant, seen: DeviceSeen): Refusal[] {
  if (!seen.info) {
    return refuse(
      "unknownDomain",
      `libvirt has no domain ${want.domain}`,
      "give domain by its exact name or UUID, as `virsh list --all --uuid --name` shows them",
    );
  }
  if (seen.info.namesake !== undefined) {
    return refuse(
      "domainRenamed",
      `the domain that has this share is called ${seen.info.name} now (${seen.info.uuid}), and ${want.domain} is another one (${seen.info.namesake})`,
      `give domain as "${seen.info.name}", or as its UUID; to move the share to the new ${want.domain}, run pulumi up --replace`,
    );
  }
  if (!seen.info.persistent) {
    return refuse(
      "transientDomain",
      `${seen.info.name} is transient: it has no definition that a share could be written to`,
      "define it (virsh define) and start it from there",
    );
  }
  if (seen.has9p === false) {
    return refuse(
      "qemuWithoutVirtio9p",
      `the emulator of ${seen.info.name}, ${seen.persistent?.emulator ?? "QEMU"}, has no virtio-9p`,
      "RHEL and its kin build QEMU without it: use another build of QEMU for this domain",
    );
  }
  return [];
}

const xmlFile = "/dev/stdin";

/** Of two that come with one tag at the same time libvirt takes the first. */
function attachStep(device: Device9p): Step {
  return {
    does: `declare ${device.tag} (${device.source}, ${device.accessMode}${device.readOnly ? ", read-only" : ""}) in the domain`,
    run: attach(elementOf(device)),
    undo: detach(elementOf(device)),
    failures: [
      {
        answer: "Target already exists",
        code: "tagTaken",
        what: `somebody else gave the tag ${device.tag} to a device of the domain just now`,
        remedy: "choose another tag, or remove that device",
      },
    ],
  };
}

function detachStep(device: Device9p): Step {
  return {
    does: `take ${device.tag} (${device.source}) out of the domain`,
    run: whereStanding(device, detach(elementOf(device))),
    undo: attach(elementOf(device)),
  };
}

/**
 * Does something where the definition has this directory under this tag, and nothing where the tag is gone, for libvirt takes
 * out whatever has the tag. Sample of what it has, without blanks and line ends: `<sourcedir='/srv/a'/><targetdir='a'/>`.
 */
function whereStanding(device: Device9p, then: Script): Script {
  const [source, target] = elementOf(device)
    .split("\n")
    .map((line) => line.replaceAll(" ", ""))
    .filter((line) => /^<(source|target)dir=/.test(line));
  return sh`case $(vsh dumpxml --inactive "$domain" | tr -d ' \n') in
*${`${source ?? ""}${target ?? ""}`}*) ${then} ;;
*${target ?? ""}*) echo ${`the tag ${device.tag} is another device's by now, and that is left`} >&2; exit 1 ;;
esac`;
}

/** At its own address, or, where another device has that by now, at one that libvirt chooses. */
function attach(xml: string): Script {
  const anywhere = withoutAddress(xml);
  const at = (element: string): Script =>
    sh`printf %s ${element} | vsh attach-device "$domain" ${xmlFile} --config`;
  return anywhere === undefined ? at(xml) : sh`${at(xml)} || ${at(anywhere)}`;
}

function detach(xml: string): Script {
  return sh`printf %s ${xml} | vsh detach-device "$domain" ${xmlFile} --config`;
}

/** What the machine has where it differs, by argument. */
function differences(want: Device9p, now: Device9p): Record<string, Json> {
  return Object.fromEntries(
    deviceArguments.filter((name) => want[name] !== now[name]).map((name) => [name, now[name] ?? null]),
  );
}

function toJson(device: Device9p): { [K in keyof Device9p]?: Json } {
  return { ...device, fileMode: device.fileMode ?? null, directoryMode: device.directoryMode ?? null };
}

function fromJson(device: { readonly [K in keyof Device9p]?: Json }): Device9p {
  return {
    ...(device as unknown as Device9p),
    fileMode: (device.fileMode as string | null) ?? undefined,
    directoryMode: (device.directoryMode as string | null) ?? undefined,
  };
}
