import { check, diff, update } from "../../../provider/pulumi/lifecycle";
import { type Properties, specOf, withoutConnections } from "../../../provider/pulumi/state";
import { unknownValue } from "../../../provider/spec/spec";
import { stateVersion } from "../../../provider/pulumi/state-migrations";
import { leastArgs, uuid } from "../sample";

const inputsOf = (args: Properties = {}): Properties =>
  check({ ...leastArgs, ...args, __provider: "p" }).inputs;

const layersOk = {
  directory: "ok",
  selinux: "ok",
  device: "ok",
  modules: "unmanaged",
  fstab: "unmanaged",
  mount: "unmanaged",
  guestOwnership: "unmanaged",
  guestBooleans: "unmanaged",
};

/** Outputs of a share that is as declared. */
const outputsOf = (args: Properties = {}, more: Properties = {}): Properties => ({
  ...inputsOf(args),
  status: "active",
  statusReason: "asDeclared",
  layers: layersOk,
  domainUuid: uuid,
  domainName: "web1",
  directoryOwner: "64055:108",
  fstabEntry: "",
  mountOptions: "",
  before: {},
  __former: [],
  __version: stateVersion,
  ...more,
});

const session = { libvirtUri: "qemu:///session" };
/** A host over SSH; a guest over SSH. */
const over = (connection: object, more: object = {}): Properties => ({
  host: { connection: { host: "kvm1", ...connection }, ...more },
});
const reached = (connection: object): object => ({
  mountPoint: "/mnt/a",
  connection: { host: "web1", ...connection },
});

const same = { changes: false, replaces: [], deleteBeforeReplace: true };
const changed = { ...same, changes: true };
/** The engine compares the inputs itself. */
const differing = { ...same, changes: undefined };

describe("check", () => {
  test("keeps what the class hands in for itself, and takes no output for an argument", () => {
    const { inputs, failures } = check({ ...leastArgs, __provider: "p", status: unknownValue, before: {} });
    expect(failures).toEqual([]);
    expect(inputs).toMatchObject({ __provider: "p", source: "/foo/bar" });
    expect(Object.keys(inputs)).not.toEqual(expect.arrayContaining(["status"]));
  });

  test("gives nothing that Pulumi's state cannot hold", () => {
    const { inputs } = check(leastArgs);
    expect(JSON.parse(JSON.stringify(inputs))).toEqual(inputs);
    expect(Object.keys(inputs["directory"] as object)).not.toContain("mode");
  });

  const named = (name: string): Properties => ({ __logUrn: `urn:pulumi:a::b::c::${name}` });
  const untagged = Object.fromEntries(Object.entries(leastArgs).filter(([key]) => key !== "tag"));
  test.each<[string, Properties, Properties, unknown]>([
    ["new, none written", { tag: "new", __tagIsName: true }, {}, "new"],
    ["renamed, none written", { tag: "new", __tagIsName: true }, { tag: "old" }, "old"],
    ["renamed, written", { tag: "mine" }, { tag: "old" }, "mine"],
    ["written, the name", { tag: "new" }, { tag: "old" }, "new"],
    ["not handed in at all", {}, {}, "new"],
    ["not handed in at all, renamed", {}, { tag: "old" }, "old"],
    ["written, not known yet", { tag: unknownValue }, { tag: "old" }, unknownValue],
  ])("a tag: %s", (_, news, olds, expected) => {
    const { inputs, failures } = check({ ...untagged, ...named("new"), ...news }, olds);
    expect([inputs["tag"], failures]).toEqual([expected, []]);
  });

  test.each<[string, Properties, string]>([
    [
      "a".repeat(40),
      {},
      "is not written, and its default, the name of this resource, must have at most 31 bytes: write a tag",
    ],
    [
      "a,b",
      {},
      "is not written, and its default, the name of this resource, must not contain a comma: write a tag",
    ],
    [
      "new",
      { tag: "a,b" },
      "is not written, and its default, what the state has, must not contain a comma: write a tag",
    ],
  ])("a default that is no tag: %s", (name, olds, reason) => {
    const news = { ...leastArgs, ...named(name), tag: name, __tagIsName: true };
    expect(check(news, olds).failures).toEqual([{ property: "tag", reason }]);
    expect(check({ ...leastArgs, tag: "a,b" }).failures).toEqual([
      { property: "tag", reason: "must not contain a comma" },
    ]);
  });

  test("underscores make no argument of the class's own", () => {
    expect(check({ ...leastArgs, __power: "force" }).failures).toEqual([
      { property: "__power", reason: "is not an argument: did you mean power?" },
    ]);
  });

  test("canonical inputs are checked into themselves", () => {
    const inputs = inputsOf({ source: "/a//b/", guest: { mountPoint: "/mnt/a/", mode: "750" } });
    expect(check(inputs)).toEqual({ inputs, failures: [] });
  });
});

describe("update", () => {
  // No machine is at hand: each of these would be an error if one were asked.
  test.each<[string, Properties, Properties]>([
    ["a password", over({ password: "old" }), over({ password: "new" })],
    ["a key", over({ privateKey: "old" }), over({ privateKey: "new", privateKeyPassword: "word" })],
    ["a proxy", over({}), over({ proxy: { host: "gate" } })],
    ["a time-out", over({}), { ...over({}), timeouts: { bootMs: 1000 } }],
    ["whether keys are looked at", over({}), over({}, { verifyHostKey: false })],
    ["a password of the guest", { guest: reached({}) }, { guest: reached({ password: "new" }) }],
  ])("%s only reaches the state", async (_, olds, news) => {
    expect(await update("id", outputsOf(olds), inputsOf(news))).toEqual(outputsOf(news));
  });

  const nowhere = { dialErrorLimit: 0, host: "nowhere.invalid", agentSocketPath: "/nowhere" };
  test.each<[string, Properties, Properties, Properties]>([
    [
      "what is left over can be given back",
      { timeouts: { bootMs: 1000 } },
      { __former: [inputsOf()] },
      { power: "restart" },
    ],
    ["a layer is missing", { timeouts: { bootMs: 1000 } }, { layers: { device: "missing" } }, {}],
    ["the guest has another address", { guest: reached({ port: 2222 }) }, {}, { guest: reached({}) }],
  ])("%s: the machines are asked", async (_, news, more, olds) => {
    const host = over(nowhere);
    await expect(
      update("id", outputsOf({ ...host, ...olds }, more), inputsOf({ ...host, ...olds, ...news })),
    ).rejects.toThrow("[hostUnreachable]");
  });
});

describe("diff", () => {
  test.each<[string, Properties, Properties]>([
    ["nothing", {}, {}],
    ["the order of keys", { power: "never", tag: "foobar" }, { tag: "foobar", power: "never" }],
    [
      "the order of nested keys",
      { guest: { mountPoint: "/mnt/a", mount: "now" } },
      { guest: { mount: "now", mountPoint: "/mnt/a" } },
    ],
    ["another form of a path", { source: "/foo/bar" }, { source: "//foo/./bar/" }],
    ["another form of a mode", { directory: { mode: "750" } }, { directory: { mode: "0o750" } }],
    ["a default written out", {}, { readOnly: false, power: "never" }],
    ["the domain by UUID", { domain: "web1" }, { domain: uuid }],
    ["the domain by UUID in capitals", { domain: "web1" }, { domain: uuid.toUpperCase() }],
    ["the domain by name", { domain: uuid }, { domain: "web1" }],
    ["keys of the class", { __logUrn: "a" }, { __logUrn: "b" }],
  ])("%s: no change", (_, olds, news) => {
    expect(diff(outputsOf(olds), inputsOf(news))).toEqual(same);
  });

  test.each<[string, Properties, Properties]>([
    ["source", {}, { source: "/foo/baz" }],
    ["power", {}, { power: "start" }],
    ["a time-out", {}, { timeouts: { bootMs: 1000 } }],
    ["a guest that came", {}, { guest: { mountPoint: "/mnt/a" } }],
    ["a guest that went", { guest: { mountPoint: "/mnt/a" } }, {}],
    [
      "the order of options, for it is the line's",
      { guest: { mountPoint: "/mnt/a", options: { extra: ["noatime", "sync"] } } },
      { guest: { mountPoint: "/mnt/a", options: { extra: ["sync", "noatime"] } } },
    ],
    ["escalation", {}, { host: { escalate: "sudo" } }],
    ["a password", over({ password: "old" }), over({ password: "new" })],
    ["a proxy", over({}), over({ proxy: { host: "gate" } })],
    [
      "the guest's address",
      { guest: reached({ host: "10.0.0.5" }) },
      { guest: reached({ host: "10.0.0.6" }) },
    ],
  ])("%s: an update, whose paths the engine finds", (_, olds, news) => {
    expect(diff(outputsOf(olds), inputsOf(news))).toEqual(differing);
    const drifted = outputsOf(olds, { layers: { ...layersOk, directory: "differs" } });
    expect(diff(drifted, inputsOf(news))).toEqual(changed);
    const imported = outputsOf(olds, { status: undefined, layers: undefined });
    expect(diff(imported, inputsOf(olds))).toEqual(changed);
  });

  test.each<[string, Properties, Properties, readonly string[]]>([
    ["another domain", {}, { domain: "web2" }, ["domain"]],
    ["another UUID", {}, { domain: uuid.replace("1", "2") }, ["domain"]],
    ["another libvirt", {}, { host: { libvirtUri: "qemu:///session" } }, ["host"]],
    ["another user's libvirt", over({}, session), over({ user: "me" }, session), ["host"]],
    ["this machine and another", {}, over({}), ["host"]],
    ["another address", over({}), over({ host: "kvm2" }), ["host"]],
    ["another port", over({}), over({ port: 2222 }), ["host"]],
  ])("%s: a replacement, the old one deleted first", (_, olds, news, replaces) => {
    expect(diff(outputsOf(olds), inputsOf(news))).toEqual({ ...changed, replaces });
  });

  test("what a former spec left, without the ways to its machines", () => {
    const former = withoutConnections(
      specOf(
        inputsOf({
          ...over({ password: "secret" }),
          guest: reached({ password: "secret" }),
        }),
      ),
    );
    expect(JSON.stringify(former)).not.toContain("secret");
    expect(diff(outputsOf({}, { __former: [former] }), inputsOf())).toEqual(same);
    expect(diff(outputsOf({}, { __former: [former] }), inputsOf({ power: "restart" }))).toEqual(changed);
  });

  test.each(["source", "domain", "host", "tag", "guest"])("%s not known yet: no replacement", (name) => {
    expect(diff(outputsOf(), inputsOf({ [name]: unknownValue }))).toEqual(differing);
  });

  describe("what the outputs say of the machines", () => {
    type Row = readonly [
      status: string,
      reason: string,
      layers: Partial<Record<keyof typeof layersOk, string>>,
      changesWith: readonly string[],
    ];
    const all = ["never", "start", "restart", "force"];
    const cycle = ["restart", "force"];
    const waits = { mount: "missing", guestOwnership: "unknown" };
    test.each<Row>([
      ["active", "asDeclared", {}, []],
      ["active", "asDeclared", { directory: "differs" }, all],
      ["active", "asDeclared", { device: "missing" }, all],
      ["active", "asDeclared", { mount: "missing" }, all],
      ["active", "asDeclared", { modules: "unknown" }, all],
      ["incomplete", "stepFailed", {}, all],
      ["pendingGuest", "guestUnreachable", {}, all],
      ["pendingGuest", "guestUnreachable", { fstab: "unknown", mount: "unknown" }, all],
      ["pendingPowerCycle", "deviceNotLive", waits, cycle],
      ["pendingPowerCycle", "deviceDiffersLive", waits, cycle],
      ["pendingPowerCycle", "deviceStillLive", {}, cycle],
      ["pendingPowerCycle", "deviceNotLive", { ...waits, fstab: "differs" }, all],
      ["pendingPowerCycle", "blockJob", waits, []],
      ["pendingPowerCycle", "liveOnlyDevices", waits, []],
      ["off", "domainOff", { modules: "unknown", fstab: "unknown", ...waits }, ["start", ...cycle]],
      ["off", "domainOff", { device: "missing" }, all],
      ["off", "managedSave", { fstab: "unknown" }, []],
      ["pendingRemount", "mountBusy", { mount: "differs" }, []],
      ["pendingRemount", "mountDiffers", { mount: "differs" }, all],
      ["pendingRemount", "notMounted", { mount: "missing" }, all],
      ["domainMissing", "domainMissing", { device: "unknown" }, all],
    ])("%s, %s, %j: an update with %j", (status, statusReason, layers, changesWith) => {
      const differing = all.filter((power) => {
        const outputs = outputsOf({ power }, { status, statusReason, layers: { ...layersOk, ...layers } });
        return diff(outputs, inputsOf({ power })).changes;
      });
      expect(differing).toEqual(changesWith);
    });

    test.each([
      ["never", false],
      ["start", false],
      ["restart", true],
      ["force", true],
    ])("a former source that the running QEMU still has, power %s: %s", (power, changes) => {
      const outputs = outputsOf({ power }, { __former: [inputsOf({ source: "/old" })] });
      expect(diff(outputs, inputsOf({ power })).changes).toBe(changes);
    });
  });
});
