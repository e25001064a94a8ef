/**
 * What Pulumi's state points at, by the name `pulumi-virtio9p/dynamic`: each later read and delete
 * loads it under that name, so it stays where it is and what it exports stays.
 *
 * Source: @pulumi/pulumi 3.259, cmd/dynamic-provider/index.js.
 */
import { inCall } from "../engine/batcher";
import { engineLog } from "./engine-log";
import { printable } from "../errors";
import * as lifecycle from "./lifecycle";
import { createNotice, replaceNotice, updateNotice } from "./power-notice";
import { Progress } from "./progress";
import { type Properties, urnIn } from "./state";

const display = engineLog(process.argv);

/** The URNs of shares that a preview has checked in this process; diff comes after check, and is not told. */
const previewed = new Set<string>();

export async function check(olds: Properties, news: Properties) {
  const checked = lifecycle.check(news, olds);
  const urn = urnIn(news);
  if (urn !== undefined && news["__preview"] === true) previewed.add(urn);
  const isNew = Object.keys(olds).length === 0;
  if (isNew && checked.failures.length === 0) await foretold(checked.inputs, createNotice(checked.inputs));
  // With a property the engine would show what the inputs have under that very name, which for a nested one is
  // `{<nil>}`, and for an object all of it, secrets too; so the path stands in the text.
  const failures = checked.failures.map(({ property, reason }) => ({
    property: "",
    reason: `${printable(property)} ${reason}`,
  }));
  return { inputs: checked.inputs, failures };
}

export async function diff(_id: string, olds: Properties, news: Properties) {
  const difference = lifecycle.diff(olds, news);
  if (difference.replaces.length > 0) await foretold(news, replaceNotice(olds));
  else if (difference.changes !== false && !lifecycle.onlyTheStateChanges(olds, news))
    await foretold(news, updateNotice(olds, news));
  return difference;
}

export async function create(inputs: Properties) {
  const work = told(inputs, (progress) => lifecycle.create(inputs, progress));
  const { id, outputs } = await orPartial(work, inputs);
  return { id, outs: outputs };
}

export async function read(id: string, outputs: Properties) {
  const found = await orQuiet(told(outputs, (progress) => lifecycle.read(outputs, progress)));
  // Without an id the resource is gone.
  return found ? { id, props: found.outputs, inputs: found.inputs } : {};
}

export async function update(id: string, olds: Properties, inputs: Properties) {
  const work = told(inputs, (progress) => lifecycle.update(id, olds, inputs, progress));
  return { outs: await orPartial(work, inputs) };
}

export async function remove(_id: string, outputs: Properties): Promise<void> {
  await orQuiet(told(outputs, (progress) => lifecycle.remove(outputs, progress)));
}
export { remove as delete };

/** In a preview, and there alone: the operation itself shows each step. */
async function foretold(inputs: Properties, text: string | undefined): Promise<void> {
  if (!previewed.has(urnIn(inputs) ?? "") || text === undefined) return;
  await told(inputs, (progress) => {
    progress.teller(String(inputs["tag"])).warn(text);
    return Promise.resolve();
  });
}

/** A call does not end before a person was told all of it: the engine closes a row when its call is done. */
async function told<T>(share: Properties, work: (progress: Progress) => Promise<T>): Promise<T> {
  const progress = new Progress(urnIn(share), display);
  try {
    return await inCall(() => work(progress));
  } finally {
    await progress.delivered();
  }
}

/** A partial failure in the form of the provider process: only `reasons` is shown, and `__provider` must be repeated. */
async function orPartial<T>(work: Promise<T>, inputs: Properties): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (!(error instanceof lifecycle.PartialFailure)) throw error;
    throw Object.assign(new Error(error.message), {
      id: error.id,
      properties: { ...error.outputs, __provider: inputs["__provider"] },
      reasons: [error.message],
      stack: "",
    });
  }
}

/**
 * read and delete fail in the provider process by printing the error and its stack, and then the engine
 * prints the message: so what is printed first is made short, and the message stands once.
 */
async function orQuiet<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    throw Object.assign(error, {
      stack: error.name === "ShareError" ? "the call failed" : error.stack,
      toString: () => "virtio9p",
    });
  }
}
