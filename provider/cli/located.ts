import { execFileSync } from "node:child_process";
import { lstatSync, realpathSync, statSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { identityFormat } from "../remote/shell/inode";
import { failure } from "./report";

/** Where scripts find an entry of this machine. */
export interface Located {
  /** A directory, by a path in which no link is. */
  readonly directory: string;
  /** Inode and birth, by which a script knows it again: `6029396:1763877000.123456789`. */
  readonly identity: string;
  /** The entry in it: `.` for itself, `./a`. */
  readonly name: string;
}

/**
 * Finds an entry of this machine. A link is an entry, and is not followed; one on the way there is refused with
 * `sourceIsLink`, for a guest may have put it there. Throws `sourceMissing` or `lookFailed` too.
 */
export function located(path: string): Located {
  const full = resolve(path);
  const parent = dirname(full);
  try {
    const isThere = statSync(parent, { throwIfNoEntry: false })?.isDirectory() === true;
    const real = isThere ? realpathSync(parent) : parent;
    if (real !== parent) {
      throw failure(
        "sourceIsLink",
        `${path} leads through a link to ${join(real, basename(full))}`,
        "give that path, if it is meant",
      );
    }
    const status = isThere ? lstatSync(full, { throwIfNoEntry: false }) : undefined;
    if (!status) {
      throw failure("sourceMissing", `${path} is not there`, "give a directory or a file of this machine");
    }
    const [directory, name] = status.isDirectory() ? [full, "."] : [parent, `./${basename(full)}`];
    const identity = execFileSync("stat", ["-c", identityFormat, "--", directory], { encoding: "utf8" });
    return { directory, name, identity: identity.trim() };
  } catch (error) {
    if (!(error instanceof Error && "syscall" in error)) throw error;
    const remedy = "code" in error && error.code === "EACCES" ? "run it with sudo" : "give another path";
    throw failure("lookFailed", `${path} cannot be looked at: ${error.message}`, remedy, { cause: error });
  }
}
