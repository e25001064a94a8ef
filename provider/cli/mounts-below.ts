import { readFileSync } from "node:fs";
import { parseMountinfo } from "../formats/mountinfo";

/**
 * Where something is mounted below a directory of this machine, as find(1) names it from there: `./sub`. A character for
 * each byte (latin1).
 */
export function mountsBelow(directory: string): string[] {
  const above = `${Buffer.from(directory).toString("latin1").replace(/\/+$/, "")}/`;
  return parseMountinfo(readFileSync("/proc/self/mountinfo", "latin1")).flatMap(({ mountPoint }) =>
    mountPoint.startsWith(above) && mountPoint !== above ? [`./${mountPoint.slice(above.length)}`] : [],
  );
}

/** Whether a name leads to another, or into it. */
export function isAtOrBelow(name: string, above: string): boolean {
  return name === above || name.startsWith(`${above}/`);
}
