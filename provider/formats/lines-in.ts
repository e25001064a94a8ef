/** The lines of a text, but for empty ones. */
export function linesIn(text: string): string[] {
  return text.split("\n").filter((line) => line !== "");
}
