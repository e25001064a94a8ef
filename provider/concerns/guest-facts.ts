import type { Fact, Tool } from "../engine/concern";
import { type Script, sh } from "../formats/shell";

/** What several concerns ask about the guest; each is looked up once per look. */

/**
 * A test, for `if` in a guest's script: is something mounted at this very path?
 *
 * By mountinfo and not by mountpoint(1), which busybox may lack, and which would look at a mount that
 * may hang. In mountinfo white space and backslashes of a path are octal escapes; awk's -v takes one
 * level of backslashes away.
 */
export function isMountedAt(path: string): Script {
  return sh`awk -v at=${escapedForAwk(path)} '$5 == at { found = 1 } END { exit !found }' /proc/self/mountinfo`;
}

/** The same, for a 9p file system on top of what else is mounted there. */
export function isShareMountedAt(path: string): Script {
  return sh`awk -v at=${escapedForAwk(path)} '$5 == at { found = / - 9p / } END { exit !found }' /proc/self/mountinfo`;
}

/** A path as mountinfo has it, for a variable of awk. */
export function escapedForAwk(path: string): string {
  return path.replace(/[\s\\]/g, (one) => `\\\\${one.charCodeAt(0).toString(8).padStart(3, "0")}`);
}

/** `uname -r`, sample: `6.1.0-40-amd64`. */
export const kernelRelease: Fact<string> = {
  key: "kernel release",
  place: "guest",
  does: "ask for the kernel's release",
  script: sh`uname -r`,
  parse: (output) => output.trim(),
};

/** `ID` and `ID_LIKE` of os-release(5), sample: `["rocky", "rhel", "centos", "fedora"]`. */
export const distribution: Fact<readonly string[]> = {
  key: "distribution",
  place: "guest",
  does: "ask which distribution this is",
  script: sh`cat /etc/os-release 2>/dev/null || cat /usr/lib/os-release 2>/dev/null || :`,
  parse: (output) =>
    ["ID", "ID_LIKE"].flatMap((name) => {
      const value = new RegExp(`^${name}=["']?([^"'\\n]*)`, "m").exec(output)?.[1] ?? "";
      return value.split(" ").filter((word) => word !== "");
    }),
};

/** Tags of the devices that this kernel's 9p over virtio sees; empty until 9pnet_virtio is loaded. */
export const virtioTags: Fact<readonly string[]> = {
  key: "virtio 9p tags",
  place: "guest",
  does: "list the shares that the kernel sees",
  script: sh`for file in /sys/bus/virtio/drivers/9pnet_virtio/virtio*/mount_tag; do
  if [ -e "$file" ]; then tr -d '\000' < "$file"; echo; fi
done`,
  parse: (output) => output.split("\n").filter((tag) => tag !== ""),
};

export const flock: Tool = { program: "flock", packages: ["util-linux", "util-linux"] };
