import { encodeOctalEscapes } from "./octal-escape";

/** One byte of 0x00-0x7f, one character of UTF-8 (RFC 3629, section 4), or a byte that belongs to none. */
const characters =
  // eslint-disable-next-line no-control-regex -- names are bytes
  /[\x00-\x7f]|[\xc2-\xdf][\x80-\xbf]|\xe0[\xa0-\xbf][\x80-\xbf]|[\xe1-\xec\xee\xef][\x80-\xbf]{2}|\xed[\x80-\x9f][\x80-\xbf]|\xf0[\x90-\xbf][\x80-\xbf]{2}|[\xf1-\xf3][\x80-\xbf]{3}|\xf4[\x80-\x8f][\x80-\xbf]{2}|[\x80-\xff]/g;

/**
 * A file's name as a person and a terminal can take it, and from which its bytes can be told.
 *
 * `name` has a character for each byte (latin1). What is no UTF-8, controls, what changes the direction of text, line
 * ends and the backslash itself are shown as a backslash and three octal digits for each byte: `a\012b`, `\134`,
 * `\377`, `\342\200\256`. A guest chooses names.
 */
export function shownName(name: string): string {
  if (/^[\x20-\x5b\x5d-\x7e]*$/.test(name)) return name;
  return name.replace(characters, (bytes) => {
    const text = Buffer.from(bytes, "latin1").toString("utf8");
    const isShown = !(bytes.length === 1 && bytes >= "\x80") && !/[\p{C}\p{Zl}\p{Zp}\\]/u.test(text);
    return isShown ? text : encodeOctalEscapes(bytes, /[^]/g);
  });
}
