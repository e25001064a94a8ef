import { type Failure, hasUnknown, hostOnItsWay } from "../spec/spec";

/**
 * The shares of the program, as far as this process has checked them. Pulumi checks every resource of a
 * program in every preview and up, one after another and in one process, so the later of two that cannot
 * both be is refused before anything is looked at.
 */
const checked = new Map<string, readonly Claim[]>();

/** What a share has for itself alone. */
interface Claim {
  readonly property: string;
  /** Equal for what can be only once. */
  readonly key: string;
  /** What is wrong when `name` has it too. */
  readonly reason: (name: string) => string;
}

/**
 * What a share of the program claims that another one has claimed already: its tag in the domain, or its
 * mount point in that guest. Each failure names the other.
 *
 * `urn` tells a resource that is checked twice from two that are one share. Values that are not known yet
 * claim nothing; a domain that one gives by name and the other by UUID is told apart only when it is seen
 * (error `shareClaimed`).
 */
export function claimedTwice(urn: string, args: Readonly<Record<string, unknown>>): readonly Failure[] {
  const claims = claimsOf(args);
  checked.set(urn, claims);
  const others = [...checked].filter(([other]) => other !== urn);
  return claims.flatMap(({ property, key, reason }) => {
    const [other] = others.find(([, theirs]) => theirs.some((one) => one.key === key)) ?? [];
    return other === undefined ? [] : [{ property, reason: reason(nameIn(other, urn)) }];
  });
}

function claimsOf({ domain, tag, host, guest }: Readonly<Record<string, unknown>>): Claim[] {
  if (hasUnknown([domain, tag, host])) return [];
  const keyOf = (property: string, value: unknown): string =>
    JSON.stringify([hostOnItsWay(host), String(domain).toLowerCase(), property, value]);
  const ofTag: Claim = {
    property: "tag",
    key: keyOf("tag", tag),
    reason: (name) => `is that of the share ${name} in the same domain: two resources cannot be one share`,
  };
  const mountPoint = (guest as { mountPoint?: unknown } | undefined)?.mountPoint;
  if (mountPoint === undefined || hasUnknown(mountPoint)) return [ofTag];
  const ofMountPoint: Claim = {
    property: "guest.mountPoint",
    key: keyOf("guest.mountPoint", mountPoint),
    reason: (name) => `is where the share ${name} of the same domain is mounted`,
  };
  return [ofTag, ofMountPoint];
}

/** The last part of a URN, and all of it where that is what two have in common. */
function nameIn(urn: string, than: string): string {
  const [name, other] = [urn, than].map((one) => one.split("::").at(-1) ?? one);
  return name === undefined || name === other ? urn : name;
}
