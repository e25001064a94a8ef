import type { AnyConcern } from "../engine/concern";
import { domainDevice } from "./domain-device";
import { guestBooleans } from "./guest-booleans";
import { guestFstab } from "./guest-fstab";
import { guestKernel } from "./guest-kernel";
import { guestMount } from "./guest-mount";
import { guestOwnership } from "./guest-ownership";
import { hostDirectory } from "./host-directory";
import { hostSelinux } from "./host-selinux";
import { hostSelinuxPolicy } from "./host-selinux-policy";

/**
 * All concerns, in the order in which their steps run on the way up; on the way down backwards.
 *
 * The power cycle stands between them and is no concern: it belongs to the domain, not to a share.
 */
export const concerns: readonly AnyConcern[] = [
  hostDirectory,
  hostSelinuxPolicy,
  hostSelinux,
  domainDevice,
  guestKernel,
  guestFstab,
  guestMount,
  guestOwnership,
  guestBooleans,
];
