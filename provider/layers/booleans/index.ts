import {
  asWanted,
  type LayerOfMany,
  type Fact,
  found,
  type Json,
  refuse,
  type Refusal,
  type Seen,
  type Step,
} from "../../engine/layer";
import { near } from "../../formats/nearest";
import { sh } from "../../remote/shell/sh";
import { whenStoreIsFree } from "../shared/policy-store";

/** What a guest with SELinux has. */
interface GuestPolicy {
  /** Every boolean of its policy, and its value. */
  readonly values: ReadonlyMap<string, boolean>;
  /** Whether setsebool is there. */
  readonly settable: boolean;
}

/** Null: there is no such boolean to be given back. */
type BooleanBefore = { readonly [key: string]: Json; readonly on: boolean } | null;

/** Undefined: SELinux is not enabled in the guest. A line for each, sample: `httpd_use_nfs 1 1`, now and pending. */
const booleans: Fact<GuestPolicy | undefined> = {
  place: "guest",
  does: "read the guest's SELinux booleans",
  precondition: true,
  script: sh`[ -e /sys/fs/selinux/enforce ] || exit 0
echo enabled
if command -v setsebool >/dev/null; then echo settable; fi
for file in /sys/fs/selinux/booleans/*; do
  [ ! -f "$file" ] || printf '%s %s\n' "$${{ text: "{file##*/}" }}" "$(cat "$file")"
done`,
  parse(output) {
    if (!output.startsWith("enabled")) return undefined;
    const values = [...output.matchAll(/^(\S+) (\d)/gm)];
    return {
      values: new Map(values.map(([, name = "", value]) => [name, value === "1"] as const)),
      settable: output.startsWith("enabled\nsettable\n"),
    };
  },
};

const facts = { policy: booleans };

/**
 * A boolean of the guest's policy that lets its services use what is on a share: to SELinux in the guest its files
 * are `nfs_t`. Set so that it outlives a boot; given back with the last share of the domain that wants it. One that is
 * on already is adopted: whether it will be on after a boot is seen then.
 *
 * Refuses with `seLinuxNotAvailable`, `unknownBoolean`, `toolMissing`.
 * Source: setsebool(8) of policycoreutils 3.4; refpolicy filesystem.te (9p is nfs_t; Debian
 * 12's policy, 2.20221101, does not know it: unlabeled_t).
 */
export const guestBooleans: LayerOfMany<string, Seen<typeof facts>, BooleanBefore> = {
  layer: "guestBooleans",
  name: (want) => `guestBooleans ${want}`,
  place: "guest",
  up: "guestBoot",
  down: "guest",
  shared: true,
  scope: "domain",
  left: (want, before) => (before?.on === false ? `its SELinux boolean ${want}, which is on` : undefined),
  wants: (spec) => [...new Set(spec.guest?.selinuxBooleans ?? [])],
  identity: (want) => want,
  facts: () => facts,

  plan(want, { policy }) {
    const refuse = cannot(want, policy);
    if (refuse.length > 0) return { refuse, steps: [] };
    return { steps: policy?.values.get(want) === true ? [] : [set(want, true)] };
  },

  remember: (want, { policy }) => {
    const on = policy?.values.get(want);
    return on === undefined ? null : { on };
  },

  restore(want, before, { policy }) {
    const isOurs = before?.on === false && policy?.values.get(want) === true;
    return { steps: isOurs ? [set(want, false)] : [] };
  },

  drift(want, { policy }) {
    const on = policy?.values.get(want);
    if (on === true) return asWanted;
    const [refusal] = cannot(want, policy);
    const state = on === undefined ? "missing" : "differs";
    return found(state, refusal?.what ?? `${want} is off in the guest`);
  },
};

function cannot(want: string, policy: GuestPolicy | undefined): readonly Refusal[] {
  if (!policy) {
    return refuse(
      "seLinuxNotAvailable",
      `SELinux is not enabled in the guest, and guest.selinuxBooleans asks for ${want}`,
      "leave guest.selinuxBooleans out",
    );
  }
  const on = policy.values.get(want);
  if (on === undefined) {
    const names = near(want, [...policy.values.keys()]).slice(0, 3);
    return refuse(
      "unknownBoolean",
      `the guest's policy has no boolean ${want}`,
      names.length === 0
        ? "see which there are: getsebool -a in the guest"
        : `did you mean ${names.join(", or ")}?`,
    );
  }
  if (on || policy.settable) return [];
  return refuse(
    "toolMissing",
    `${want} is off in the guest, and setsebool is not installed there`,
    "install the package policycoreutils in the guest",
  );
}

/** One transaction for all of a script. Setting one on is not undone: others may need it, and its record gives it back. */
function set(name: string, on: boolean): Step {
  return {
    does: `set ${name} ${on ? "on" : "off"} in the guest`,
    queued: `${name}=${on ? "1" : "0"}\n`,
    run: sh`set -f
${whenStoreIsFree(sh`setsebool -P $queued`)}`,
    ...(on ? {} : { undo: whenStoreIsFree(sh`setsebool -P ${`${name}=1`}`) }),
  };
}
