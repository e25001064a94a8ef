import { distance } from "fastest-levenshtein";

/** Characters of a name for which nothing near is looked for: no known name is half as long. */
const maxLength = 100;
/** Characters that two names must begin with in common, where that is all of one of them. */
const minPrefix = 4;
/** Units that names end in, and those that people write in their place: `msizeBytes` for `msize`, `bootMs` for `bootSeconds`. */
const unit = /(bytes|kib|kb|mib|mb|ms|msec|millis|milliseconds|secs?|seconds)$/;

/** The known name nearest to a misspelt one, if any is near. */
export function nearest(name: string, known: readonly string[]): string | undefined {
  return near(name, known)[0];
}

/** What an error adds to a name that is not known: `: did you mean source?`; empty where nothing is near. */
export function hint(name: string, known: readonly string[]): string {
  const meant = nearest(name, known);
  return meant === undefined ? "" : `: did you mean ${meant}?`;
}

/**
 * All that are near, the nearest first: at most two letters, or a third of the name, away; the same but for a unit at
 * the end (`msize` and `msizeBytes`); or the beginning of one another (`sourceDir` and `source`). Case, `_` and `-` do
 * not count.
 */
export function near(name: string, known: readonly string[]): string[] {
  if (name.length > maxLength) return [];
  const most = Math.max(2, Math.floor(name.length / 3));
  const [wanted, stem] = [plain(name), stemOf(name)];
  return known
    .map((candidate) => ({ candidate, away: away(wanted, stem, candidate) }))
    .filter((one) => one.away <= most)
    .sort((a, b) => a.away - b.away)
    .map(({ candidate }) => candidate);
}

function away(wanted: string, stem: string, candidate: string): number {
  const letters = distance(wanted, plain(candidate));
  const other = stemOf(candidate);
  if (stem === other) return Math.min(letters, 1);
  const [short, long] = stem.length < other.length ? [stem, other] : [other, stem];
  return short.length >= minPrefix && long.startsWith(short) ? Math.min(letters, 2) : letters;
}

function plain(name: string): string {
  return name.toLowerCase().replace(/[_-]/g, "");
}

function stemOf(name: string): string {
  return plain(name).replace(unit, "");
}
