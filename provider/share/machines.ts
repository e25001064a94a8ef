import { domainReader, readDomainsAnew } from "../layers/shared/domain";
import { guestClosing, guestPrelude } from "../layers/shared/guest";
import type { Machine } from "../engine/requests";
import { takeLock } from "../engine/lock";
import { guestPrograms, hostPrograms } from "../engine/programs";
import { recordsDirectory } from "../engine/baseline";
import { type Script, sh } from "../remote/shell/sh";
import { hostOnItsWay, type ShareSpec } from "../spec/spec";
import { ofDomain } from "../remote/guest-identity";
import { guestAgentTransport } from "../remote/guest-agent";
import { localTransport } from "../remote/local";
import { sshTransport } from "../remote/ssh/ssh";
import type { SshConnection } from "../remote/ssh/connection";
import { nameOf } from "../remote/ssh/login";
import { sshConnection } from "../remote/ssh/pool";
import { runnerFor } from "../remote/sudo";
import { told } from "../remote/trace";
import type { Transport } from "../remote/transport";
import type { Machines } from "./observe";

/** Shares that one script in a guest may serve: its agent prints nothing before the end, and that has a limit. */
const mostInGuest = 10;

/**
 * The machines of one share: its KVM host, this one or over SSH, and the guest, through its agent or over SSH.
 *
 * `knownUuid` is what the state says of the domain; it finds the records when libvirt has it no more.
 */
export function machinesOf(spec: ShareSpec, knownUuid: string): Machines {
  const { libvirtUri } = spec.host;
  const { transport: reached, connection } = hostOf(spec);
  const transport = told(reached, spec.tag, "asItComes");
  const idleMs = spec.timeouts.commandMs;
  // Who shares a connection shares scripts; who the host is does not depend on it.
  const key = `${connection?.key ?? "local"} ${libvirtUri} ${spec.host.escalate}`;
  const way = guestWay(spec);
  return {
    key: hostOnItsWay(spec.host),
    knownUuid,
    unverified: [...new Set([...(connection?.unverified ?? []), ...(way?.connection.unverified ?? [])])],
    guestBy: way ? "ssh" : "agent",
    host: {
      ...hostMachine(libvirtUri, transport),
      key,
      idleMs,
      scope: domainScope(spec.domain, knownUuid),
    },
    guest: (domain) => ({
      place: "guest",
      key: `${key} ${domain.uuid} ${way?.connection.key ?? ""}`,
      transport: way
        ? told(way.transport(domain), spec.tag, "asItComes")
        : told(guestAgentTransport(reached, sh`virsh -q -c ${libvirtUri}`, domain), spec.tag, "atOnce"),
      idleMs,
      prelude: guestPrelude,
      scope: noDomain,
      lock: guestLock,
      closing: guestClosing,
      programs: guestPrograms,
      most: way ? Infinity : mostInGuest,
    }),
    guestReady: (withinMs) => way?.connection.ready(withinMs) ?? Promise.resolve(),
  };
}

/** This machine as a KVM host, for what belongs to no share. */
export function thisMachine(libvirtUri: string): Machine {
  return hostMachine(libvirtUri, localTransport(libvirtUri === "qemu:///session" ? "none" : "auto"));
}

/** As `timeouts.commandMs` when nothing is given. */
const usualIdleMs = 120_000;

function hostMachine(libvirtUri: string, transport: Transport): Machine {
  return {
    place: "host",
    key: libvirtUri,
    transport,
    idleMs: usualIdleMs,
    prelude: hostPrelude(libvirtUri),
    opening: {
      does: "ask libvirt for its domains",
      variable: "listing",
      script: sh`vsh list --all --uuid --name 2>&1`,
      behind: sh`listed=$status`,
    },
    scope: noDomain,
    closing: { does: "read domains anew behind the changes", run: readDomainsAnew },
    lock: hostLock,
    programs: hostPrograms,
    most: Infinity,
  };
}

const noDomain: Machine["scope"] = { key: "", enter: sh`:`, beforeWrite: sh`:` };

/** How scripts reach the host; where the libvirt is a user's own, as that user. */
function hostOf(spec: ShareSpec): { transport: Transport; connection?: SshConnection } {
  const { connection: args, libvirtUri, verifyHostKey } = spec.host;
  const escalate = libvirtUri === "qemu:///session" ? "none" : spec.host.escalate;
  if (!args) return { transport: localTransport(escalate) };
  const where = { layer: "host", machine: nameOf(args) } as const;
  const connection = sshConnection({ connection: args, verifyHostKey, where });
  const runner = runnerFor(escalate, args.user === "root");
  return { connection, transport: sshTransport(connection, runner, args.user, where) };
}

/** A guest over SSH; undefined: through its agent. */
function guestWay(spec: ShareSpec) {
  const { connection: args, verifyHostKey } = spec.guest ?? {};
  if (!args) return undefined;
  const connection = sshConnection({
    connection: args,
    verifyHostKey: verifyHostKey !== false,
    where: { layer: "guest", machine: `guest ${spec.domain} (${nameOf(args)})` },
  });
  const runner = runnerFor("auto", args.user === "root");
  return {
    connection,
    transport: (domain: { readonly uuid: string; readonly name: string; readonly systemUuid?: string }) => {
      const where = { layer: "guest", machine: `guest ${domain.name} (${nameOf(args)})` } as const;
      return ofDomain(sshTransport(connection, runner, args.user, where), domain, where);
    },
  };
}

/**
 * `find_domain` finds a domain by the UUID that the state knows, else by its exact name or the UUID that is
 * written, and never by libvirt's running number: `virsh` takes a domain named "4" for the one with the
 * id 4, so only the UUID is used after this.
 *
 * It sets `$domain`; `$namesake`, another domain that has the written name; and `$recorded`, the UUID under
 * which the domain's records are: a former one where it was defined anew, until they are carried over.
 */
function hostPrelude(libvirtUri: string): Script {
  return sh`vsh() { virsh -q -c ${libvirtUri} "$@"; }
${domainReader}
${recordsDirectory(libvirtUri)}
find_domain() { # KNOWN-UUID WRITTEN WRITTEN-UUID
  known='' written='' namesake=''
  if [ "$listed" = 0 ]; then
    while read -r uuid name; do
      if [ "$uuid" = "$1" ]; then known=$uuid; fi
      if [ "$name" = "$2" ] || [ "$uuid" = "$3" ]; then written=$uuid; fi
    done <<LISTING
$listing
LISTING
  fi
  domain=$known
  if [ -z "$known" ]; then domain=$written; elif [ -n "$written" ] && [ "$written" != "$known" ]; then namesake=$written; fi
  recorded=$domain
  if [ -z "$domain" ] || { [ -n "$1" ] && [ -d "$records/domains/$1" ] && ! [ -d "$records/domains/$domain" ]; }; then recorded=$1; fi
}`;
}

function domainScope(domain: string, knownUuid: string): Machine["scope"] {
  return {
    key: `${knownUuid} ${domain}`,
    enter: sh`find_domain ${knownUuid} ${domain} ${domain.toLowerCase()}`,
    // A domain that was defined anew takes its records with it.
    beforeWrite: sh`if [ -n "$domain" ] && [ "$recorded" != "$domain" ] && mv -T -- "$records/domains/$recorded" "$records/domains/$domain"; then recorded=$domain; fi`,
  };
}

const hostLock = sh`mkdir -p -m 0700 -- "$records"
${takeLock(sh`"$records/lock"`)}`;

/** A guest of busybox may have no flock; the comparison just before the write then stands alone. */
const guestLock = sh`if command -v flock >/dev/null; then
${takeLock(sh`/run/virtio9p.lock`)}
fi`;
