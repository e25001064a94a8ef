import { once } from "node:events";
import { createReadStream, statSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { countOf } from "../formats/count";
import { DumpError, type Dumped, formatDumped, parseDump } from "../formats/attribute-dump";
import { isAtOrBelow } from "../formats/path";
import { shownName } from "../formats/shown-name";
import { malformed, virtfsAttributes } from "../drivers/ninep/attributes";
import { mountPointsIn } from "../remote/mount-points";
import { Sayings } from "../remote/piped";
import { writeAttributes } from "./attribute-writer";
import { attributesFor, type Wanted } from "./change";
import { gone, type Listed, listed, mayHaveAttributes } from "./entries";
import { refuseRunning } from "./guests";
import { formatJson, formatText, seenOf } from "./inspect";
import { type Located, located } from "./located";
import { entriesOf, failure, Report } from "./report";

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
  { json, depth }: { readonly json?: boolean; readonly depth?: number },
): Promise<number> {
  const format = json === true ? formatJson : formatText;
  return list(paths, depth, (entry, path) => `${format(entry, path)}\n`);
}

/** Prints the attributes of a tree. */
export async function backup(path: string): Promise<number> {
  return list([path], undefined, ({ name, attributes }) =>
    attributes && attributes.size > 0 ? Buffer.from(formatDumped(name, attributes), "latin1") : "",
  );
}

async function list(
  paths: readonly string[],
  depth: number | undefined,
  format: (entry: Listed, path: string) => string | Buffer,
): Promise<number> {
  const report = new Report();
  let damaged = 0;
  for (const path of paths) {
    const at = located(path);
    for await (const entry of listed(at, depth, report)) {
      if (seenOf(entry)?.damage.length) damaged += 1;
      const text = format(entry, below(path, at.name, entry.name));
      if (text !== "" && !process.stdout.write(text)) await once(process.stdout, "drain");
      report.add();
    }
  }
  report.end();
  if (damaged > 0) report.tell(`${entriesOf(damaged)} with damaged attributes`);
  return report.status;
}

/**
 * Sets the attributes that a dump says, `-` for standard input. A file is read to its end before anything is set.
 *
 * 1: not all could be set, or were left out.
 */
export async function restore(path: string, file: string, options: ChangeOptions): Promise<number> {
  const at = await toChange(path, options);
  const first = dumpOf(file);
  while (file !== "-" && (await first.next()).done !== true);
  const report = new Report();
  const mounts = mountPointsIn(at.directory);
  const left = new Sayings();
  let [others, set, partly] = [0, 0, 0];
  const toSet = async function* (): AsyncGenerator<Pick<Dumped, "name" | "attributes">> {
    for await (const { name, attributes } of dumpOf(file)) {
      report.add();
      const mount = mounts.find((one) => isAtOrBelow(plain(name), one));
      if (mount !== undefined) {
        left.add(`${name}: ${mount} is on another file system, which is restored by itself`);
        partly += 1;
        continue;
      }
      const known = new Map<string, Buffer>();
      let isWhole = true;
      for (const [attribute, value] of attributes) {
        const wrong = malformed(attribute, value);
        if (!guestAttributes.has(attribute)) others += 1;
        else if (wrong === undefined) known.set(attribute, value);
        else {
          left.add(`${name}: ${wrong}`);
          isWhole = false;
        }
      }
      if (!isWhole) partly += 1;
      else if (known.size > 0) set += 1;
      if (known.size > 0) yield { name, attributes: known };
    }
  };
  const { said } = await writeAttributes(at, toSet());
  report.couldNot("set", said);
  report.couldNot(`set, and ${left.count === 1 ? "was" : "were"} left out`, left);
  if (others > 0) {
    const [one, many] = ["attribute that is not a guest's was", "attributes that are not a guest's were"];
    report.tell(`${countOf(others, one, many)} left out`);
  }
  report.summary(set - said.count, said.count + partly, options.json);
  return report.status;
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
  const report = new Report();
  const isRecursive = options.recursive === true;
  let [changed, unable, failed] = [0, 0, 0];
  const toSet = async function* (at: Located): AsyncGenerator<Pick<Dumped, "name" | "attributes">> {
    for await (const entry of listed(at, isRecursive ? undefined : 0, report)) {
      report.add();
      const attributes = mayHaveAttributes(entry.host) ? attributesFor(entry, wanted) : undefined;
      if (!attributes) unable += 1;
      else if (attributes.size > 0) {
        changed += 1;
        yield { name: entry.name, attributes };
      }
    }
  };
  for (const path of paths) {
    const at = await toChange(path, options);
    const { said } = await writeAttributes(at, toSet(at), gone);
    failed += said.count;
    report.couldNot("changed", said);
  }
  if (unable > 0) {
    const [one, many] = [
      "entry is a link, device, fifo or socket",
      "entries are links, devices, fifos or sockets",
    ];
    report.tell(`${countOf(unable, one, many)} of the host, which cannot have attributes`);
    if (!isRecursive) report.status = 1;
  }
  report.summary(changed - failed, failed, options.json);
  return report.status;
}

async function toChange(path: string, options: ChangeOptions): Promise<Located> {
  const at = located(path);
  if (process.getuid?.() !== 0) {
    throw failure(
      "rootNeeded",
      "only root can keep links in the tree from being followed while its attributes are set",
      "run it with sudo",
    );
  }
  if (options.live !== true) await refuseRunning(join(at.directory, at.name), options.connect);
  return at;
}

/** The entries of a dump; `invalidArgument` for a file that is none. */
async function* dumpOf(file: string): AsyncGenerator<Dumped> {
  if (file !== "-" && statSync(file, { throwIfNoEntry: false })?.isFile() === false) {
    throw failure(
      "invalidArgument",
      `${file} is no plain file, and a dump is read twice`,
      "give it on standard input, with -, where it is read once",
    );
  }
  const stream = (file === "-" ? process.stdin : createReadStream(file)).setEncoding("latin1");
  try {
    for await (const one of parseDump(createInterface({ input: stream, crlfDelay: Infinity }))) {
      if (one.name === "" || one.name.startsWith("/") || one.name.split("/").includes(".."))
        throw new DumpError(one.line, shownName(one.name), "this name leads out of the directory");
      yield one;
    }
  } catch (error) {
    if (!(error instanceof DumpError) && !(error instanceof Error && "syscall" in error)) throw error;
    throw failure(
      "invalidArgument",
      `${file === "-" ? "what came on standard input" : file} cannot be restored: ${error.message}`,
      "give what virtio9p backup or getfattr --dump printed",
      { cause: error },
    );
  }
}

const guestAttributes: ReadonlySet<string> = new Set(virtfsAttributes);

/** As the user named the tree: `tree/sub` for `./sub` in `tree`. */
function below(path: string, start: string, name: string): string {
  const given = Buffer.from(path).toString("latin1");
  if (start !== "." || name === ".") return given;
  return `${given.replace(/\/+$/, "")}${name.slice(1)}`;
}
