import { once } from "node:events";
import { createReadStream, statSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { ShareError } from "../errors";
import { countOf } from "../formats/count";
import { DumpError, type Dumped, formatDumped, parseDump } from "../formats/attribute-dump";
import { isAtOrBelow } from "../formats/path";
import { shownName } from "../formats/shown-name";
import { malformed, virtfsAttributes } from "../formats/virtfs";
import { mountPointsIn } from "../transport/mount-points";
import { located, type Located, type Said, Sayings } from "../transport/piped";
import { AttributeWriter } from "./attribute-writer";
import { attributesFor, type Wanted } from "./change";
import { type ListEnd, listed, mayHaveAttributes } from "./entries";
import { refuseRunning } from "./guests";
import { damageOf, formatJson, formatText } from "./inspect";
import { Tally } from "./tally";

/** What the parts of the command `virtio9p` do. Each resolves with its exit status. */

/** Of what changes something. */
export interface ChangeOptions {
  readonly recursive?: boolean;
  /** Although a guest that has it runs. */
  readonly live?: boolean;
  readonly json?: boolean;
  readonly connect: string;
}

/** Lists what a guest sees of trees. 1: something could not be read. */
export async function inspect(
  paths: readonly string[],
  options: { readonly json?: boolean; readonly depth?: number },
): Promise<number> {
  const format = options.json === true ? formatJson : formatText;
  const tally = new Tally();
  let damaged = 0;
  let status = 0;
  for (const path of paths) {
    const at = find(path);
    const entries = listed({ ...at, depth: options.depth }, (end) => {
      status = Math.max(status, listEnd(tally, end));
    });
    for await (const entry of entries) {
      if (damageOf(entry).length > 0) damaged += 1;
      await print(`${format(entry, below(path, at.name, entry.name))}\n`);
      tally.add();
    }
  }
  tally.end();
  if (damaged > 0) tell(`${entriesOf(damaged)} with damaged attributes`);
  return status;
}

/** Prints the attributes of a tree. */
export async function backup(path: string): Promise<number> {
  const at = find(path);
  const tally = new Tally();
  let status = 0;
  let damaged = 0;
  const entries = listed({ ...at, depth: undefined }, (end) => {
    status = listEnd(tally, end);
  });
  for await (const entry of entries) {
    const { name, attributes } = entry;
    if (damageOf(entry).length > 0) damaged += 1;
    if (attributes && attributes.size > 0) await print(formatDumped(name, attributes), "latin1");
    tally.add();
  }
  tally.end();
  if (damaged > 0) tell(`${entriesOf(damaged)} with damaged attributes`);
  return status;
}

/**
 * Sets the attributes that a dump says, `-` for standard input. A file is read to its end before anything is set.
 *
 * 1: not all could be set, or were left out.
 */
export async function restore(path: string, file: string, options: ChangeOptions): Promise<number> {
  const at = await toChange(path, options);
  if (file !== "-") await readToItsEnd(dumpOf(file));
  const writer = new AttributeWriter(at, false);
  const tally = new Tally();
  const mounts = mountPointsIn(at.directory);
  const left = new Sayings();
  let [others, set, partly] = [0, 0, 0];
  try {
    for await (const { name, attributes } of dumpOf(file)) {
      tally.add();
      const mount = mounts.find((one) => isAtOrBelow(plain(name), one));
      if (mount !== undefined) {
        left.add(`${name}: ${mount} is on another file system, which is restored by itself`);
        partly += 1;
        continue;
      }
      const known = new Map([...attributes].filter(([attribute]) => guestAttributes.has(attribute)));
      others += attributes.size - known.size;
      for (const [attribute, value] of attributes) {
        const wrong = malformed(attribute, value);
        if (wrong !== undefined && known.delete(attribute)) left.add(`${name}: ${wrong}`);
      }
      const whole = [...attributes.keys()].every((one) => known.has(one) || !guestAttributes.has(one));
      if (!whole) partly += 1;
      if (known.size === 0) continue;
      if (whole) set += 1;
      await writer.write(name, known);
    }
    const end = await writer.end();
    const status = Math.max(
      complain(tally, end, "set"),
      complain(tally, left, left.said === 1 ? "set, and was left out" : "set, and were left out"),
    );
    if (others > 0)
      tell(
        others === 1
          ? "1 attribute that is not a guest's was left out"
          : `${others} attributes that are not a guest's were left out`,
      );
    const failed = end.said + partly;
    summary(options, tally, { entries: tally.count, changed: set - end.said, failed });
    return status;
  } finally {
    writer.stop();
  }
}

/** A name of a dump as find(1) gives it: `./sub/a` for `sub//a`. */
function plain(name: string): string {
  const parts = name.split("/").filter((part) => part !== "" && part !== ".");
  return parts.length === 0 ? "." : `./${parts.join("/")}`;
}

/** Lets a guest see another owner, group or mode. 1: something could not be changed. */
export async function change(
  paths: readonly string[],
  wanted: Wanted,
  options: ChangeOptions,
): Promise<number> {
  const tally = new Tally();
  const depth = options.recursive === true ? undefined : 0;
  let [status, changed, unable, failed] = [0, 0, 0, 0];
  for (const path of paths) {
    const at = await toChange(path, options);
    const writer = new AttributeWriter(at, true);
    try {
      const entries = listed({ ...at, depth }, (end) => {
        status = Math.max(status, listEnd(tally, end));
      });
      for await (const entry of entries) {
        tally.add();
        if (!mayHaveAttributes(entry.host)) unable += 1;
        else {
          const attributes = attributesFor(entry, wanted);
          if (attributes.size === 0) continue;
          changed += 1;
          await writer.write(entry.name, attributes);
        }
      }
      const end = await writer.end();
      failed += end.said;
      changed -= end.said;
      status = Math.max(status, complain(tally, end, "changed"));
    } finally {
      writer.stop();
    }
  }
  if (unable > 0) {
    tell(
      unable === 1
        ? "1 entry is a link, device, fifo or socket of the host, which cannot have attributes"
        : `${unable} entries are links, devices, fifos or sockets of the host, which cannot have attributes`,
    );
    if (options.recursive !== true) status = 1;
  }
  summary(options, tally, { entries: tally.count, changed, failed });
  return status;
}

function find(path: string): Located {
  const failed = (
    code: "sourceMissing" | "lookFailed",
    what: string,
    remedy: string,
    cause?: unknown,
  ): ShareError =>
    new ShareError({ code, layer: "directory", machine: "this machine", what, remedy }, { cause });
  try {
    const found = located(path);
    if (found) return found;
  } catch (error) {
    if (!(error instanceof Error && "syscall" in error)) throw error;
    const remedy = "code" in error && error.code === "EACCES" ? "run it with sudo" : "give another path";
    throw failed("lookFailed", `${path} cannot be looked at: ${error.message}`, remedy, error);
  }
  throw failed("sourceMissing", `${path} is not there`, "give a directory or a file of this machine");
}

async function toChange(path: string, options: ChangeOptions): Promise<Located> {
  const found = find(path);
  if (process.getuid?.() !== 0) {
    throw new ShareError({
      code: "rootNeeded",
      layer: "directory",
      machine: "this machine",
      what: "only root can keep links in the tree from being followed while its attributes are set",
      remedy: "run it with sudo",
    });
  }
  if (options.live !== true) await refuseRunning(join(found.directory, found.name), options.connect);
  return found;
}

/** The entries of a dump; `invalidArgument` for a file that is none. */
async function* dumpOf(file: string): AsyncGenerator<Dumped> {
  if (file !== "-" && statSync(file, { throwIfNoEntry: false })?.isFile() === false) {
    throw new ShareError({
      code: "invalidArgument",
      layer: "directory",
      machine: "this machine",
      what: `${file} is no plain file, and a dump is read twice`,
      remedy: "give it on standard input, with -, where it is read once",
    });
  }
  const stream = file === "-" ? process.stdin : createReadStream(file);
  stream.setEncoding("latin1");
  try {
    for await (const one of parseDump(createInterface({ input: stream, crlfDelay: Infinity }))) {
      if (one.name === "" || one.name.startsWith("/") || one.name.split("/").includes(".."))
        throw new DumpError(one.line, shownName(one.name), "this name leads out of the directory");
      yield one;
    }
  } catch (error) {
    if (!(error instanceof DumpError) && !(error instanceof Error && "syscall" in error)) throw error;
    throw new ShareError(
      {
        code: "invalidArgument",
        layer: "directory",
        machine: "this machine",
        what: `${file === "-" ? "what came on standard input" : file} cannot be restored: ${error.message}`,
        remedy: "give what virtio9p backup or getfattr --dump printed",
      },
      { cause: error },
    );
  }
}

async function readToItsEnd(entries: AsyncGenerator<Dumped>): Promise<void> {
  while ((await entries.next()).done !== true);
}

const guestAttributes: ReadonlySet<string> = new Set(virtfsAttributes);

/** As the user named the tree: `tree/sub` for `./sub` in `tree`. */
function below(path: string, start: string, name: string): string {
  const given = Buffer.from(path).toString("latin1");
  if (start !== "." || name === ".") return given;
  return `${given.replace(/\/+$/, "")}${name.slice(1)}`;
}

async function print(text: string, encoding: "utf8" | "latin1" = "utf8"): Promise<void> {
  if (!process.stdout.write(text, encoding)) await once(process.stdout, "drain");
}

/** Says what of a tree was not listed, and with what the command is to exit for that. */
function listEnd(tally: Tally, end: ListEnd): number {
  const { elsewhere } = end;
  const status = complain(tally, end, "read");
  if (elsewhere.length === 0) return status;
  tally.end();
  const some = elsewhere.slice(0, 5).join(", ") + (elsewhere.length > 5 ? ", ..." : "");
  tell(
    elsewhere.length === 1
      ? `another file system, subvolume or mount begins there and was left out, to be given by itself: ${some}`
      : `${elsewhere.length} other file systems, subvolumes or mounts begin there and were left out, to be given by themselves: ${some}`,
  );
  return 1;
}

function complain(tally: Tally, { said, first }: Said, done: string): number {
  if (said === 0) return 0;
  tally.end();
  for (const line of first) tell(line);
  tell(
    `${entriesOf(said)} could not be ${done}${said > first.length ? `; the first ${first.length} are above` : ""}`,
  );
  return 1;
}

function summary(options: ChangeOptions, tally: Tally, counts: Readonly<Record<string, number>>): void {
  tally.end();
  const text = Object.entries(counts).map(([what, count]) =>
    what === "entries" ? entriesOf(count) : `${count} ${what}`,
  );
  if (options.json === true) process.stdout.write(`${JSON.stringify(counts)}\n`);
  else tell(text.join(", "));
}

function entriesOf(count: number): string {
  return countOf(count, "entry", "entries");
}

/** `text`: a character for each byte. */
function tell(text: string): void {
  process.stderr.write(`virtio9p: ${shownName(text)}\n`);
}
