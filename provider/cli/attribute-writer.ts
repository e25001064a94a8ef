import { pipeline } from "node:stream/promises";
import { type Dumped, formatDumped } from "../formats/attribute-dump";
import { sh } from "../remote/shell/sh";
import { shownName } from "../formats/shown-name";
import { piped, type PipedEnd } from "../remote/piped";
import { inTree } from "./entries";
import type { Located } from "./located";
import { failure } from "./report";

/** setfattr(1) ends with 1 for an entry that it could not do, and goes on with the next. */
const restoring = sh`setfattr -h --restore=- || [ $? = 1 ]`;

/** What a write to a process says that has ended (write(2) of man-pages 6.03, Node's errors). */
const brokenPipe = ["EPIPE", "ECONNRESET", "ERR_STREAM_PREMATURE_CLOSE"];

/**
 * Sets attributes in a tree, one process for any number of entries, where no link is followed. Resolves with what could
 * not be set; what of that matches `passed` does not count. Rejects with `stepFailed` when the process ended early.
 */
export async function writeAttributes(
  at: Located,
  entries: AsyncIterable<Pick<Dumped, "name" | "attributes">>,
  passed?: RegExp,
): Promise<PipedEnd> {
  const process = piped(inTree(at, restoring, true), passed);
  const dump = async function* (): AsyncGenerator<Buffer> {
    for await (const { name, attributes } of entries)
      yield Buffer.from(formatDumped(name, attributes), "latin1");
  };
  try {
    const isWritten = await pipeline(dump, process.stdin).then(
      () => true,
      (error: unknown) => {
        if (brokenPipe.includes((error as NodeJS.ErrnoException).code ?? "")) return false;
        throw error;
      },
    );
    const end = await process.ended;
    if (isWritten && end.status === 0) return end;
    throw failure(
      "stepFailed",
      `attributes in ${at.directory} were set in part`,
      "run it again when that is mended: what is set is not set again",
      {
        tried: "setfattr --restore",
        returned: end.said.first.map(shownName).join("\n") || `exit status ${end.status}`,
      },
    );
  } finally {
    process.stop();
  }
}
