import { Call, type Work } from "../../../provider/power/coordinator";

const calls: Call[] = [];
const begin = (work: Partial<Work>): Call => {
  const all = {
    host: "kvm1",
    domain: "web1",
    sources: [],
    makes: undefined,
    takes: [],
    spec: undefined,
    name: undefined,
    ...work,
  };
  const call = new Call(all);
  calls.push(call);
  return call;
};
afterEach(() => {
  for (const call of calls.splice(0)) call.end(false);
});

/** Whether a wait is over by now, and what it came to. */
const stateOf = async (wait: Promise<boolean>): Promise<boolean | "waits"> => {
  await new Promise((resolve) => setTimeout(resolve, 5));
  return Promise.race([wait, Promise.resolve("waits" as const)]);
};

test.each([
  ["of one directory", "/srv/a"],
  ["of which one lies in the other's", "/srv/a/b"],
  ["of which one has the other's in it", "/srv"],
])(
  "of two %s the second waits until the first has written, and gives back when that is through",
  async (_, other) => {
    const [a, b] = [begin({ sources: ["/srv/a"] }), begin({ sources: ["/other", other] })];
    expect(await a.follow("written")).toBe(false);
    const first = b.follow("written");
    expect(await stateOf(first)).toBe("waits");
    a.reach("written");
    expect([await first, await b.follow("written")]).toEqual([true, false]);
    b.reach("written");
    const last = b.follow("ended");
    expect([await a.follow("ended"), await stateOf(last)]).toEqual([false, "waits"]);
    a.reach("ended");
    expect([await last, await b.follow("ended")]).toEqual([true, false]);
  },
);

test.each<[string, Partial<Work>, Partial<Work>]>([
  ["other directories", { sources: ["/srv/a"] }, { sources: ["/srv/ab"] }],
  ["other hosts", { sources: ["/srv/a"] }, { host: "kvm2", sources: ["/srv/a"] }],
  ["mount points beside each other", { makes: "/mnt/a" }, { makes: "/mnt/ab" }],
  ["mount points of other domains", { makes: "/mnt/a" }, { domain: "web2", makes: "/mnt/a/b" }],
  ["one that makes and one that takes away", { makes: "/mnt/a" }, { takes: ["/mnt/a/b"] }],
])("%s: nobody waits", async (_, one, other) => {
  const [a, b] = [begin(one), begin(other)];
  expect([
    await a.follow("written"),
    await b.follow("written"),
    await a.follow("ended"),
    await b.follow("ended"),
  ]).toEqual(Array(4).fill(false));
});

test.each<[string, Partial<Work>, Partial<Work>]>([
  ["the larger is made first", { makes: "/mnt/a" }, { makes: "/mnt/a/b" }],
  ["the larger is taken away last", { takes: ["/mnt/a/b"] }, { takes: ["/mnt/a"] }],
  [
    "of one directory, too",
    { takes: ["/mnt/a/b"], sources: ["/srv/a"] },
    { takes: ["/mnt/a"], sources: ["/srv/a"] },
  ],
])("of mount points in each other %s, whoever came first", async (_, ahead, behind) => {
  for (const order of [
    [ahead, behind],
    [behind, ahead],
  ]) {
    const both = order.map((work) => begin(work));
    const [a, b] = order[0] === ahead ? both : both.toReversed();
    expect(await a?.follow("written")).toBe(false);
    const wait = b?.follow("written") ?? Promise.resolve(false);
    expect(await stateOf(wait)).toBe("waits");
    a?.reach("ended");
    expect(await wait).toBe(true);
    b?.reach("ended");
  }
});

test("nobody waits for who waits for it: three of one directory, of which two lie in each other", async () => {
  const sources = ["/srv/a"];
  const outer = begin({ sources, takes: ["/mnt/a"] });
  const other = begin({ sources, domain: "web2" });
  const inner = begin({ sources, takes: ["/mnt/a/b"] });
  const waits = [outer.follow("written"), other.follow("written"), inner.follow("written")];
  expect(await Promise.all(waits.map(stateOf))).toEqual(["waits", "waits", false]);
  inner.reach("written");
  expect(await waits[0]).toBe(true);
  outer.reach("written");
  expect(await waits[1]).toBe(true);
});
