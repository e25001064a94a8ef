import { execFileSync } from "node:child_process";
import {
  chmodSync,
  chownSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import type { Properties } from "../../provider/pulumi/state";

/** What a release left: the state that Pulumi has of a share, and everything on its machines, as one file. */
export interface Snapshot {
  readonly outputs: Properties;
  readonly files: readonly {
    readonly path: string;
    readonly mode: number;
    readonly uid: number;
    readonly gid: number;
    /** Undefined: a directory. */
    readonly text?: string;
    /** As `getfattr --dump` prints them. */
    readonly attributes?: string;
  }[];
}

/** The same for every snapshot, for records are named by a hash of the path in them. */
export const folder = "/tmp/virtio9p-upgrade";

/** Reads all of a sandbox at {@link folder}. Who a directory is (inode and birth) is written as `@inode PATH@`, `@born PATH@`. */
export function take(outputs: Properties): string {
  const paths = readdirSync(folder, { recursive: true })
    .map(String)
    .filter((path) => !["log", "lock"].includes(path))
    .sort();
  const files = paths.map((path) => {
    const at = join(folder, path);
    const { mode, uid, gid } = lstatSync(at);
    const isDirectory = lstatSync(at).isDirectory();
    const attributes = execFileSync(
      "getfattr",
      ["-h", "-d", "-m", "^user", "-e", "hex", "--absolute-names", at],
      { encoding: "utf8" },
    );
    return {
      path,
      mode: mode & 0o7777,
      uid,
      gid,
      ...(isDirectory ? {} : { text: readFileSync(at, "utf8") }),
      ...(attributes === "" ? {} : { attributes }),
    };
  });
  const text = JSON.stringify({ outputs, files }, null, 1);
  const named = directories().reduce((so, { path, inode, born }) => {
    const both = new RegExp(
      `(inode\\\\?":\\s*\\\\?")${inode}(\\\\?",\\s*\\\\?"born\\\\?":\\s*\\\\?")${born}`,
      "g",
    );
    return so.replaceAll(both, `$1@inode ${path}@$2@born ${path}@`);
  }, text);
  return `${named}\n`;
}

/** Makes the sandbox anew as the snapshot has it, and gives the state. */
export function restore(text: string): Properties {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { mode: 0o755 });
  chmodSync(folder, 0o755);
  const raw = JSON.parse(text) as Snapshot;
  for (const { path, text: content } of raw.files) {
    const at = join(folder, path);
    mkdirSync(content === undefined ? at : dirname(at), { recursive: true });
  }
  const { outputs, files } = JSON.parse(
    directories().reduce(
      (so, { path, inode, born }) =>
        so.replaceAll(`@inode ${path}@`, inode).replaceAll(`@born ${path}@`, born),
      text,
    ),
  ) as Snapshot;
  for (const { path, text: content, mode, uid, gid, attributes } of [...files].reverse()) {
    const at = join(folder, path);
    if (content !== undefined) writeFileSync(at, content);
    if (attributes !== undefined) execFileSync("setfattr", ["-h", "--restore=-"], { input: attributes });
    chownSync(at, uid, gid);
    chmodSync(at, mode);
  }
  return outputs;
}

function directories(): { path: string; inode: string; born: string }[] {
  return readdirSync(join(folder, "srv")).map((name) => {
    const [inode = "", born = ""] = execFileSync("stat", ["-c", "%i:%.9W", "--", join(folder, "srv", name)], {
      encoding: "utf8",
    })
      .trim()
      .split(":");
    return { path: `srv/${name}`, inode, born };
  });
}
