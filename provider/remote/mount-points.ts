import { readFileSync } from "node:fs";
import { mountsBelow, parseMountinfo } from "../formats/mountinfo";

/** Where something is mounted below a directory of this machine, as find(1) names it: `./sub`, a character for each byte. */
export function mountPointsIn(directory: string): string[] {
  const path = Buffer.from(directory).toString("latin1");
  const mounts = parseMountinfo(readFileSync("/proc/self/mountinfo", "latin1"));
  const start = path === "/" ? 1 : path.length + 1;
  return mountsBelow(mounts, path).map(({ mountPoint }) => `./${mountPoint.slice(start)}`);
}
