/**
 * Reads the permission bits of a file from octal text, or gives undefined for anything else.
 *
 * One canonical form for what people write in several: `770`, `0770`, `0o770` and `00770` are the same
 * mode, `2750` carries setgid. At most 0o7777, as in chmod(1) of coreutils 9.1.
 */
export function parseOctalMode(text: string): number | undefined {
  const digits = /^(?:0o)?0*([0-7]{1,4})$/.exec(text)?.[1];
  return digits === undefined ? undefined : Number.parseInt(digits, 8);
}

/**
 * Four octal digits, `0770`, the form that libvirt dumps too. The type bits of a whole st_mode are left out.
 */
export function formatOctalMode(mode: number): string {
  return (mode & 0o7777).toString(8).padStart(4, "0");
}

/**
 * A mode for chmod(1) and mkdir(1) that says the setuid, setgid and sticky bits too: `00755`.
 *
 * GNU chmod keeps setuid and setgid of a directory unless the mode has at least five digits (coreutils 9.1,
 * "Directories and the Set-User-ID and Set-Group-ID Bits").
 */
export function exactMode(mode: number): string {
  return `0${formatOctalMode(mode)}`;
}
