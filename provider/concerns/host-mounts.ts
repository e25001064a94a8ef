import type { Fact } from "../engine/concern";
import { type Mount, parseMountinfo } from "../formats/mountinfo";
import { sh } from "../formats/shell";

/** `/proc/self/mountinfo` of the host. */
export const hostMounts: Fact<readonly Mount[]> = {
  key: "host mountinfo",
  place: "host",
  does: "read the host's mounts",
  script: sh`cat /proc/self/mountinfo`,
  parse: parseMountinfo,
};
