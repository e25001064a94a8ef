import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TreeAt } from "../../provider/layers/shared/tree-at";

/** A real folder for each test, as root, with a tree in `tree` and the records of shares in `records`. */
export class ScratchTree {
  #folder = "";

  constructor(populate = ":") {
    beforeEach(() => {
      this.#folder = mkdtempSync(join(tmpdir(), "virtio9p-tree-"));
      this.bash(populate);
    });
    afterEach(() => {
      rmSync(this.#folder, { recursive: true });
    });
  }

  get folder(): string {
    return this.#folder;
  }

  get path(): string {
    return join(this.#folder, "tree");
  }

  get at(): TreeAt {
    return { path: this.path, identity: this.bash("stat -c %i:%.9W tree").trim() };
  }

  /** What a script prints that runs in the folder. */
  bash(script: string): string {
    return execFileSync("bash", ["-ec", script], {
      cwd: this.#folder,
      env: { ...process.env, LC_ALL: "C" },
      encoding: "utf8",
    });
  }

  /** For scripts that want what the engine sets. */
  readonly records = (text: string): string => `records=${this.#folder}/records; mark=m\n${text}`;
}
