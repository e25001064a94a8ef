import { type ErrorCode, ShareError, withRemedy } from "../errors";
import { sh } from "../remote/shell/sh";

/** What an error of read and delete says besides what is wrong: how to get on from there. Pure. */

/** read and delete have the credentials that the state has, and no others. */
export function rotated(error: unknown): unknown {
  const problems = error instanceof ShareError ? error.problems : [];
  if (!problems.some(({ code }) => code === "authenticationFailed")) return error;
  const [first, ...rest] = problems.map((problem) =>
    problem.code === "authenticationFailed"
      ? withRemedy(
          problem,
          "refresh and destroy use the credentials that the state has: after a rotation run pulumi up first, without --refresh, which stores the new ones",
        )
      : problem,
  );
  return first ? new ShareError([first, ...rest], { cause: error }) : error;
}

/** With these ends a look at a host that may be gone for good. */
const hostUnreachable: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  "libvirtUnreachable",
  "hostUnreachable",
  "hostKeyUnknown",
  "hostKeyMismatch",
  "authenticationFailed",
  "transportFailed",
  "sudoNeedsPassword",
  "toolMissing",
]);

/** Throws on; says, where the host could not be looked at, how to take the share out of the state alone. */
export function withWayOut(urn: string | undefined): (error: unknown) => never {
  return (thrown) => {
    const error = rotated(thrown);
    const [first, ...rest] = error instanceof ShareError ? error.problems : [];
    if (!first || first.layer === "guest" || !hostUnreachable.has(first.code)) throw error;
    throw new ShareError([withRemedy(first, stateDelete(urn)), ...rest], { cause: error });
  };
}

/** How to take a share out of the state alone. */
export function stateDelete(urn: string | undefined): string {
  const command =
    urn === undefined
      ? "pulumi state delete, with the URN that pulumi stack --show-urns shows"
      : sh`pulumi state delete ${urn}`.text;
  return `to give it up without touching the host: ${command}`;
}
