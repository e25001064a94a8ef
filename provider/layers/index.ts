import type { AnyLayer } from "../engine/layer";
import { domainDevice } from "./device/index";
import { guestBooleans } from "./booleans/index";
import { guestFstab } from "./fstab/index";
import { guestKernel } from "./modules/index";
import { guestMount } from "./mount/index";
import { guestOwnership } from "./root-owner/index";
import { hostDirectory } from "./directory/index";
import { hostSelinux } from "./selinux/index";
import { hostSelinuxPolicy } from "./selinux/policy-module";

/**
 * All layers, in the order in which their steps run on the way up; on the way down backwards.
 *
 * The power cycle stands between them and is no layer: it belongs to the domain, not to a share.
 */
export const layers: readonly AnyLayer[] = [
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
