import type { ShareSpec } from "../spec";

/**
 * What this process makes, or has made: domain and tag of each share, by host.
 *
 * Within one up Pulumi creates before it deletes, so a share that was renamed without an alias is created,
 * adopting what is there, and then deleted under its old name: that delete must not take down what the create
 * has just adopted. Two resources that are one share would each take down the other's. And of two that come
 * at the same time neither sees the other on the machine yet.
 */
const claims = new Map<string, Set<Claim>>();

/** A share that this process makes, from the beginning of its call on. */
export interface Claim {
  /** Of the resource, as the program has it; undefined where the state does not tell. */
  readonly name: string | undefined;
  readonly spec: ShareSpec;
  /** The domain's UUID, as soon as it was seen. */
  domainUuid: string | undefined;
  /** Whether its call has not ended yet. */
  inFlight: boolean;
}

/** Begins a claim; {@link endClaim} must be called when the call ends. */
export function beginClaim(host: string, name: string | undefined, spec: ShareSpec): Claim {
  const claim: Claim = { name, spec, domainUuid: undefined, inFlight: true };
  const ofHost = claims.get(host) ?? new Set();
  claims.set(host, ofHost.add(claim));
  return claim;
}

/** Ends a claim; one whose share was not made is given up. */
export function endClaim(host: string, claim: Claim, made: boolean): void {
  claim.inFlight = false;
  if (!made) claims.get(host)?.delete(claim);
}

/** Another resource of this process that is the same share; undefined: none. */
export function twinOf(host: string, claim: Claim): Claim | undefined {
  return [...(claims.get(host) ?? [])].find(
    (other) =>
      other.name !== undefined &&
      claim.name !== undefined &&
      other.name !== claim.name &&
      isSameShare(other, claim),
  );
}

/** The other shares that are being made at this moment on the same host. */
export function othersInFlight(host: string, claim: Claim): readonly Claim[] {
  return [...(claims.get(host) ?? [])].filter(
    (other) => other !== claim && other.inFlight && !isSameShare(other, claim),
  );
}

/** The claim by which this process has made a share; undefined: it has not. */
export function madeHere(host: string, domainUuid: string, tag: string): Claim | undefined {
  return [...(claims.get(host) ?? [])].find(
    (claim) => !claim.inFlight && claim.domainUuid === domainUuid && claim.spec.tag === tag,
  );
}

function isSameShare(a: Claim, b: Claim): boolean {
  return a.domainUuid !== undefined && a.domainUuid === b.domainUuid && a.spec.tag === b.spec.tag;
}
