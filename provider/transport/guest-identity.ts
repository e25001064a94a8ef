import { lines, sh } from "../formats/shell";
import { ShareError } from "../errors";
import type { Where } from "./listener";
import type { Transport } from "./transport";

/** With what a script ends that found itself on another machine (EX_PROTOCOL, sysexits.h). */
const anotherStatus = 76;

/**
 * A guest at an address, which may lead to another machine: a lease that was given away, a connection copied
 * from another share, the host itself. Nothing runs there but on the domain's own.
 *
 * libvirt hands the domain's UUID to the guest as that of its system (libvirt 9.0, domain XML, `smbios`), and
 * root can read it there. A guest that shows none, on a machine without SMBIOS, is taken at its word.
 */
export function ofDomain(
  transport: Transport,
  {
    uuid,
    name,
    systemUuid = uuid,
  }: { readonly uuid: string; readonly name: string; readonly systemUuid?: string },
  where: Where,
): Transport {
  return {
    ...transport,
    run: async (script, limits) => {
      const output = await transport.run(lines([check(systemUuid), { text: script }]).text, limits);
      const [, found] =
        /^virtio9p-system-uuid ([0-9a-f-]{36})$/m.exec(output.stderr.toString("latin1")) ?? [];
      if (output.status !== anotherStatus || found === undefined) return output;
      throw new ShareError({
        ...where,
        code: "guestIsAnother",
        what: `what answers there is not the domain ${name}: its system has the UUID ${found}, and the domain's ${systemUuid}`,
        remedy: "give guest.connection the address that this guest has now",
      });
    },
  };
}

function check(uuid: string) {
  return sh`system=$(cat /sys/class/dmi/id/product_uuid 2>/dev/null | tr A-F a-f)
case $system in
'' | ${uuid.toLowerCase()}) ;;
*) echo "virtio9p-system-uuid $system" >&2; exit ${anotherStatus} ;;
esac`;
}
