import { dirname } from "node:path/posix";

/** Whether an absolute or relative path, without links, `.` or `..` on its way, is `above` or leads into it. */
export function isAtOrBelow(path: string, above: string): boolean {
  return path === above || path.startsWith(above === "/" ? "/" : `${above}/`);
}

/** Sample: `/a/b`, `/a`, `/`. */
export function selfAndAbove(path: string): string[] {
  const above = dirname(path);
  return above === path ? [path] : [path, ...selfAndAbove(above)];
}
