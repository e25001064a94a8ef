import { distance } from "fastest-levenshtein";

/** The known name nearest to a misspelt one, if any is near: at most two letters, or a third of it, away. */
export function nearest(name: string, known: readonly string[]): string | undefined {
  return near(name, known)[0];
}

/** All that are as near as that, the nearest first. */
export function near(name: string, known: readonly string[]): string[] {
  return known
    .map((candidate) => ({ candidate, away: distance(name.toLowerCase(), candidate.toLowerCase()) }))
    .filter(({ away }) => away <= Math.max(2, Math.floor(name.length / 3)))
    .sort((a, b) => a.away - b.away)
    .map(({ candidate }) => candidate);
}
