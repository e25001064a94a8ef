import { mkdirSync, mkdtempSync, readlinkSync, rmSync, writeFileSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { installInto } from "../../packed-install";
import { lab, root } from "./lab";
import { type Ended, output, run, type RunOptions } from "./run";
import { interpose, withWays } from "./via";

/** The program of every stack: the shares of shares.json, by name; `__options` in one are its resource options. */
const program = `const { Virtio9pShare } = require("pulumi-virtio9p");
const shares = JSON.parse(require("node:fs").readFileSync(__dirname + "/shares.json", "utf8"));
for (const [name, { __options, ...args }] of Object.entries(shares)) {
  exports[name] = new Virtio9pShare(name, args, __options).status;
}
`;

/**
 * A Pulumi project in a folder of its own, with the packed package installed, and the real CLI.
 *
 * The state is in the same folder; nothing of it is shared with another stack.
 */
export class Stack {
  readonly folder = mkdtempSync(join(tmpdir(), "virtio9p-stack-"));
  #env: NodeJS.ProcessEnv = {};

  async open(): Promise<void> {
    await Promise.all([installInto(this.folder), lab("build", "pulumi")]);
    const exports = await lab("env");
    const path =
      /export PATH=(.*)/
        .exec(exports)?.[1]
        ?.replace(/^['"]|['"]$/g, "")
        .split(":")[0] ?? "";
    mkdirSync(join(this.folder, "state"));
    writeFileSync(
      join(this.folder, "Pulumi.yaml"),
      "name: e2e\nruntime:\n  name: nodejs\n  options:\n    typescript: false\n",
    );
    writeFileSync(join(this.folder, "package.json"), '{"name":"e2e","main":"index.js"}\n');
    writeFileSync(join(this.folder, "index.js"), program);
    this.declare({});
    this.#env = {
      ...process.env,
      PATH: `${path}:${root}/node_modules/.bin:${process.env["PATH"] ?? ""}`,
      PULUMI_BACKEND_URL: `file://${this.folder}/state`,
      PULUMI_CONFIG_PASSPHRASE: "lab",
      PULUMI_SKIP_UPDATE_CHECK: "true",
      PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION: "true",
      PULUMI_HOME: join(this.folder, "home"),
      NO_COLOR: "1",
      // Each operation starts three Node processes, which read the same modules: a quarter of its time.
      NODE_COMPILE_CACHE: join(
        process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache"),
        "pulumi-virtio9p/node",
      ),
    };
    await output("pulumi", ["stack", "init", "lab"], this.#options());
  }

  /**
   * Writes the shares that the next operation finds in the program: arguments by name, and under `__options`
   * what goes to the engine (ignoreChanges, protect, retainOnDelete, aliases as URNs).
   */
  declare(shares: Readonly<Record<string, object>>): void {
    const reached = Object.entries(shares).map(([name, share]) => [name, withWays(share)] as const);
    writeFileSync(join(this.folder, "shares.json"), JSON.stringify(Object.fromEntries(reached)));
  }

  /** Runs `pulumi COMMAND` without asking anything; `path` goes before PATH. */
  pulumi(
    command: string,
    args: readonly string[] = [],
    more: { path?: string; env?: NodeJS.ProcessEnv; ownGroup?: true; onStart?: (pid: number) => void } = {},
  ): Promise<Ended> {
    interpose(more.path);
    const options = { ...this.#options(more.onStart), ownGroup: more.ownGroup ?? false };
    const env = {
      ...options.env,
      ...more.env,
      ...(more.path === undefined ? {} : { PATH: `${more.path}:${this.#env["PATH"] ?? ""}` }),
    };
    const quiet = ["up", "destroy", "refresh"].includes(command) ? ["--yes", "--skip-preview"] : [];
    const unasked = args.includes("--preview-only") ? [] : quiet;
    const words = command === "state" ? [command, ...args, "--yes"] : [command, ...unasked, ...args];
    return run("pulumi", [...words, "--non-interactive"], { ...options, env });
  }

  /** Runs `pulumi COMMAND` on a terminal of 200 columns: what it wrote there, its control sequences too. */
  async terminal(command: string): Promise<string> {
    const options = this.#options();
    const env = { ...options.env, TERM: "xterm" };
    const words = `stty cols 200 rows 50; exec pulumi ${command} --yes --skip-preview --color never`;
    return output("script", ["-qec", words, "/dev/null"], { ...options, env });
  }

  /**
   * Kills the provider process of the operation that runs, by SIGKILL: it is the one whose working
   * directory is this stack's. Gives its process id, 0 if there was none.
   */
  async killProvider(): Promise<number> {
    const pids = (await run("pgrep", ["-f", "cmd/dynamic-provider"])).stdout
      .split("\n")
      .filter((line) => line !== "");
    const ours = pids.find((pid) => {
      try {
        return readlinkSync(`/proc/${pid}/cwd`) === this.folder;
      } catch {
        return false; // ended meanwhile
      }
    });
    if (ours === undefined) return 0;
    process.kill(Number(ours), "SIGKILL");
    return Number(ours);
  }

  /** The same, for an operation that has to succeed. */
  async must(...args: Parameters<Stack["pulumi"]>): Promise<Ended> {
    const ended = await this.pulumi(...args);
    if (ended.code !== 0)
      throw new Error(`pulumi ${args[0]} ended with ${ended.code}:\n${diagnosticsFirst(ended)}`);
    return ended;
  }

  /** The outputs of one share, from the state. */
  async share(name: string): Promise<Record<string, unknown>> {
    const state = JSON.parse(
      await output("pulumi", ["stack", "export", "--show-secrets"], this.#options()),
    ) as {
      deployment: {
        resources?: { urn: string; outputs: Record<string, unknown>; inputs: Record<string, unknown> }[];
      };
    };
    const found = state.deployment.resources?.find(({ urn }) => urn.endsWith(`Virtio9pShare::${name}`));
    return found ? { ...found.outputs, inputs: found.inputs } : {};
  }

  /** The URN of one share. */
  async urn(name: string): Promise<string> {
    const state = JSON.parse(await output("pulumi", ["stack", "export"], this.#options())) as {
      deployment: { resources?: { urn: string }[] };
    };
    return state.deployment.resources?.find(({ urn }) => urn.endsWith(`Virtio9pShare::${name}`))?.urn ?? "";
  }

  close(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }

  #options(onStart?: (pid: number) => void): RunOptions & { env: NodeJS.ProcessEnv } {
    return { cwd: this.folder, env: this.#env, timeoutMs: 900_000, ...(onStart ? { onStart } : {}) };
  }
}

/** All that was printed, what went wrong before what went well: a long message may be cut short. */
function diagnosticsFirst({ stdout, stderr }: Ended): string {
  const at = stdout.indexOf("Diagnostics:");
  return at === -1 ? stdout + stderr : `${stdout.slice(at)}${stderr}\n${stdout.slice(0, at)}`;
}
