import { lines, sh } from "./shell/sh";
import { failed, type Transport, type Where } from "./transport";

/** With what a script ends that found itself on another machine (EX_PROTOCOL, sysexits.h). */
const anotherStatus = 76;

/** Where Linux shows the system's UUID, to root alone (drivers/firmware/dmi-id.c, Linux 6.1). */
const uuidFile = "/sys/class/dmi/id/product_uuid";

/**
 * A guest at an address, which may lead to another machine: a lease that was given away, a connection copied
 * from another share, the host itself. Nothing runs there but on the domain's own.
 *
 * libvirt hands the domain's UUID to the guest as that of its system (libvirt 9.0, domain XML, `smbios`), and
 * root can read it there. A guest that has none, on a machine without SMBIOS, is taken at its word; one that has
 * it and does not show it, because root is confined there, is not: nobody could tell it from another.
 */
export function ofDomain(
  transport: Transport,
  domain: { readonly uuid: string; readonly name: string; readonly systemUuid?: string },
  where: Where,
): Transport {
  const { name, systemUuid = domain.uuid } = domain;
  return {
    ...transport,
    run: async (script, limits) => {
      const output = await transport.run(lines([check(systemUuid), { text: script }]).text, limits);
      if (output.status !== anotherStatus) return output;
      const [, kind, found = ""] =
        /^virtio9p-system-(uuid|unknown) (.*)$/m.exec(output.stderr.toString("utf8")) ?? [];
      if (kind === undefined) return output;
      if (kind === "uuid") {
        const what = `what answers there is not the domain ${name}: its system has the UUID ${found}, and the domain's ${systemUuid}`;
        const remedy = "give guest.connection the address that this guest has now";
        throw failed(where, "guestIsAnother", what, { remedy });
      }
      const what = `what answers there does not show the UUID of its system, so nothing tells that it is the domain ${name}`;
      throw failed(where, "guestUnidentified", what, {
        tried: `reading ${uuidFile}`,
        returned: found,
        remedy: "let root of this connection read that file in the guest",
      });
    },
  };
}

function check(uuid: string) {
  return sh`if [ -e ${uuidFile} ]; then
  system=$(cat ${uuidFile} 2>&1) && system=$(printf %s "$system" | tr A-F a-f) || system="unreadable: $system"
  case $system in
  ${uuid.toLowerCase()}) ;;
  [0-9a-f]*-*-*-*-*) echo "virtio9p-system-uuid $system" >&2; exit ${anotherStatus} ;;
  *) echo "virtio9p-system-unknown $system" >&2; exit ${anotherStatus} ;;
  esac
fi`;
}
