/**
 * Text for a POSIX shell. Made by {@link sh} alone, so that nothing that came from outside is ever code.
 */
export interface Script {
  readonly text: string;
}

/** What {@link sh} takes between `${` and `}`. */
export type ScriptPart = string | number | Script | readonly string[];

/**
 * The one place where shell text is put together.
 *
 * A string becomes one single-quoted word, an array one word for each of its strings, a number its
 * digits; another script goes in as it is. Sample: ``sh`chown -h -- ${"64055:64055"} ${path}` ``.
 *
 * Throws a RangeError for a NUL, which no argument of a process can carry, and for a number that is
 * not a safe integer. Source: POSIX.1-2017, Shell Command Language, 2.2.2 Single-Quotes.
 */
export function sh(strings: TemplateStringsArray, ...parts: readonly ScriptPart[]): Script {
  const text = strings.raw.reduce((before, piece, index) => {
    const part = parts[index - 1];
    return before + (part === undefined ? "" : render(part)) + piece;
  });
  return { text };
}

/** Scripts one after another, a line each; `:` for none, for a shell takes no empty list. */
export function lines(scripts: readonly Script[]): Script {
  if (scripts.length === 0) return { text: ":" };
  return { text: scripts.map((script) => script.text).join("\n") };
}

/** A comment line that says what follows, so that a printed script reads as a log. */
export function comment(text: string): Script {
  return { text: `# ${text.replace(/[^\x20-\x7e\u00a1-\uffff]/g, "?")}` };
}

function render(part: ScriptPart): string {
  if (typeof part === "string") return quote(part);
  if (typeof part === "number") {
    if (!Number.isSafeInteger(part)) throw new RangeError(`${part} is not a whole number`);
    return String(part);
  }
  return "text" in part ? part.text : part.map(quote).join(" ");
}

function quote(word: string): string {
  if (word.includes("\0")) throw new RangeError("a NUL cannot be part of a command");
  return `'${word.replaceAll("'", `'\\''`)}'`;
}
