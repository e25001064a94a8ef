import type { Fact, Place } from "../engine/concern";
import { type Mount, parseMountinfo } from "../formats/mountinfo";
import { sh } from "../formats/shell";

/** `/proc/self/mountinfo`, proc(5), of either machine. */

export const hostMounts = mountsOf("host");

export const guestMounts = mountsOf("guest");

function mountsOf(place: Place): Fact<readonly Mount[]> {
  return {
    key: `mountinfo of the ${place}`,
    place,
    ...(place === "host" ? { fixed: true } : {}),
    does: `read the ${place}'s mounts`,
    script: sh`cat /proc/self/mountinfo`,
    parse: parseMountinfo,
  };
}
