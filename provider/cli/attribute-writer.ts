import { once } from "node:events";
import { ShareError } from "../errors";
import { formatDumped } from "../formats/attribute-dump";
import { sh } from "../formats/shell";
import { shownName } from "../formats/shown-name";
import { type Located, piped, type Piped, type PipedEnd } from "../transport/piped";
import { gone, inTree } from "./entries";

/** setfattr(1) ends with 1 for an entry that it could not do, and goes on with the next. */
const restoring = sh`setfattr -h --restore=- || [ $? = 1 ]`;

/** Sets attributes in a tree, one process for any number of entries, where no link is followed. */
export class AttributeWriter {
  readonly #directory: string;
  readonly #process: Piped;
  #over = false;

  /** `lives`: what goes meanwhile is no error. */
  constructor(at: Located, lives: boolean) {
    this.#directory = at.directory;
    this.#process = piped(inTree(at, restoring, true), lives ? gone : undefined);
    void this.#process.ended.then(() => (this.#over = true));
  }

  async write(name: string, attributes: ReadonlyMap<string, Buffer>): Promise<void> {
    if (this.#over) throw this.#failed(await this.#process.ended);
    const { stdin } = this.#process;
    if (stdin.write(formatDumped(name, attributes), "latin1")) return;
    await Promise.race([once(stdin, "drain"), this.#process.ended]);
  }

  /** What could not be set. Rejects with `stepFailed` when it ended early. */
  async end(): Promise<PipedEnd> {
    if (this.#over) throw this.#failed(await this.#process.ended);
    this.#process.stdin.end();
    const end = await this.#process.ended;
    if (end.status !== 0) throw this.#failed(end);
    return end;
  }

  stop(): void {
    this.#process.stop();
  }

  #failed(end: PipedEnd): ShareError {
    return new ShareError({
      code: "stepFailed",
      layer: "directory",
      machine: "this machine",
      what: `attributes in ${this.#directory} were set in part`,
      tried: "setfattr --restore",
      returned: end.first.map(shownName).join("\n") || `exit status ${end.status}`,
      remedy: "run it again when that is mended: what is set is not set again",
    });
  }
}
