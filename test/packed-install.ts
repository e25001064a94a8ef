import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, renameSync, statSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { promisify } from "node:util";

const checkout = resolve(__dirname, "..");
const run = promisify(execFile);

/**
 * A new folder with this package in its node_modules as npm would install it: the files of `npm pack`, of the build that
 * is there, and links to what it and a program depend on. Nothing of the checkout's own sources is reachable.
 */
export async function packedInstall(): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), "virtio9p-install-"));
  await installInto(folder);
  return folder;
}

/** The same in a folder that is there. */
export async function installInto(folder: string): Promise<void> {
  refuseStaleBuild();
  const arguments_ = ["pack", "--silent", "--ignore-scripts", "--pack-destination", folder];
  const { stdout } = await run("npm", arguments_, { cwd: checkout });
  await run("tar", ["-xzf", join(folder, stdout.trim()), "-C", folder]);
  const modules = join(folder, "node_modules");
  mkdirSync(modules);
  for (const name of readdirSync(join(checkout, "node_modules")).filter((entry) => !entry.startsWith("."))) {
    symlinkSync(join(checkout, "node_modules", name), join(modules, name));
  }
  renameSync(join(folder, "package"), join(modules, "pulumi-virtio9p"));
}

/** What is packed is the build: one that is older than its source would be tested in its place. */
function refuseStaleBuild(): void {
  const built = statSync(join(checkout, "dist/index.js"), { throwIfNoEntry: false })?.mtimeMs ?? 0;
  const newer = readdirSync(join(checkout, "provider"), { recursive: true, encoding: "utf8" }).find(
    (name) => name.endsWith(".ts") && statSync(join(checkout, "provider", name)).mtimeMs > built,
  );
  if (newer !== undefined) throw new Error(`provider/${newer} is newer than the build: npm run build`);
}
