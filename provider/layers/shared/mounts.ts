import type { Fact, Place } from "../../engine/layer";
import { type Mount, parseMountinfo } from "../../formats/mountinfo";
import { sh } from "../../remote/shell/sh";
import { mountinfo } from "./guest";

/** `/proc/self/mountinfo`, proc(5), of either machine. */

export const hostMounts = mountsOf("host");

export const guestMounts = mountsOf("guest");

function mountsOf(place: Place): Fact<readonly Mount[]> {
  const isGuest = place === "guest";
  return {
    place,
    ...(isGuest ? { gathers: mountinfo } : { fixed: true }),
    does: `read the ${place}'s mounts`,
    script: isGuest ? sh`printf '%s\n' "$mountinfo"` : mountinfo.script,
    parse: parseMountinfo,
  };
}
