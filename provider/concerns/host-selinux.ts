import type { Concern, Fact, Facts, Json } from "../engine/concern";
import { asWanted } from "../engine/concern";
import { sh } from "../formats/shell";

interface SelinuxSeen {
  readonly enabled: boolean;
}

/** selinuxfs is mounted where the kernel runs SELinux, enforcing or permissive (selinux(8), policycoreutils 3.4). */
const enabled: Fact<boolean> = {
  key: "selinux enabled",
  place: "host",
  does: "see whether SELinux is enabled",
  script: sh`if [ -e /sys/fs/selinux/enforce ]; then echo enabled; fi`,
  parse: (output) => output.trim() === "enabled",
};

/**
 * Labels are not managed in this release: where SELinux is enabled that is said before anything is made,
 * for without its label the share would be there and not work.
 *
 * Refuses with `seLinuxNotAvailable`.
 */
export const hostSelinux: Concern<Record<string, never>, SelinuxSeen, Json> = {
  layer: "selinux",
  place: "host",
  up: "host",
  down: "hostLast",
  scope: "host",
  want: (spec) => (spec.selinux.manage === "auto" ? {} : undefined),
  identity: () => "",
  facts: (): Facts<SelinuxSeen> => ({ enabled }),
  plan: (_want, seen) =>
    seen.enabled
      ? {
          refuse: [
            {
              code: "seLinuxNotAvailable",
              what: "SELinux is enabled, and this release does not manage labels",
              remedy:
                "label the directory by hand (semanage fcontext -a -t svirt_image_t, restorecon -R) and set selinux.manage to never",
            },
          ],
          steps: [],
        }
      : { steps: [] },
  remember: () => null,
  restore: () => ({ steps: [] }),
  drift: (_want, seen) => (seen.enabled ? { state: "unmanaged", args: {}, notes: [] } : asWanted),
};
