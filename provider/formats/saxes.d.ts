/** What is used of saxes 6.0.0: its own declarations do not compile with `exactOptionalPropertyTypes`. */
export declare class SaxesParser {
  on(event: "error", handler: (error: Error) => void): void;
  on(event: "opentag", handler: (tag: { name: string; attributes: Record<string, string> }) => void): void;
  on(event: "text" | "cdata", handler: (text: string) => void): void;
  on(event: "closetag", handler: () => void): void;
  write(text: string): this;
  close(): this;
}
