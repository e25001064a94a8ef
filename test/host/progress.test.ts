import { rmSync } from "node:fs";
import { providerText } from "../../provider/pulumi/resource";
import { Engine, silence } from "./engine";
import { FakeLibvirt, uuid } from "./fake-libvirt";
import { packedInstall } from "../packed-install";
import { type CallFailure, type Properties, ProviderProcess } from "./provider-process";

/** What the real provider process tells the engine that started it. */

const urn = "urn:pulumi:lab::e2e::pulumi-nodejs:dynamic/virtio9p:Virtio9pShare::foobar";
const off = "web1 is off";

let folder: string;
beforeAll(async () => {
  folder = await packedInstall();
}, 120_000);
afterAll(() => {
  rmSync(folder, { recursive: true });
});

let host: FakeLibvirt;
const undo: (() => unknown)[] = [];
beforeEach(() => {
  host = new FakeLibvirt();
  undo.push(() => {
    host.remove();
  });
});
afterEach(async () => {
  for (const one of undo.splice(0).reverse()) await one();
});

const start = async (address: string, env: NodeJS.ProcessEnv = {}): Promise<ProviderProcess> => {
  const provider = await ProviderProcess.start(folder, address, { ...host.env, ...env });
  undo.push(() => provider.stop());
  return provider;
};
const engine = async (answers = true): Promise<Engine> => {
  const started = await Engine.start(answers);
  undo.push(() => {
    started.stop();
  });
  return started;
};
const inputsOf = async (
  provider: ProviderProcess,
  more: Properties = { __logUrn: urn },
): Promise<Properties> =>
  (await provider.check({ ...host.share("foobar"), __provider: providerText, ...more })).inputs;
const step = (message: string) => ({ urn, severity: "INFO", ephemeral: true, message });
const warning = (message: string) => ({ urn, severity: "WARNING", ephemeral: false, message });

test("steps in their order, ephemeral, then the warnings, which stay; nothing on standard error", async () => {
  const { address, lines } = await engine();
  const provider = await start(address);
  const { id, outputs } = await provider.create(await inputsOf(provider));
  expect(lines).toEqual([
    step(`remember what was found of directory ${host.folder}/srv-foobar, device foobar`),
    step(`make ${host.folder}/srv-foobar`),
    step(`declare foobar (${host.folder}/srv-foobar, passthrough) in the domain`),
    warning(`foobar: ${off}`),
  ]);
  expect(outputs).toMatchObject({ __logUrn: urn, status: "off", domainUuid: uuid });

  lines.length = 0;
  const found = await provider.read(id, outputs);
  expect([lines, found.outputs["__logUrn"], found.inputs["__logUrn"]]).toEqual([
    [warning(`foobar: ${off}`)],
    urn,
    urn,
  ]);

  lines.length = 0;
  const moved = { __logUrn: `${urn}-new` };
  const renaming = await start(address);
  await renaming.update(id, outputs, await inputsOf(renaming, { ...moved, readOnly: true }));
  expect(lines.length).toBeGreaterThan(1);
  expect(new Set(lines.map((line) => line.urn))).toEqual(new Set([`${urn}-new`]));

  lines.length = 0;
  // One of its own, as in the next `pulumi destroy`.
  const next = await start(address);
  await next.delete(id, outputs);
  expect(lines.map(({ message }) => message)).toContainEqual(
    expect.stringMatching(/^forget what was found of .*device foobar/),
  );
  expect(lines.map(({ severity }) => severity)).not.toContain("ERROR");
  expect(provider.stderr + renaming.stderr + next.stderr).toBe("");
}, 60_000);

test.each([
  ["that was undone", "refuses", "stepFailed", undefined],
  ["in the middle", "kills", "transportFailed", urn],
] as const)(
  "a failure %s is the call's, not the log's",
  async (_, fault, code, stored) => {
    const { address, lines } = await engine();
    host.fail(fault);
    const provider = await start(address);
    const failure = await provider.create(await inputsOf(provider)).catch((error: unknown) => error);
    const { message, partial } = failure as CallFailure;
    expect(message.match(new RegExp(`\\[${code}\\]`, "g"))).toHaveLength(1);
    expect(partial?.properties["__logUrn"]).toBe(stored);
    expect([...new Set(lines.map(({ severity }) => severity))]).toEqual(["INFO"]);
    expect(provider.stderr).toBe("");
  },
  60_000,
);

type Absent = readonly [name: string, address: () => Promise<string>, urn: Properties];
test.each<Absent>([
  ["a state without the URN", async () => (await engine()).address, {}],
  ["no engine at the address", () => Promise.resolve("127.0.0.1:0"), { __logUrn: urn }],
  ["an address that is none", () => Promise.resolve("nowhere"), { __logUrn: urn }],
  ["an engine that never answers", async () => (await engine(false)).address, { __logUrn: urn }],
  [
    "something that is no engine",
    async () => {
      const { address, stop } = await silence();
      undo.push(stop);
      return address;
    },
    { __logUrn: urn },
  ],
])(
  "%s: the warning is a line with the tag, once, and the call ends in time",
  async (_, address, more) => {
    const provider = await start(await address());
    const inputs = await inputsOf(provider, more);
    const { outputs, id } = await provider.create(inputs);
    expect(outputs).toMatchObject({ status: "off" });
    expect(provider.stderr).toBe(`foobar: warning: ${off}\n`);
    const began = performance.now();
    await provider.read(id, outputs);
    // One look takes some 0.3 s, the courtesy at most 0.5 s more.
    expect(performance.now() - began).toBeLessThan(8000);
    expect(provider.stderr).toBe(`foobar: warning: ${off}\n`.repeat(2));
  },
  60_000,
);

test("an engine that goes away: what it was not told is told elsewhere", async () => {
  const started = await engine();
  const provider = await start(started.address);
  const { id, outputs } = await provider.create(await inputsOf(provider));
  expect(started.lines).not.toEqual([]);
  started.stop();
  await provider.read(id, outputs);
  expect(provider.stderr).toBe(`foobar: warning: ${off}\n`);
}, 60_000);

test("VIRTIO9P_LOG=steps: the steps are lines too, and the row has them as ever", async () => {
  const { address, lines } = await engine();
  const provider = await start(address, { VIRTIO9P_LOG: "steps" });
  await provider.create(await inputsOf(provider));
  const steps = lines.filter(({ ephemeral }) => ephemeral).map(({ message }) => `foobar: ${message}\n`);
  expect(provider.stderr).toBe(steps.join(""));
}, 60_000);

test("VIRTIO9P_LOG=scripts: every script, with its end", async () => {
  const provider = await start((await engine()).address, { VIRTIO9P_LOG: "scripts" });
  await provider.create(await inputsOf(provider));
  const begun = provider.stderr.match(/^foobar: script \d+ on this machine:$/gm);
  const ended = provider.stderr.match(/^foobar: script \d+ on this machine: status 0 after \d+\.\d{3} s$/gm);
  expect([begun?.length, ended?.length]).toEqual([2, 2]);
  expect(provider.stderr).toMatch(/^foobar: {3}status 0 after \d+\.\d{3} s: declare foobar /m);
}, 60_000);
