import { mkdirSync, readFileSync, renameSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { FakeLibvirt } from "../host/fake-libvirt";
import { providerText } from "../../provider/pulumi/resource";
import type { Ended } from "./support/run";
import { Stack } from "./support/stack";

/** What Pulumi's own options do to a share: the real engine, over a libvirt that is files. Needs no guest. */
describe("a share under Pulumi's rules", () => {
  const stack = new Stack();
  const host = new FakeLibvirt();

  /** Every operation goes to the libvirt that is files; its session's records are in its own home. */
  const surroundings = { path: join(host.folder, "bin"), env: { HOME: host.folder } };
  const pulumi = (command: string, ...args: string[]): Promise<Ended> =>
    stack.pulumi(command, args, surroundings);
  const must = (command: string, ...args: string[]): Promise<Ended> =>
    stack.must(command, args, surroundings);
  const declare = (shares: object): void => {
    writeFileSync(join(stack.folder, "shares.json"), JSON.stringify(shares));
  };
  /** A share of which the program writes no tag. */
  const { source, domain, accessMode, host: libvirt } = host.share("a");
  const least = { source, domain, accessMode, host: libvirt };

  interface Step {
    readonly op: string;
    readonly urn: string;
    readonly newState?: { readonly inputs: Record<string, unknown> };
    readonly detailedDiff: Record<string, { kind: string }> | null;
  }
  /** What a preview is going to do with a share: operations, and the last one's inputs and differing paths. */
  const preview = async (name: string) => {
    const { steps } = JSON.parse((await must("preview", "--json")).stdout) as { steps: Step[] };
    const own = steps.filter(({ urn }) => urn.endsWith(`Virtio9pShare::${name}`));
    return {
      ops: own.map(({ op }) => op),
      tag: own.at(-1)?.newState?.inputs["tag"],
      differing: Object.keys(own.at(-1)?.detailedDiff ?? {}),
    };
  };

  beforeAll(async () => {
    await stack.open();
  });
  afterEach(async () => {
    declare({});
    await must("up");
  });
  afterAll(() => {
    stack.close();
    host.remove();
  });

  test("renamed with an alias, no tag written: unchanged; a tag that is written later counts", async () => {
    declare({ old: least });
    await must("up");
    const __options = { aliases: [await stack.urn("old")] };
    declare({ new: { ...least, __options } });
    await must("preview", "--expect-no-changes");
    await must("up");
    expect(await stack.share("new")).toMatchObject({ tag: "old" });

    // The alias can go then, as with any resource.
    declare({ new: least });
    await must("preview", "--expect-no-changes");
    await must("preview", "--refresh", "--expect-no-changes");
    declare({ new: { ...least, tag: "new" } });
    expect(await preview("new")).toEqual({ ops: ["update"], tag: "new", differing: ["tag"] });
    declare({ new: { ...least, domain: "web2" } });
    expect(await preview("new")).toMatchObject({
      ops: ["replace"],
      tag: "new",
    });
    declare({ new: least, old: { ...least, otherWriters: "allow" } });
    const copy = await pulumi("preview");
    expect([copy.code, copy.stdout]).toEqual([
      1,
      expect.stringMatching(/tag is that of the share (new|old) in the same domain/),
    ]);
  });

  test.each([
    ["a path", ["readOnly"], { readOnly: true }, { directory: { create: false } }],
    [
      "a nested path",
      ["directory.mode"],
      { directory: { mode: "0750" } },
      { directory: { onDelete: "leave" } },
    ],
  ])(
    "replaceOnChanges of %s: a change there replaces, another one updates",
    async (_, replaceOnChanges, there, elsewhere) => {
      const __options = { replaceOnChanges };
      declare({ a: { ...least, __options } });
      await must("up");
      declare({ a: { ...least, ...there, __options } });
      const { ops, differing } = await preview("a");
      expect([ops, differing]).toEqual([["replace"], replaceOnChanges]);
      declare({ a: { ...least, ...elsewhere, __options } });
      expect((await preview("a")).ops).toEqual(["update"]);
      declare({ a: { ...least, ...there, __options } });
      const up = await must("up");
      expect(up.stdout).toContain("1 replaced");
      await must("preview", "--refresh", "--expect-no-changes");
    },
  );

  test("a plan that a preview saved is kept to", async () => {
    declare({ a: least });
    const plan = join(stack.folder, "plan.json");
    await must("preview", "--save-plan", plan);
    await must("up", "--plan", plan);
  });

  test("a preview says of create, update and replacement that they may cycle the power, and of nothing else", async () => {
    const said = async (share: object, ...args: string[]): Promise<string[]> => {
      declare({ a: share });
      const { stdout } = await must("preview", ...args);
      return [...new Set(stdout.match(/a: this \w+ may .*/g) ?? [])];
    };
    expect(await said({ ...least, power: "restart" })).toEqual([
      "a: this create may shut down and start the guest of web1 (power: restart): a new device",
    ]);
    declare({ a: least });
    const up = await must("up");
    expect(up.stdout).not.toContain("may");
    const restart = { ...least, power: "restart" };
    expect(await said({ ...restart, source: `${source}-2`, readOnly: true })).toEqual([
      "a: this update may shut down and start the guest of web1 (power: restart): device changed: source, readOnly",
    ]);
    expect(await said({ ...least, source: `${source}-2`, readOnly: true })).toEqual([]);
    expect(await said({ ...restart, domain: "web2" })).toEqual([
      "a: this create may shut down and start the guest of web2 (power: restart): a new device",
    ]);
  });

  test("a failed check: each failure by its path, in order, no value of a secret", async () => {
    declare({
      a: {
        ...least,
        accessMode: "maped",
        msize: 1,
        zzz: { password: "geheim" },
        guest: { options: { cache: "lose", nocache: 1 } },
        host: { connection: { hots: "geheim" } },
      },
    });
    const { code, stdout } = await pulumi("preview");
    const failures = stdout.split("Diagnostics:")[1]?.match(/(?<=has a problem: ).*/g);
    expect([code, failures]).toEqual([
      1,
      [
        "msize is not an argument: did you mean guest.options.msizeBytes?",
        expect.stringMatching(/^zzz is not an argument \(there are: source, /),
        "host.connection.hots is not an argument: did you mean host?",
        "guest.options.nocache is not an argument: did you mean cache?",
        "accessMode must be one of mapped, passthrough, squash: did you mean mapped?",
        "host.connection.host is required",
        "guest.mountPoint is required",
        "guest.options.cache must be one of none, readahead, mmap, loose, fscache: did you mean loose?",
      ],
    ]);
    expect(stdout).not.toMatch(/<nil>|geheim/);
  });

  describe("a package manager that isolates dependencies", () => {
    const inProgram = (): string => join(stack.folder, "node_modules/pulumi-virtio9p");
    const inStore = (): string => join(stack.folder, "node_modules/.store/lib/node_modules/pulumi-virtio9p");
    const program = (): string => join(stack.folder, "index.js");
    let text: string;

    /** As pnpm has it: a library in a store of its own, linked from the program's node_modules; what it needs is beside it. */
    beforeAll(() => {
      const library = join(stack.folder, "node_modules/.store/lib/node_modules/lib");
      mkdirSync(library, { recursive: true });
      writeFileSync(join(library, "index.js"), 'module.exports = require("pulumi-virtio9p");\n');
      symlinkSync(library, join(stack.folder, "node_modules/lib"));
      text = readFileSync(program(), "utf8");
    });
    beforeEach(async () => {
      declare({ a: least });
      await must("up");
      renameSync(inProgram(), inStore());
    });
    afterEach(() => {
      renameSync(inStore(), inProgram());
      writeFileSync(program(), text);
    });

    test("the package as a dependency of a library alone: said before anything is registered", async () => {
      writeFileSync(program(), text.replace('"pulumi-virtio9p"', '"lib"'));
      const { code, stdout, stderr } = await pulumi("preview");
      expect(code).not.toBe(0);
      expect(stdout + stderr).toContain(`pulumi-virtio9p is not found from ${stack.folder}, where`);
      expect(stdout + stderr).not.toMatch(/\n\s+at .*\.js:\d+|Cannot find module/);
    });

    test("destroy when the package is gone: what to install, without a stack", async () => {
      const { code, stdout, stderr } = await pulumi("destroy");
      expect(code).not.toBe(0);
      expect(stdout + stderr).toContain(
        `Cannot find module 'pulumi-virtio9p/dynamic': npm install pulumi-virtio9p in ${stack.folder}`,
      );
      expect(stdout + stderr).not.toMatch(/\n\s+at .*\.js:\d+/);
    });
  });

  test("pulumi import --file: the share is in the state, a refresh fills the rest in, and up has nothing to do", async () => {
    declare({ a: { ...least, __options: { retainOnDelete: true } } });
    await must("up");
    declare({});
    await must("up");
    const args = { ...least, tag: "a" };
    const share = {
      type: "pulumi-nodejs:dynamic/virtio9p:Virtio9pShare",
      name: "a",
      id: "web1/a",
      inputs: { ...args, __provider: providerText },
      outputs: { ...args, __provider: providerText },
    };
    const file = join(stack.folder, "import.json");
    writeFileSync(file, JSON.stringify({ resources: [share] }));
    await must("import", "--file", file, "--generate-code=false", "--protect=false", "--yes");
    expect(await stack.share("a")).toMatchObject({ source, tag: "a" });
    await must("refresh");
    expect(await stack.share("a")).toMatchObject({ status: "off", domainName: "web1" });
    declare({ a: least });
    await must("up");
    expect(await stack.share("a")).toMatchObject({
      status: "off",
      layers: { device: "ok", directory: "ok" },
    });
    await must("preview", "--refresh", "--expect-no-changes");
  });
});
