/** From one form of what is stored to the next. Pure; what it does not know stays as it is. */
export type Migration<T> = (then: T) => T;

/** Whoever reads something that a later release wrote would take it for something else. */
export const later = Symbol("written by a later release");

/**
 * What an earlier release stored, in the form of this one: `chain[n]` makes version `first + n + 1` of `first + n`.
 *
 * Sample: a value of version 2 goes through `chain[2]` and all behind it.
 */
export function migrated<T>(
  value: T,
  version: number,
  chain: readonly Migration<T>[],
  first = 0,
): T | typeof later {
  if (version > first + chain.length) return later;
  return chain.slice(Math.max(version - first, 0)).reduce((so, migrate) => migrate(so), value);
}
