import * as lifecycle from "../../../provider/pulumi/lifecycle";
import { migrated, later } from "../../../provider/engine/migration";
import { parse } from "../../../provider/engine/baseline";
import { current, stateVersion } from "../../../provider/pulumi/state-migrations";
import { type Properties, specOf } from "../../../provider/pulumi/state";
import { storedSpec } from "../../../provider/pulumi/stored-spec";
import { leastArgs } from "../sample";

/** What an earlier or a later release wrote, and what somebody spoilt. */

const guest = { mountPoint: "/mnt/a", mode: "0750" };
const canonical = (args: Properties = {}): Properties => lifecycle.check({ ...leastArgs, ...args }).inputs;

describe("storedSpec", () => {
  test.each<[string, Properties]>([
    ["the least", {}],
    ["a guest", { guest }],
    ["a host over SSH", { host: { connection: { host: "kvm1", port: 2222, proxy: { host: "gate" } } } }],
    ["lists", { guest: { ...guest, selinuxBooleans: ["a", "b"], options: { extra: ["noatime"] } } }],
    ["what depends on others", { accessMode: "passthrough", directory: { owner: 1000 } }],
  ])("of what is not refused it is the same: %s", (_, args) => {
    expect(storedSpec(canonical(args))).toEqual(specOf(canonical(args)));
  });

  test.each<[string, Properties, Properties]>([
    ["an argument that is gone", { hotplug: true }, {}],
    [
      "seventeen of them",
      Object.fromEntries(Array.from({ length: 17 }, (_, at) => [`a${at}`, { b: [at] }])),
      {},
    ],
    ["one in an object", { directory: { sticky: true } }, {}],
    ["a source that is refused now", { source: "/etc" }, { source: "/etc" }],
    [
      "a mount point that is refused now",
      { guest: { mountPoint: "/usr" } },
      { guest: { mountPoint: "/usr" } },
    ],
    ["a value that is gone", { accessMode: "mapped-file" }, { accessMode: "mapped-file" }],
    ["a tag that is too long now", { tag: "t".repeat(40) }, { tag: "t".repeat(40) }],
    ["values that cannot be together", { accessMode: "squash", fileMode: "0600" }, { fileMode: "0600" }],
    ["a flag that is a text", { readOnly: "yes" }, { readOnly: false }],
    ["a number that is a text", { timeouts: { bootMs: "long" } }, { timeouts: { bootMs: 300_000 } }],
    [
      "a time-out that is too short now",
      { timeouts: { commandMs: 1 } },
      { timeouts: { commandMs: 120_000 } },
    ],
    ["a text that is a number", { power: 5 }, { power: "never" }],
    ["a list that is none", { guest: { ...guest, selinuxBooleans: 5 } }, { guest: { selinuxBooleans: [] } }],
    [
      "a list with other things in it",
      { guest: { ...guest, selinuxBooleans: ["a", 5] } },
      { guest: { selinuxBooleans: ["a"] } },
    ],
    ["null", { power: null, selinux: null }, { power: "never", selinux: { manage: "auto" } }],
  ])("%s", (_, args, expected) => {
    expect(storedSpec({ ...canonical(), ...args })).toMatchObject(expected);
  });

  test.each<[string, Properties, string]>([
    ["no source", { source: undefined }, "source is not there"],
    ["a source that is a number", { source: 5 }, "source is not there"],
    ["a source that is no path", { source: "foo" }, "source is not there"],
    ["no domain", { domain: "" }, "domain is not there"],
    ["no tag", { tag: null }, "tag is not there"],
    ["a guest without a mount point", { guest: {} }, "guest.mountPoint is not there"],
    ["a guest that is a text", { guest: "web1" }, "guest must be an object"],
    ["a host that is a text", { host: "kvm1" }, "host must be an object"],
  ])("%s is an error with the way out", (_, args, what) => {
    expect(() => storedSpec({ ...canonical(), ...args }, "urn:pulumi:a::b::c::foobar")).toThrow(
      expect.objectContaining({
        code: "stateUnreadable",
        message: expect.stringMatching(
          new RegExp(`${what}[^]*pulumi state delete 'urn:pulumi:a::b::c::foobar'`),
        ) as string,
      }) as Error,
    );
  });
});

describe("migrations", () => {
  // Each release gives the argument another name.
  const chain = Array.from({ length: 17 }, (_, at) => (then: Properties): Properties => {
    const { [`a${at}`]: value, ...rest } = then;
    return { ...rest, [`a${at + 1}`]: value };
  });

  test.each(Array.from({ length: 18 }, (_, version) => version))("of version %i", (version) => {
    const state = { [`a${version}`]: "it", __version: version };
    expect(current(state, chain)).toEqual({ a17: "it", __version: 17 });
    expect(migrated({ [`a${version}`]: "it" }, version + 2, chain, 2)).toEqual({ a17: "it" });
  });

  test("a state of 0.1.0 has no version", () => {
    expect(current({ a0: "it" }, chain)).toEqual({ a17: "it", __version: 17 });
    expect(current({ source: "/a" })).toEqual({ source: "/a", __version: stateVersion });
  });

  const host = { host: "kvm1", password: "geheim", proxy: { host: "gate" } };
  test.each<[string, Properties, Properties]>([
    ["not asked for", { throughHost: false, connection: { host: "web1" } }, { host: "web1" }],
    [
      "asked for",
      { throughHost: true, connection: { host: "web1" } },
      { host: "web1", proxy: { host: "kvm1", password: "geheim" } },
    ],
    [
      "beside a proxy",
      { throughHost: true, connection: { host: "web1", proxy: { host: "other" } } },
      { host: "web1", proxy: { host: "other" } },
    ],
  ])("a guest through its host, %s, has a proxy", (_, guest, connection) => {
    const then = { host: { connection: host }, guest: { mountPoint: "/mnt/a", ...guest }, __version: 1 };
    expect(current(then)["guest"]).toEqual({ mountPoint: "/mnt/a", connection });
  });

  test("file systems that were taken over are left, and what was goes by what the host has of it", () => {
    const directory = { recursive: true, otherFileSystems: "take" };
    expect(current({ directory })["directory"]).toEqual({ ...directory, otherFileSystems: "leave" });
  });

  test.each([18, 300])("version %i is of a later release", (version) => {
    expect(() => current({ __version: version, __logUrn: "urn:a::b" }, chain)).toThrow(
      expect.objectContaining({
        code: "laterRelease",
        message: expect.stringMatching(/install that release[^]*pulumi state delete 'urn:a::b'/) as string,
      }) as Error,
    );
    expect(migrated({}, version + 2, chain, 2)).toBe(later);
  });

  test("a renamed argument is no difference", () => {
    const { multidevs, ...rest } = canonical({ multidevs: "remap" });
    const state = { ...rest, devices: multidevs, status: "active", layers: {} };
    const rename = ({ devices, ...others }: Properties): Properties => ({ ...others, multidevs: devices });
    const news = canonical({ multidevs: "remap" });
    expect(lifecycle.diff(state, news).changes).not.toBe(false);
    expect(lifecycle.diff(current(state, [rename]), news).changes).toBe(false);
  });

  const line = (version: unknown): string =>
    `${JSON.stringify({ version, layer: "device", identity: "a", before: { a2: 1 } })}\n"h/a"\n`;
  const renamed = Array.from(
    { length: 17 },
    (_, at) => (then: { layer: "device"; identity: string; before: object }) => ({
      ...then,
      before: { [`a${at + 3}`]: 1 },
    }),
  );
  test.each<[string, string, unknown]>([
    ["its first form", line(2), { before: { a19: 1 }, references: ["h/a"] }],
    ["no number", line("2"), undefined],
    ["before the first", line(1), undefined],
    ["no record", "null\n", undefined],
    ["a later release's", line(20), later],
  ])("of a record: %s", (_, text, expected) => {
    const found = parse(text, renamed as never);
    if (typeof expected === "object") expect(found).toMatchObject(expected as object);
    else expect(found).toBe(expected);
  });
});
