import type { Fact, Tool } from "../../engine/layer";
import { type Script, sh } from "../../remote/shell/sh";
import { type Domain, parseDacBaselabel, parseDomain } from "../../formats/domain-xml";

/** What several layers ask about the share's domain and its libvirt; each is looked up once per look. */

export const virsh: Tool = { program: "virsh", packages: ["libvirt-clients", "libvirt-client"] };

/** Asked first of all: the host's prelude has listed the domains, to find ours. */
export const libvirt: Fact<null> = {
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

/**
 * `of_domain info`, `of_domain inactive`, `of_domain live`: what libvirt says of $domain, its state, and its definitions. One
 * virsh asks for all, and the facts of a script read its file; behind the steps of a script it is asked anew.
 *
 * virsh -q ends an echo without a line end. The mark is the script's own, which no definition can guess.
 */
export const domainReader: Script = sh`of_domain() {
  said=$work/domain-$domain
  [ -e "$said" ] || vsh "dominfo $domain; echo $mark; dumpxml --inactive $domain; echo $mark; dumpxml $domain" > "$said" ||
    { rm -f -- "$said"; return 1; }
  case $1 in info) part=0;; inactive) part=1;; live) part=2;; esac
  awk -v mark="$mark" -v part="$part" '
    index($0, mark) == 1 { n++; $0 = substr($0, length(mark) + 1) }
    n == part && $0 != "" { print; found = 1 }
    END { exit !found }' "$said"
}`;

/** For the end of a script's steps. */
export const readDomainsAnew: Script = sh`rm -f -- "$work"/domain-*`;

/** A test: the domain is not off. */
const isOn = sh`! of_domain info | grep -Eq '^State: +shut off$'`;

const ofDomain = { place: "host", perDomain: true, tools: [virsh] } as const;

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
  ...ofDomain,
  does: "look at the domain's state",
  precondition: true,
  script: sh`[ -n "$domain" ] || exit 0
said=$(of_domain info) || exit 1
printf '%s\n' "$said" | grep -E '^(UUID|Name|State|Persistent|Managed save):'
printf 'Namesake: %s\n' "$namesake"`,
  parse(output) {
    const fields = new Map(
      [...output.matchAll(/^([^:\n]+): +(.*)$/gm)].map(([, name = "", value = ""]) => [name, value]),
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
  ...ofDomain,
  does: "read the domain's persistent definition",
  script: sh`[ -z "$domain" ] || of_domain inactive`,
  parse: parseIfAny,
};

/** What the running QEMU has; undefined when the domain is off. */
export const liveDomain: Fact<Domain | undefined> = {
  ...ofDomain,
  does: "read the running domain's definition",
  script: sh`if [ -n "$domain" ] && ${isOn}; then of_domain live; fi`,
  parse: parseIfAny,
};

function parseIfAny(output: string): Domain | undefined {
  return output.trim() === "" ? undefined : parseDomain(output);
}

/** Whether libvirt does a job on the domain: a migration, a save, a dump, a block pull. Sample: `Job type: None`. */
export const domainJob: Fact<boolean> = {
  ...ofDomain,
  does: "ask for the domain's jobs",
  // Of a domain that is off, libvirt 9.0 answers with an error.
  script: sh`[ -n "$domain" ] || exit 0
vsh domjobinfo "$domain" 2>/dev/null || :
if ${isOn}; then
  vsh domblklist "$domain" | while read -r disk _; do
    case $(vsh blockjob "$domain" "$disk" 2>/dev/null) in *%*) echo 'Job type: Block';; esac
  done
fi`,
  parse: (output) => /^Job type: +(?!None\b|Completed\b)\S/m.test(output),
};

/**
 * A test: the domain shows whom its QEMU runs as. libvirt writes its labels behind the devices, and nothing that the
 * domain's owner wrote comes after these: what looks like a label in `<metadata>` does not count.
 */
const hasOwnLabel = sh`[ -n "$domain" ] && of_domain live |
  awk '/^  <\/devices>$/ { found = 0 } /^  <seclabel [^>]*model=.dac./ { found = 1 } END { exit !found }'`;

/**
 * Whom libvirt runs QEMU as by default: the DAC baselabel of its capabilities, by domain type.
 *
 * Asked only where the running domain has no label of its own to show, and once, however many domains ask: libvirt makes
 * its capabilities anew for every call (measured: 0.7 to 3.5 s in the lab, libvirt 9.0).
 */
export const dacBaselabels: Fact<(domainType: string) => { user: string; group: string } | undefined> = {
  ...ofDomain,
  fixed: true,
  does: "ask libvirt whom it runs QEMU as",
  gathers: {
    variable: "capabilities",
    when: sh`! { ${hasOwnLabel}; }`,
    script: sh`vsh capabilities || echo 'virsh capabilities says nothing'`,
  },
  script: sh`case $capabilities in
'') ;;
'virsh capabilities says nothing') printf '%s\n' "$capabilities" >&2; exit 1 ;;
*) printf '%s\n' "$capabilities" ;;
esac`,
  parse: (output) => (domainType) => (output === "" ? undefined : parseDacBaselabel(output, domainType)),
};

/**
 * Sets `$emulator`. It stands at the head of the devices, behind all that the domain's owner may have written in
 * `<metadata>`: the last one is libvirt's own.
 */
const findEmulator = sh`emulator=$(of_domain inactive | sed -n 's:^    <emulator>\(.*\)</emulator>$:\1:p' |
  tail -n 1 | sed 's/&lt;/</g; s/&gt;/>/g; s/&amp;/\&/g')`;

/** Whether the domain's emulator has virtio-9p: RHEL's has not, and libvirt does not say so. Undefined: there is no emulator. */
export const emulatorHas9p: Fact<boolean | undefined> = {
  ...ofDomain,
  fixed: true,
  does: "ask the domain's emulator for virtio-9p",
  script: sh`[ -n "$domain" ] || exit 0
${findEmulator}
if [ -n "$emulator" ] && [ -x "$emulator" ]; then
  "$emulator" -device help 2>&1 | grep -c 'name "virtio-9p-' || :
fi`,
  parse: (output) => (output.trim() === "" ? undefined : Number(output) > 0),
};

/** How an emulator takes what libvirt writes for a read-only share. */
export interface ReadOnlyForm {
  readonly refused: boolean;
  /** What it says: `-fsdev local,...,readonly: warning: short-form boolean option 'readonly' deprecated`; empty: nothing. */
  readonly says: string;
}

const probeHead =
  "<domain type='qemu'><name>virtio9p-probe</name><memory>65536</memory><os><type>hvm</type></os><devices>";
const probeTail =
  "<filesystem type='mount'><source dir='/'/><target dir='probe'/><readonly/></filesystem></devices></domain>";

/**
 * What the domain's emulator says of the `-fsdev` that this libvirt writes for a read-only share: libvirt up to 9.10, at
 * least, writes `readonly` in the short form, of which QEMU complains since 6.0 and which it may drop. Both are asked, for
 * distributions change either. Nothing is started: QEMU only reads its arguments (`-version`).
 *
 * Undefined: libvirt does not tell, or there is no emulator.
 * Source: libvirt 9.10 src/qemu/qemu_command.c (`qemuBuildFSStr`); QEMU 9.2 docs/about/deprecated.rst.
 */
export const readOnlyForm: Fact<ReadOnlyForm | undefined> = {
  ...ofDomain,
  fixed: true,
  does: "ask the domain's emulator how it takes a read-only share",
  script: sh`[ -n "$domain" ] || exit 0
${findEmulator}
[ -n "$emulator" ] && [ -x "$emulator" ] || exit 0
written=$(printf '%s\n' ${probeHead} "<emulator>$(printf %s "$emulator" | sed 's/&/\&amp;/g; s/</\&lt;/g')</emulator>" ${probeTail} |
  vsh domxml-to-native qemu-argv --xml /dev/stdin 2>/dev/null | grep -o 'local,[^ ]*readonly[^ ]*' | head -n 1)
[ -n "$written" ] || exit 0
status=0
says=$("$emulator" -fsdev "$written" -version 2>&1 >/dev/null) || status=$?
printf '%s\n' "$status" "$says"`,
  parse(output) {
    const [status = "", ...says] = output.trim().split("\n");
    return status === "" ? undefined : { refused: status !== "0", says: says.join(" ") };
  },
};
