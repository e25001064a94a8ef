#!/usr/bin/env node
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Command, InvalidArgumentError } from "commander";
import { ShareError } from "../errors";
import { parseOctalMode } from "../formats/octal-mode";
import { parseOwner, type Wanted } from "./change";
import { backup, change, type ChangeOptions, inspect, restore } from "./commands";

/** The command `virtio9p`: its arguments, and what it exits with. docs/command.md tells of it. */

const { version } = JSON.parse(readFileSync(join(__dirname, "../../package.json"), "utf8")) as {
  version: string;
};

const depth = parsed((text) => (/^\d{1,5}$/.test(text) ? Number(text) : undefined), "It is a whole number.");
const owner = parsed(parseOwner, "It is UID, UID:GID or :GID, in numbers: names are the guest's.");
const mode = parsed(parseOctalMode, "It is octal, such as 0750.");

const command = new Command("virtio9p")
  // Its parts have from it what it has when they are made.
  .exitOverride()
  .description("looks at and changes what guests see of directories that they have over virtio-9p, mapped")
  .version(version)
  .showSuggestionAfterError()
  .addHelpText(
    "after",
    "\nRun it on the KVM host. It exits with 0; with 1 when some entries could not be done, or were left out;\nwith 2 when it did nothing, or stopped.",
  );

command
  .command("inspect")
  .description("list what a guest sees of a tree: types, modes, owners and groups, read from user.virtfs.*")
  .argument("<path...>", "directories or files on the host")
  .option("-d, --depth <levels>", "how far below a directory (default: all)", depth)
  .option("--json", "a line of JSON for each entry")
  .action((paths: string[], options: { depth?: number; json?: boolean }) => end(inspect(paths, options)));

command
  .command("backup")
  .description("print the attributes of a tree, as getfattr --dump does; names are relative to it")
  .argument("<directory>")
  .action((path: string) => end(backup(path)));

changing("restore", "set the attributes that virtio9p backup or getfattr --dump printed")
  .argument("<directory>", "what the names in it are relative to")
  .argument("[file]", "the dump, - for standard input", "-")
  .action((path: string, file: string, options: ChangeOptions) => end(restore(path, file, options)));

changing("chown", "let a guest see another owner")
  .option("-R, --recursive", "with all in it")
  .argument("<owner>", "UID, UID:GID or :GID, numbers of the guest", owner)
  .argument("<path...>")
  .action((wanted: Wanted, paths: string[], options: ChangeOptions) => end(change(paths, wanted, options)));

changing("chmod", "let a guest see another mode")
  .option("-R, --recursive", "with all in it")
  .argument("<mode>", "in octal: 0750", mode)
  .argument("<path...>")
  .action((bits: number, paths: string[], options: ChangeOptions) =>
    end(change(paths, { mode: bits }, options)),
  );

function changing(name: string, description: string): Command {
  return command
    .command(name)
    .description(description)
    .option("--live", "although a guest that has it runs")
    .option("--json", "say what was done in a line of JSON")
    .option("-c, --connect <uri>", "the libvirt that knows which guests run", "qemu:///system");
}

/** How an argument is read, for Commander; `what` it is says who gave none. */
function parsed<T>(parse: (text: string) => T | undefined, what: string): (text: string) => T {
  return (text) => {
    const value = parse(text);
    if (value === undefined) throw new InvalidArgumentError(what);
    return value;
  };
}

async function end(work: Promise<number>): Promise<void> {
  process.exitCode = await work;
}

// Who reads no more of a list (head) has all that he wants; a backup that is not read to its end is none.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  const isPipe = error.code === "EPIPE";
  if (!isPipe) process.stderr.write(`virtio9p: standard output cannot be written: ${error.message}\n`);
  process.exit(isPipe && process.argv[2] === "inspect" ? 0 : 2);
});
// What cannot be said must not end what is being done.
process.stderr.on("error", () => undefined);
command.parseAsync().catch((error: unknown) => {
  const code = (error as { exitCode?: number }).exitCode;
  if (code !== undefined) process.exitCode = code === 0 ? 0 : 2;
  else {
    process.stderr.write(`virtio9p: ${error instanceof ShareError ? error.message : String(error)}\n`);
    process.exitCode = 2;
  }
});
