import { denialsAt } from "../layers/shared/denials";
import { valueIn } from "../engine/requests";
import { look } from "../engine/batcher";
import { type Problem, ShareError } from "../errors";
import type { ShareSpec } from "../spec/spec";
import type { Machines } from "./observe";

/**
 * The same failure, with what the host's kernel says of it, where it may be that SELinux or AppArmor denied QEMU
 * something: the guest and libvirt see no more than "Permission denied".
 */
export async function withDenials(
  machines: Machines,
  spec: ShareSpec | undefined,
  failure: ShareError,
): Promise<ShareError> {
  const [first, ...rest] = failure.problems;
  if (!spec || !first || !/permission denied|operation not permitted/i.test(first.returned ?? ""))
    return failure;
  const fact = denialsAt(spec.source);
  const found = await look({ machine: machines.host, facts: new Map([[fact.does, fact]]) }).then(
    (seen) => valueIn(seen, fact) ?? [],
    // The failure itself is what counts.
    () => [],
  );
  if (found.length === 0) return failure;
  return new ShareError([explained(first, spec, found), ...rest], { cause: failure });
}

function explained(problem: Problem, { selinux, source }: ShareSpec, found: readonly string[]): Problem {
  const byApparmor = found.some((line) => line.startsWith("apparmor"));
  const remedy = byApparmor
    ? "AppArmor denied it to QEMU: libvirt makes the domain's profile anew at each start; what more it needs goes into /etc/apparmor.d/local/abstractions/libvirt-qemu"
    : selinux.manage === "never"
      ? `SELinux denied it to QEMU: take selinux.manage: never out, or label ${source} by hand`
      : `SELinux denied it to QEMU: pulumi up --refresh repairs rule and labels; if it is denied then too, it is the policy: see the line with audit2why`;
  return {
    ...problem,
    returned: [problem.returned?.trim(), ...found].join("\n"),
    remedy: problem.remedy === undefined ? remedy : `${remedy}; ${problem.remedy}`,
  };
}
