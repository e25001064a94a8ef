import type { Machines } from "../../provider/share/observe";

/** In place of provider/share/machines.ts: what a test says that the machines of every share are. */

let machines: (() => Machines) | undefined;

export function useMachines(those: () => Machines): void {
  machines = those;
}

export function machinesOf(): Machines {
  if (!machines) throw new Error("the test has no machines");
  return machines();
}
