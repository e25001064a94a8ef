import { Call } from "../../../provider/power/coordinator";
import type { PowerAnswer, PowerAsk } from "../../../provider/power/cycle";

const tick = () => new Promise<void>((resolve) => setImmediate(resolve));

const cycles: string[][] = [];
let failing = false;
/** Answers with who asked together. */
const carryOut = (asks: readonly PowerAsk[]): Promise<PowerAnswer> => {
  const names = asks.map(({ share }) => share.tag);
  cycles.push(names);
  return failing
    ? Promise.reject(new Error("no"))
    : Promise.resolve({ log: names.join("+"), look: { values: new Map(), raw: new Map() }, count: 1 });
};

const begun: Call[] = [];
/** A call for a domain of one and the same host; undefined: it has not seen which. */
const at = (domain?: string, makes?: string): Call => {
  const work = { host: "kvm1", domain: "", sources: [], makes, takes: [] };
  const call = new Call({ ...work, spec: undefined, name: undefined }, carryOut);
  if (domain !== undefined) call.isFor(domain);
  begun.push(call);
  return call;
};
const cycle = async (call: Call, tag: string): Promise<string> =>
  (await call.cycle({ share: { tag } } as PowerAsk)).log;

beforeEach(() => {
  cycles.splice(0);
  failing = false;
});
afterEach(() => {
  for (const call of begun.splice(0)) call.end(false);
});

test("one call alone is served at once", async () => {
  expect(await cycle(at("web1"), "a")).toBe("a");
  expect(cycles).toEqual([["a"]]);
});

test("calls in flight share one cycle: it waits until all have asked", async () => {
  const [a, b] = [at("web1"), at("web1")];
  const first = cycle(a, "a");
  await tick();
  expect(cycles).toEqual([]);
  expect(await Promise.all([first, cycle(b, "b")])).toEqual(["a+b", "a+b"]);
});

test.each(["settled", "ended"] as const)("or have %s without asking", async (stage) => {
  const [a, b] = [at("web1"), at("web1")];
  const first = cycle(a, "a");
  b.reach("written");
  await tick();
  expect(cycles).toEqual([]);
  b.reach(stage);
  b.reach(stage);
  expect(await first).toBe("a");
  expect(cycles).toEqual([["a"]]);
});

test("another domain is not waited for", async () => {
  at("web2");
  expect(await cycle(at("web1"), "a")).toBe("a");
});

test("a call that has not seen its domain yet is waited for", async () => {
  const [a, b, c] = [at("web1"), at(), at()];
  const first = cycle(a, "a");
  b.isFor("web2");
  await tick();
  expect(cycles).toEqual([]);
  c.isFor("web1");
  expect(await Promise.all([first, cycle(c, "c")])).toEqual(["a+c", "a+c"]);
});

test("a later call takes a cycle of its own, when the ones before it are through", async () => {
  const a = at("web1");
  expect(await cycle(a, "a")).toBe("a");
  const second = cycle(at("web1"), "b");
  await tick();
  expect(cycles).toEqual([["a"]]);
  a.reach("settled");
  expect(await second).toBe("b");
  expect(cycles).toEqual([["a"], ["b"]]);
});

test("a failed cycle fails all that asked, and the next is tried anew", async () => {
  failing = true;
  const [a, b] = [at("web1"), at("web1")];
  expect(await Promise.allSettled([cycle(a, "a"), cycle(b, "b")])).toEqual([
    { status: "rejected", reason: new Error("no") },
    { status: "rejected", reason: new Error("no") },
  ]);
  failing = false;
  b.reach("settled");
  await expect(cycle(a, "again")).resolves.toBe("again");
});

test("a call that waits for one that needs a cycle is not waited for", async () => {
  const inner = at("web1", "/mnt/out/in");
  expect(await cycle(inner, "inner")).toBe("inner");
  const outer = at("web1", "/mnt/out");
  outer.reach("written");
  const settled = inner.follow("settled");
  expect(await cycle(outer, "outer")).toBe("outer");
  outer.reach("settled");
  expect(await settled).toBe(true);
});

test("nor one that begins to wait for it when it has asked", async () => {
  const [inner, outer] = [at("web1", "/mnt/out/in"), at("web1", "/mnt/out")];
  outer.reach("written");
  const asked = cycle(outer, "outer");
  await tick();
  expect(cycles).toEqual([]);
  const settled = inner.follow("settled");
  expect(await asked).toBe("outer");
  outer.reach("settled");
  expect(await settled).toBe(true);
});
