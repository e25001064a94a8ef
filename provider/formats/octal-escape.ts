/**
 * Undoes the escapes of fstab(5) and proc(5): a backslash and three octal digits stand for one byte.
 *
 * `/mnt/a\040b` is `/mnt/a b`. A backslash before anything else stays, as in util-linux 2.38 (lib/mangle.c
 * `unmangle_to_buffer`; measured with findmnt: `\043` and `\123` are decoded, `\04` and `\\` are not).
 */
export function decodeOctalEscapes(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 8) & 0xff),
  );
}

/** Writes every character of `text` that `which` matches (a global expression, ASCII only) as its escape. */
export function encodeOctalEscapes(text: string, which: RegExp): string {
  return text.replace(which, (character) => `\\${character.charCodeAt(0).toString(8).padStart(3, "0")}`);
}
