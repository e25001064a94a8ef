import type { Fact, Tool } from "../engine/concern";
import { sh } from "../formats/shell";
import { type Domain, parseDacBaselabel, parseDomain } from "../formats/domain-xml";

/** What several concerns ask about the share's domain and its libvirt; each is looked up once per look. */

export const virsh: Tool = { program: "virsh", packages: ["libvirt-clients", "libvirt-client"] };

/** Asked first of all: the host's prelude has listed the domains, to find ours. */
export const libvirt: Fact<null> = {
  key: "libvirt",
  place: "host",
  does: "ask libvirt for its domains",
  tools: [virsh],
  script: sh`[ "$listed" = 0 ] || { printf '%s\n' "$listing" >&2; exit 1; }`,
  parse: () => null,
  failure: {
    code: "libvirtUnreachable",
    what: "libvirt does not answer",
    remedy: "see that libvirtd (or virtqemud) runs, and that this user may use it: virsh list --all",
  },
};

/** What `virsh dominfo` says, libvirt 9.0. Undefined: there is no such domain. */
export interface DomainInfo {
  readonly uuid: string;
  /** What its guest has as its system's, where that is another and the domain runs. */
  readonly systemUuid?: string;
  readonly name: string;
  /** virDomainState as virsh prints it: `running`, `shut off`, `paused`, `in shutdown`, `pmsuspended`, ... */
  readonly state: string;
  readonly persistent: boolean;
  readonly managedSave: boolean;
  /** Another domain has the name that the program gives, since this one was renamed: that one's UUID. */
  readonly namesake: string | undefined;
}

/** Sample: `UUID: 5a...`, `Name: web1`, `State: running`, `Persistent: yes`, `Managed save: no`, `Namesake: `. */
export const domainInfo: Fact<DomainInfo | undefined> = {
  key: "domain info",
  place: "host",
  perDomain: true,
  does: "look at the domain's state",
  guard: true,
  tools: [virsh],
  script: sh`[ -n "$domain" ] || exit 0
vsh dominfo "$domain" | grep -E '^(UUID|Name|State|Persistent|Managed save):'
printf 'Namesake: %s\n' "$namesake"`,
  parse(output) {
    const fields = new Map(
      output
        .split("\n")
        .map((line) => /^([^:]+):\s+(.*)$/.exec(line))
        .map((match) => [match?.[1] ?? "", match?.[2] ?? ""]),
    );
    const uuid = fields.get("UUID");
    if (uuid === undefined) return undefined;
    return {
      uuid,
      name: fields.get("Name") ?? uuid,
      state: fields.get("State") ?? "",
      persistent: fields.get("Persistent") === "yes",
      managedSave: fields.get("Managed save") === "yes",
      namesake: fields.get("Namesake") || undefined,
    };
  },
};

/** What the next start of the domain will have. */
export const persistentDomain: Fact<Domain | undefined> = {
  key: "persistent domain",
  place: "host",
  perDomain: true,
  does: "read the domain's persistent definition",
  guard: true,
  tools: [virsh],
  script: sh`[ -z "$domain" ] || vsh dumpxml --inactive "$domain"`,
  parse: (output) => (output.trim() === "" ? undefined : parseDomain(output)),
};

/** What the running QEMU has; undefined when the domain is off. */
export const liveDomain: Fact<Domain | undefined> = {
  key: "live domain",
  place: "host",
  perDomain: true,
  does: "read the running domain's definition",
  tools: [virsh],
  script: sh`if [ -n "$domain" ] && [ "$(vsh domstate "$domain")" != 'shut off' ]; then vsh dumpxml "$domain"; fi`,
  parse: (output) => (output.trim() === "" ? undefined : parseDomain(output)),
};

/** Whether libvirt does a job on the domain: a migration, a save, a dump, a block pull. Sample: `Job type: None`. */
export const domainJob: Fact<boolean> = {
  key: "domain job",
  place: "host",
  perDomain: true,
  does: "ask for the domain's jobs",
  tools: [virsh],
  // Of a domain that is off, libvirt 9.0 answers with an error.
  script: sh`[ -n "$domain" ] || exit 0
vsh domjobinfo "$domain" 2>/dev/null || :
if [ "$(vsh domstate "$domain")" != 'shut off' ]; then
  vsh domblklist "$domain" | while read -r disk _; do
    case $(vsh blockjob "$domain" "$disk" 2>/dev/null) in *%*) echo 'Job type: Block';; esac
  done
fi`,
  parse: (output) => {
    const types = [...output.matchAll(/^Job type:\s+(\S+)/gm)].map((match) => match[1]);
    return types.some((type) => type !== "None" && type !== "Completed");
  },
};

/** A test: the domain shows whom its QEMU runs as. */
const hasOwnLabel = sh`[ -n "$domain" ] && vsh dumpxml "$domain" | grep -q "<seclabel [^>]*model='dac'"`;

/**
 * Whom libvirt runs QEMU as by default: the DAC baselabel of its capabilities, by domain type.
 *
 * Asked only where the running domain has no label of its own to show: libvirt makes its capabilities
 * anew for every call, which can take seconds (measured: 0.7 to 3.5 s in the lab, libvirt 9.0); so once, however
 * many domains ask.
 */
export const dacBaselabels: Fact<(domainType: string) => { user: string; group: string } | undefined> = {
  key: "dac baselabels",
  place: "host",
  perDomain: true,
  does: "ask libvirt whom it runs QEMU as",
  tools: [virsh],
  gathers: { variable: "capabilities", when: sh`! { ${hasOwnLabel}; }`, script: sh`vsh capabilities` },
  script: sh`if ${hasOwnLabel}; then exit 0; fi
[ -n "$capabilities" ] || { echo 'virsh capabilities says nothing' >&2; exit 1; }
printf '%s\n' "$capabilities"`,
  parse: (output) => (domainType) => (output === "" ? undefined : parseDacBaselabel(output, domainType)),
};

/**
 * Whether the domain's emulator has virtio-9p at all; RHEL's has not, and libvirt does not say so.
 *
 * Undefined: there is no domain, or its definition names no emulator.
 */
export const emulatorHas9p: Fact<boolean | undefined> = {
  key: "emulator has 9p",
  place: "host",
  perDomain: true,
  does: "ask the domain's emulator for virtio-9p",
  tools: [virsh],
  script: sh`[ -n "$domain" ] || exit 0
emulator=$(vsh dumpxml --inactive "$domain" | sed -n 's:.*<emulator>\(.*\)</emulator>.*:\1:p')
if [ -n "$emulator" ] && [ -x "$emulator" ]; then
  "$emulator" -device help 2>&1 | grep -c 'name "virtio-9p-' || :
fi`,
  parse: (output) => (output.trim() === "" ? undefined : Number(output) > 0),
};
