import type { Fact, Place } from "../../engine/layer";
import { lines, sh } from "../../remote/shell/sh";

/** Numbers of users and groups, sample: `{"passwd alice": 1000, "group alice": undefined}`. */
export type Principals = Readonly<Record<string, number | undefined>>;

/**
 * Looks up names, by getent(1), or in passwd(5) and group(5) where there is none (a guest of busybox).
 *
 * Numbers, `qemu` and undefined need no look.
 */
export function principalsOf(place: Place, names: readonly (string | undefined)[]): Fact<Principals> {
  const wanted = [...new Set(names)].filter(
    (name): name is string => name !== undefined && name !== "qemu" && !/^\d+$/.test(name),
  );
  return {
    fixed: true,
    place,
    does: `look up users and groups ${wanted.join(", ")}`.trim(),
    script: lines(
      wanted.flatMap((name) =>
        ["passwd", "group"].map(
          (database) => sh`printf '%s:' ${`${database} ${name}`}
if command -v getent >/dev/null; then getent ${database} ${name} || echo
else grep ${`^${name.replace(/[.\\$]/g, "\\$&")}:`} ${`/etc/${database}`} || echo; fi`,
        ),
      ),
    ),
    parse: (output) =>
      Object.fromEntries(
        [...output.matchAll(/^([^:\n]*):[^:\n]*:[^:\n]*:(\d+)/gm)].map(([, key = "", id]) => [
          key,
          Number(id),
        ]),
      ),
  };
}
