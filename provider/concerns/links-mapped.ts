import type { Fact } from "../engine/concern";
import { sh } from "../formats/shell";
import { type Ledger, openLedger } from "./ledger";

/** What the links of a tree were that were mapped: beside what its entries had. */
export const linksOf = (path: string): Ledger => ({ of: "links", path });

/** Whether some were, or are half. */
export function linksMapped(path: string): Fact<boolean> {
  return {
    key: `links mapped in ${path}`,
    place: "host",
    does: `see whether links in ${path} were mapped`,
    guard: true,
    script: sh`${openLedger(linksOf(path))}
if [ -e "$ledger" ] || [ -e "$ledger.suffix" ]; then echo mapped; fi`,
    parse: (output) => output !== "",
  };
}
