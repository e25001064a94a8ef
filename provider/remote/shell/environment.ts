import { type Script, sh } from "./sh";

/**
 * Where scripts look for programs: the usual folders, then the profiles of systems that keep programs elsewhere.
 *
 * NixOS 24.05: `/run/wrappers/bin` (mount, umount, sudo) and `/run/current-system/sw/bin`; its manual, "Security
 * wrappers" and "Package management". Guix System 1.4: `/run/setuid-programs`, later `/run/privileged/bin`, and
 * `/run/current-system/profile`; its manual, "Getting Started with the System" and "Privileged Programs".
 */
export const searchPath = [
  "/usr/local/sbin",
  "/usr/local/bin",
  "/usr/sbin",
  "/usr/bin",
  "/sbin",
  "/bin",
  "/run/wrappers/bin",
  "/run/current-system/sw/bin",
  "/run/privileged/bin",
  "/run/setuid-programs",
  "/run/current-system/profile/sbin",
  "/run/current-system/profile/bin",
].join(":");

/** The beginning of each script: language and search path are the same whoever runs it. */
export const environment: Script = sh`LC_ALL=C
PATH=${{ text: searchPath }}
export LC_ALL PATH`;
