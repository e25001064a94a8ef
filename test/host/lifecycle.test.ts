import { existsSync, rmSync } from "node:fs";
import { spawnSync } from "node:child_process";
import { providerText } from "../../provider/pulumi/resource";
import { unknownValue } from "../../provider/spec/spec";
import { packedInstall } from "../packed-install";
import { CallFailure, checkout, type Properties, ProviderProcess } from "./provider-process";

const uuid = "00000000-0000-4000-8000-00000000000a";
const least = { source: "/foo/bar", domain: "no-such-domain-9", tag: "foobar", __provider: providerText };

/** As the scripts look for them: with their own PATH. */
const path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const virsh = (...args: string[]) => spawnSync("virsh", args, { env: { PATH: path, LC_ALL: "C" } });
const expectedCode = (): string => {
  if (virsh("--version").error) return "toolMissing";
  return virsh("-q", "-c", "qemu:///system", "list").status === 0 ? "unknownDomain" : "libvirtUnreachable";
};
/** A line of a JavaScript stack, or a path into this package's code. */
const stack = /^\s*at .*[:(]|\.(js|ts):\d+/m;

/** Records that speak of this suite's shares; others on this machine come and go. */
const ownRecords = (): string =>
  spawnSync("grep", ["-rlsF", "-e", folder, "-e", uuid, "/var/lib/virtio9p"], { encoding: "utf8" }).stdout;

let folder: string;
beforeAll(async () => {
  folder = await packedInstall();
}, 120_000);
afterAll(() => {
  rmSync(folder, { recursive: true });
});

describe.each(["a packed install", "the checkout itself"])("the provider process in %s", (where) => {
  let provider: ProviderProcess;
  beforeAll(async () => {
    provider = await ProviderProcess.start(where === "a packed install" ? folder : checkout);
  }, 30_000);
  afterAll(() => provider.stop());

  const inputsOf = async (args: Properties = {}): Promise<Properties> =>
    (await provider.check({ ...least, ...args })).inputs;
  const outputsOf = async (args: Properties = {}, more: Properties = {}): Promise<Properties> => ({
    ...(await inputsOf(args)),
    status: "active",
    statusReason: "asDeclared",
    layers: { directory: "ok", selinux: "ok", device: "ok", mount: "unmanaged" },
    domainUuid: uuid,
    domainName: least.domain,
    before: {},
    __former: [],
    ...more,
  });

  describe("check", () => {
    test("says everything that is wrong with one share at once, each under its property", async () => {
      const { failures } = await provider.check({
        ...least,
        source: "foo",
        tag: "a,b",
        acessMode: "mapped",
        guest: { mountPoint: "/mnt/a", options: { cache: "lose", extra: ["noatime", "mode=1"] } },
        timeouts: { bootMs: 1 },
      });
      // Without a property: the engine would show what the inputs have under that very name, `<nil>` for a path.
      expect(failures).toEqual(
        [
          "acessMode is not an argument: did you mean accessMode?",
          "source must be an absolute path",
          "tag must not contain a comma",
          "guest.options.cache must be one of none, readahead, mmap, loose, fscache: did you mean loose?",
          "guest.options.extra.1 the kernel knows no option mode",
          "timeouts.bootMs must be at least 1000 ms",
        ].map((reason) => ["", reason]),
      );
    });

    // The client of this test can send no 3,000; test/unit/argument-trees.test.ts has those.
    test.each([1, 17, 300])("%d levels are answered", async (levels) => {
      let deep: unknown = "end";
      for (let level = 0; level < levels; level++) deep = { a: deep };
      const { failures } = await provider.check({ ...least, guest: deep, soruce: deep });
      expect(failures.map(([, reason]) => reason)).toEqual([
        "soruce is not an argument: did you mean source?",
        expect.stringMatching(/^guest\.a is not an argument/),
        "guest.mountPoint is required",
      ]);
    });

    test("lets values through that are not known yet", async () => {
      const news = { ...least, source: unknownValue, guest: { mountPoint: unknownValue } };
      expect(await provider.check(news)).toEqual({ inputs: news, failures: [] });
    });

    test("gives the canonical forms, __provider with them", async () => {
      const { inputs, failures } = await provider.check({
        ...least,
        source: "//foo/x/../bar/",
        directory: { mode: "750", owner: 0 },
      });
      expect(failures).toEqual([]);
      expect(inputs).toMatchObject({
        __provider: providerText,
        source: "/foo/bar",
        directory: { mode: "0750", owner: "0", group: "qemu" },
      });
      expect((await provider.check(inputs)).inputs).toEqual(inputs);
    });
  });

  describe("diff", () => {
    const same = { changes: false, replaces: [], deleteBeforeReplace: true };
    test.each<[string, Properties, Properties, Properties]>([
      ["nothing", {}, {}, same],
      [
        "the order of keys",
        { guest: { mountPoint: "/mnt/a", mount: "now" } },
        { guest: { mount: "now", mountPoint: "/mnt/a" } },
        same,
      ],
      ["name and UUID of one domain", {}, { domain: uuid }, same],
      ["keys that begin with two underscores", {}, { __provider: `${providerText} ` }, same],
      ["an argument, whose path the engine finds", {}, { power: "start" }, { ...same, changes: "unknown" }],
      ["another domain", {}, { domain: "web2" }, { ...same, changes: true, replaces: ["domain"] }],
      [
        "a domain that is not known yet",
        {},
        { domain: unknownValue, host: { libvirtUri: "qemu:///system" } },
        { ...same, changes: "unknown" },
      ],
    ])("%s", async (_, olds, news, expected) => {
      expect(await provider.diff("id", await outputsOf(olds), await inputsOf(news))).toEqual(expected);
    });

    test.each([
      ["never", "active", "asDeclared", false],
      ["never", "pendingPowerCycle", "deviceNotLive", false],
      ["start", "pendingPowerCycle", "deviceNotLive", false],
      ["restart", "pendingPowerCycle", "deviceNotLive", true],
      ["force", "pendingPowerCycle", "deviceDiffersLive", true],
      ["force", "pendingPowerCycle", "blockJob", false],
      ["never", "off", "domainOff", false],
      ["start", "off", "domainOff", true],
      ["never", "pendingGuest", "guestUnreachable", true],
      ["never", "incomplete", "stepFailed", true],
    ])("power %s and %s (%s): changes %s", async (power, status, statusReason, changes) => {
      const outputs = await outputsOf({ power }, { status, statusReason });
      expect((await provider.diff("id", outputs, await inputsOf({ power }))).changes).toBe(changes);
    });
  });

  describe("a domain that is not there", () => {
    test("create fails with one message and no stack, records nothing and changes nothing", async () => {
      const source = `${folder}/never-made`;
      const printed = provider.stderr.length;
      const failure = await provider.create(await inputsOf({ source })).catch((error: unknown) => error);
      expect(failure).toBeInstanceOf(CallFailure);
      const { message, partial } = failure as CallFailure;
      expect(partial).toBeUndefined();
      expect(message.match(new RegExp(`\\[${expectedCode()}\\]`, "g"))).toHaveLength(1);
      expect(message).not.toMatch(stack);
      expect(provider.stderr.slice(printed)).toBe("");
      expect(existsSync(source)).toBe(false);
      expect(ownRecords()).toBe("");
    }, 30_000);

    test("delete of what is gone already succeeds, or says once why not", async () => {
      const printed = provider.stderr.length;
      const outputs = await outputsOf({ source: `${folder}/gone` });
      const failure = await provider.delete("id", outputs).catch((error: unknown) => error);
      if (expectedCode() === "unknownDomain") expect(failure).toBeUndefined();
      else expect((failure as CallFailure).message).toContain(`[${expectedCode()}]`);
      expect(provider.stderr.slice(printed)).not.toMatch(stack);
      expect(ownRecords()).toBe("");
    }, 30_000);

    test("read: gone when nothing of ours is left, and no stack", async () => {
      const printed = provider.stderr.length;
      const found = await provider
        .read("id", await outputsOf({ source: `${folder}/gone` }))
        .catch((error: unknown) => error);
      if (expectedCode() === "unknownDomain") expect(found).toMatchObject({ id: "" });
      else expect((found as CallFailure).message).toContain(`[${expectedCode()}]`);
      expect(provider.stderr.slice(printed)).not.toMatch(stack);
    }, 30_000);

    test("read: a directory that no record holds is not ours: gone too", async () => {
      const found = await provider
        .read("id", await outputsOf({ source: folder }))
        .catch((error: unknown) => error);
      if (expectedCode() === "unknownDomain") expect(found).toMatchObject({ id: "" });
      else expect((found as CallFailure).message).toContain(`[${expectedCode()}]`);
    }, 30_000);

    test("arguments that check would refuse are an error of create, not a crash", async () => {
      const failure = await provider
        .create({ ...least, source: "relative" })
        .catch((error: unknown) => error);
      expect((failure as CallFailure).message).toBe(
        "arguments on this program: source must be an absolute path [invalidArgument]",
      );
    });

    test.each(["read", "delete"] as const)("%s: a failure is told once, without a stack", async (name) => {
      const printed = provider.stderr.length;
      const broken = { ...(await outputsOf()), source: "relative" };
      const failure = await provider[name]("id", broken).catch((error: unknown) => error);
      expect((failure as CallFailure).message).toContain(
        "source is not there in a form that can be used [stateUnreadable]",
      );
      const said = provider.stderr.slice(printed);
      expect(said).not.toMatch(stack);
      expect(said).not.toContain("[stateUnreadable]");
    });
  });
});
