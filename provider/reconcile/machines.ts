import { lockHeldStatus } from "../engine/place";
import { recordsDirectory } from "../engine/record";
import { type Script, sh } from "../formats/shell";
import type { ShareSpec } from "../spec";
import { guestAgentTransport } from "../transport/guest-agent";
import { localTransport } from "../transport/local";
import { told } from "../transport/told";
import type { Machines } from "./observe";

/** Seconds that a write waits for another process's lock on the same machine. */
const lockSeconds = 60;

/**
 * The machines of one share: this one as its KVM host, and the guest through its agent.
 *
 * `knownUuid` is what the state says of the domain; it finds the records when libvirt has it no more.
 */
export function machinesOf(spec: ShareSpec, knownUuid: string): Machines {
  const { libvirtUri, escalate } = spec.host;
  const here = localTransport(libvirtUri === "qemu:///session" ? "none" : escalate);
  const transport = told(here, spec.tag, "asItComes");
  const idleMs = spec.timeouts.commandMs;
  return {
    key: `${transport.machine} ${libvirtUri}`,
    knownUuid,
    host: {
      place: "host",
      transport,
      idleMs,
      prelude: hostPrelude(libvirtUri, spec.domain, knownUuid),
      lock: hostLock,
      programs: ["flock", "sha256sum"],
    },
    guest: (domain) => ({
      place: "guest",
      transport: told(guestAgentTransport(here, sh`virsh -q -c ${libvirtUri}`, domain), spec.tag, "atOnce"),
      idleMs,
      prelude: sh`:`,
      lock: guestLock,
      programs: ["sha256sum"],
    }),
  };
}

/**
 * Finds the domain by its exact name or its UUID, never by libvirt's running number: `virsh` takes a
 * domain named "4" for the one with the id 4, so only the UUID is used after this.
 */
function hostPrelude(libvirtUri: string, domain: string, knownUuid: string): Script {
  return sh`vsh() { virsh -q -c ${libvirtUri} "$@"; }
${recordsDirectory(libvirtUri)}
listing=$(vsh list --all --uuid --name 2>&1)
listed=$? domain=''
if [ "$listed" = 0 ]; then
  domain=$(printf '%s\n' "$listing" | while read -r uuid name; do
    if [ "$name" = ${domain} ] || [ "$uuid" = ${domain.toLowerCase()} ]; then printf %s "$uuid"; break; fi
  done)
fi
recorded=$domain
[ -n "$recorded" ] || recorded=${knownUuid}`;
}

const waitForLock = sh`flock -w ${lockSeconds} 9 || { echo 'another process holds the lock of this machine' >&2; exit ${lockHeldStatus}; }`;

const hostLock = sh`mkdir -p -m 0700 -- "$records"
exec 9>>"$records/lock"
${waitForLock}`;

/** A guest of busybox may have no flock; the comparison just before the write then stands alone. */
const guestLock = sh`if command -v flock >/dev/null; then
exec 9>>/run/virtio9p.lock
${waitForLock}
fi`;
