import { mkdirSync } from "node:fs";
import type { Life } from "../sandbox/life";
import type { Properties } from "../../provider/pulumi/state";

/** One share that a release leaves behind: how it was made, and by which arguments it goes on. */
export interface Case {
  readonly make: (life: Life) => Promise<unknown>;
  readonly args: (life: Life) => Properties;
}

const guest = (life: Life): Properties => ({
  guest: { mountPoint: life.box.path("guest/mnt/a"), owner: "1000", mode: "0750" },
});

/** By the name of the snapshot. */
export const cases: Readonly<Record<string, Case>> = {
  active: {
    args: (life) => ({ ...guest(life), power: "restart" }),
    make: (life) => life.create({ ...guest(life), power: "restart" }),
  },
  "host-only": { args: () => ({}), make: (life) => life.create() },
  "with-former": {
    args: () => ({}),
    // The running QEMU still has the former source, which is given back when it lets go of it.
    make: async (life) => {
      mkdirSync(life.box.path("srv/b"));
      await life.create({ source: life.box.path("srv/b"), power: "restart" });
      await life.update();
    },
  },
  incomplete: {
    args: (life) => ({ ...guest(life), power: "restart" }),
    make: async (life) => {
      life.box.write("refuse-mount", "");
      await life.create({ ...guest(life), power: "restart" }).catch(() => undefined);
    },
  },
};
