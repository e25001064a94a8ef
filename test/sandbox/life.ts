import * as lifecycle from "../../provider/pulumi/lifecycle";
import type { Progress } from "../../provider/pulumi/progress";
import type { Machines } from "../../provider/share/observe";
import type { Properties } from "../../provider/pulumi/state";
import { useMachines } from "./life-machines";
import { Sandbox } from "./sandbox";

let operations = 0;

/**
 * Whole lives of shares in a sandbox, by Pulumi's own calls. Each call is an operation of its own, as if made by
 * another process.
 *
 * A test file that uses it begins with `jest.mock("PATH/provider/share/machines", () => jest.requireActual("PATH/life-machines"))`.
 */
export class Life {
  /** Of the last call. */
  warnings: string[] = [];
  outputs: Properties = {};
  #id = "";

  constructor(readonly box = new Sandbox()) {
    useMachines(() => this.machines());
  }

  remove(): void {
    this.box.remove();
  }

  machines(): Machines {
    return { ...this.box.machines(), key: `${this.box.folder} ${operations}` };
  }

  /** Arguments whose directory and mount point lie in the sandbox, as check gives them to create and update. */
  inputs(args: Properties = {}): Properties {
    const all = { source: this.box.path("srv/a"), domain: "web1", tag: "foobar", ...args };
    const { inputs, failures } = lifecycle.check({ selinux: { manage: "never" }, ...all, __provider: "p" });
    if (failures.length > 0) throw new Error(JSON.stringify(failures));
    return inputs;
  }

  async create(args: Properties = {}): Promise<Properties> {
    const made = await this.#call((told) => lifecycle.create(this.inputs(args), told));
    this.#id = made.id;
    return (this.outputs = made.outputs);
  }

  async update(args: Properties = {}): Promise<Properties> {
    return (this.outputs = await this.#call((told) =>
      lifecycle.update(this.#id, this.outputs, this.inputs(args), told),
    ));
  }

  /** A refresh: undefined when the share is gone. */
  async read(): Promise<{ readonly outputs: Properties; readonly inputs: Properties } | undefined> {
    const found = await this.#call((told) => lifecycle.read(this.outputs, told));
    if (found) this.outputs = found.outputs;
    return found;
  }

  destroy(): Promise<void> {
    return this.#call((told) => lifecycle.remove(this.outputs, told));
  }

  /** Whether an update by these arguments would be made. */
  differs(args: Properties = {}): boolean {
    return lifecycle.diff(this.outputs, this.inputs(args)).changes !== false;
  }

  async #call<T>(work: (told: Progress) => Promise<T>): Promise<T> {
    operations += 1;
    this.warnings = [];
    const told = {
      teller: () => ({
        step: () => undefined,
        note: () => undefined,
        warn: (text: string) => this.warnings.push(text),
      }),
    } as unknown as Progress;
    // A failure after the first change is recorded with what was seen.
    return work(told).catch((error: unknown) => {
      if (error instanceof lifecycle.PartialFailure) this.outputs = error.outputs;
      throw error;
    });
  }
}
