import { deviceArguments, wantedDevice } from "../../drivers/ninep/device";
import {
  alone,
  type Layer,
  type Context,
  type Json,
  type Needed,
  type Plan,
  type Refusal,
  type Seen,
  type Step,
  refused,
  refuse,
  needs,
} from "../../engine/layer";
import { type Script, sh } from "../../remote/shell/sh";
import {
  type Device9p,
  elementOf,
  formatChanged,
  formatDevice9p,
  sameDevice,
  withoutAddress,
} from "../../formats/domain-xml";
import { apparmorRefusals, apparmorWarnings, libvirtUnderApparmor } from "./apparmor";
import { hostMounts } from "../shared/mounts";
import {
  exportsNear,
  hostExports,
  otherSpellings,
  secondWriters,
  spelledAs,
  unknownWriters,
} from "../shared/exclusive-access";
import { domainInfo, emulatorHas9p, persistentDomain, readOnlyForm } from "../shared/domain";

interface DeviceWant {
  readonly domain: string;
  readonly device: Device9p;
  /** Nobody else may write to the same tree. */
  readonly onlyWriter: boolean;
}

/** What a read-only share and one that is the only writer ask for besides is undefined for others. */
const facts = (want: DeviceWant) => ({
  info: domainInfo,
  persistent: persistentDomain,
  has9p: emulatorHas9p,
  apparmor: libvirtUnderApparmor,
  spellings: otherSpellings(want.device.source),
  ...(want.device.readOnly ? { readOnlyForm } : {}),
  ...(want.onlyWriter
    ? { exports: hostExports, near: exportsNear(want.device.source), mounts: hostMounts }
    : {}),
});

type DeviceSeen = Seen<ReturnType<typeof facts>>;

const restoreNeeds = needs(["persistent"], ["spellings"]);
/** Of who else writes a refresh says what it can see. */
const driftNeeds = needs(["info", "persistent"], ["spellings", "exports", "near", "mounts"]);

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
export const domainDevice: Layer<
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
  facts,
  needs: { restore: restoreNeeds, drift: driftNeeds },

  plan(want, seen, _before, known, context = alone) {
    const refuse = [
      ...domainProblems(want, seen),
      ...apparmorRefusals(want.device, seen.apparmor),
      ...otherWriters(want, seen, context),
    ];
    if (refuse.length > 0) return { refuse, steps: [] };
    const same = devicesOf(want, seen);
    const stranger = known ? undefined : same.find((device) => device.source !== want.device.source);
    const taken = takenBy(want, seen) ?? stranger?.source;
    if (taken !== undefined) {
      return refused(
        "tagTaken",
        `the tag ${want.device.tag} is taken in ${seen.info?.name ?? want.domain} by ${taken}; this share would give it to ${want.device.source}`,
        anotherTag,
      );
    }
    const [first] = same;
    const warnings = unknownWriters(want.device.source, seen.exports, seen.info?.uuid);
    if (same.length === 1 && first && sameDevice(first, want.device)) return { steps: [], warnings };
    const trouble = readOnlyTrouble(want, seen);
    if (trouble.refuse) return trouble;
    const xml = first ? formatChanged(first, want.device) : formatDevice9p(want.device);
    return {
      steps: [...same.map(detachStep), attachStep({ ...want.device, xml })],
      warnings: [...warnings, ...apparmorWarnings(want.device, seen.apparmor), ...(trouble.warnings ?? [])],
    };
  },

  remember(want, seen) {
    const [found] = devicesOf(want, seen);
    return { device: found ? inRecord<NonNullable<DeviceBefore["device"]>>(found) : null };
  },

  restore(old, before, seen) {
    const [now] = devicesOf(old, seen);
    const then = before.device === null ? undefined : inRecord<Device9p>(before.device);
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
    if (!seen.persistent) return { state: "unknown", args: {}, notes: [] };
    const { name } = seen.persistent;
    const [now] = devicesOf(want, seen);
    const other = takenBy(want, seen);
    const notes = [
      ...(now ? [] : [`${name} has no filesystem ${want.device.tag}`]),
      ...renamed(want, seen),
      ...otherWriters(want, seen, alone).map(({ what }) => what),
      ...unknownWriters(want.device.source, seen.exports, seen.info?.uuid),
      ...(other === undefined ? [] : [`${name} has the tag ${want.device.tag} for ${other}, too`]),
    ];
    if (!now) return { state: "missing", args: {}, notes };
    const args = differences(want.device, now);
    return { state: Object.keys(args).length === 0 && other === undefined ? "ok" : "differs", args, notes };
  },
};

/** What its definition declares under the tag, with the share's own spelling of its directory. */
function devicesOf(
  { device: { source, tag } }: DeviceWant,
  { persistent, spellings }: Needed<DeviceSeen, typeof restoreNeeds>,
): readonly Device9p[] {
  const devices = persistent ? spelledAs(source, spellings, persistent).devices9p : [];
  return devices.filter((device) => device.tag === tag);
}

/**
 * What has the tag and is no `<filesystem>` over 9p: the guest could not tell the two apart. Sample: `a virtiofs device (/v)`.
 */
function takenBy({ device }: DeviceWant, { persistent }: Pick<DeviceSeen, "persistent">): string | undefined {
  const other = persistent?.otherFilesystems.find(({ tag }) => tag === device.tag);
  if (!other) return undefined;
  const what = other.driver === "9p" ? "a 9p device on QEMU's command line" : `a ${other.driver} device`;
  return other.source === "" ? what : `${what} (${other.source})`;
}

/** That it is refused is known before anything is changed; that it is complained of is said once, with the change. */
function readOnlyTrouble(want: DeviceWant, { readOnlyForm: form, info }: DeviceSeen): Plan {
  if (!form || form.says === "") return { steps: [] };
  const name = info?.name ?? want.domain;
  if (form.refused && form.says.includes("readonly")) {
    return refused(
      "readOnlyRefused",
      `the emulator of ${name} refuses what this libvirt writes for a read-only share, and would not start: ${form.says}`,
      "use a newer libvirt, which writes readonly=on, or another QEMU for this domain",
    );
  }
  const says = `the emulator of ${name} complains of what this libvirt writes for a read-only share, in the domain's log, and starts all the same: ${form.says}`;
  return { steps: [], warnings: [says] };
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
    { source, tag, domain: seen.info?.name ?? want.domain, uuid: seen.info?.uuid },
    seen.exports,
    seen.mounts,
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

const anotherTag = "choose another tag, or remove that device";

/** Of two that come with one tag at the same time libvirt takes the first. */
function attachStep(device: Device9p): Step {
  return {
    does: `declare ${device.tag} (${device.source}, ${device.accessMode}${device.readOnly ? ", read-only" : ""}) in the domain`,
    run: attach(device),
    undo: detach(device),
    failures: [
      {
        answer: "Target already exists",
        code: "tagTaken",
        what: `somebody else gave the tag ${device.tag} to a device of the domain just now`,
        remedy: anotherTag,
      },
    ],
  };
}

/**
 * Where the definition has this directory under this tag; nothing is done where the tag is gone, for libvirt takes out
 * whatever has the tag. Sample of what is looked for, without blanks and line ends: `<sourcedir='/srv/a'/><targetdir='a'/>`.
 */
function detachStep(device: Device9p): Step {
  const [source = "", target = ""] = elementOf(device)
    .replaceAll(" ", "")
    .split("\n")
    .filter((line) => /^<(source|target)dir=/.test(line));
  return {
    does: `take ${device.tag} (${device.source}) out of the domain`,
    run: sh`xml=$(vsh dumpxml --inactive "$domain")
case $(printf %s "$xml" | tr -d ' \n') in
*${source + target}*) ${detach(device)} ;;
*${target}*) echo ${`the tag ${device.tag} is another device's by now, and that is left`} >&2; exit 1 ;;
esac`,
    undo: attach(device),
  };
}

/** At its own address, or, where another device has that by now, at one that libvirt chooses. */
function attach(device: Device9p): Script {
  const xml = elementOf(device);
  const anywhere = withoutAddress(xml);
  const at = (element: string): Script =>
    sh`printf %s ${element} | vsh attach-device "$domain" /dev/stdin --config`;
  return anywhere === undefined ? at(xml) : sh`${at(xml)} || ${at(anywhere)}`;
}

function detach(device: Device9p): Script {
  return sh`printf %s ${elementOf(device)} | vsh detach-device "$domain" /dev/stdin --config`;
}

/** What the machine has where it differs, by argument. */
function differences(want: Device9p, now: Device9p): Record<string, Json> {
  return Object.fromEntries(
    deviceArguments.filter((name) => want[name] !== now[name]).map((name) => [name, now[name] ?? null]),
  );
}

/** A device as a record has it, and out of one, which is JSON: what it leaves to QEMU is not there, or null. */
function inRecord<T extends object>(device: { readonly [K in keyof T]?: unknown }): T {
  return Object.fromEntries(Object.entries(device).filter(([, value]) => (value ?? null) !== null)) as T;
}
