import fc from "fast-check";
import { check } from "../../../provider/pulumi/lifecycle";
import { hasUnknown, parseSpec, unknownValue } from "../../../provider/spec/spec";
import { leastArgs } from "../sample";

/** Argument trees of every shape: each is answered, soon, and nothing throws. */

/** Milliseconds that one tree may take. */
const limitMs = 100;

/** Milliseconds that some work takes: the least of several, for what else the machine does is no fault of the work. */
function leastMs(work: () => unknown): number {
  const took = (): number => {
    const began = performance.now();
    work();
    return performance.now() - began;
  };
  const first = took();
  return first < limitMs ? first : Math.min(first, ...[1, 2, 3, 4].map(took));
}

const names = [
  ..."source domain tag accessMode readOnly multidevs fileMode directoryMode model otherWriters host".split(
    " ",
  ),
  ..."directory selinux guest power timeouts connection libvirtUri escalate create owner group mode".split(
    " ",
  ),
  ..."recursive keepOwners links manage type newFiles mountPoint options mount msizeBytes cache access".split(
    " ",
  ),
  ..."context extra selinuxBooleans proxy port user password hostKey agentSocketPath commandMs".split(" "),
  ..."__proto__ constructor hasOwnProperty toString valueOf prototype length __defaults".split(" "),
  ..."msize soruce a.b 0".split(" "),
  "",
  "\n",
  "\uFFFE",
];
const secret = { "4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270", value: "geheim" };
const cyclic: Record<string, unknown> = { mountPoint: "/mnt/a" };
cyclic["guest"] = cyclic;
cyclic["extra"] = [cyclic];

const leaf = fc.oneof(
  fc.constantFrom<unknown>(
    ...["/foo/bar", "relative", "", "mapped", "750", "qemu", "a,b", "/\uFFFE", "\uD800", "now", unknownValue],
    ...[
      null,
      undefined,
      NaN,
      Infinity,
      -0,
      0,
      1,
      1.5,
      2n,
      true,
      false,
      Symbol("s"),
      new Date(0),
      new Date(NaN),
    ],
    ...[() => 1, /x/, new Map([[1, 2]]), new Set(), new Uint8Array(3), Object.create(null), secret],
    ...[
      cyclic,
      [],
      [[]],
      [cyclic],
      { toString: 1 },
      { valueOf: 1 },
      Object.create({ source: "/in/herited" }),
    ],
  ),
  fc.string({ unit: "binary" }),
  fc.anything({ withBigInt: true, withDate: true, withNullPrototype: true, maxDepth: 1, maxKeys: 2 }),
);
const { tree } = fc.letrec<{ tree: unknown }>((tie) => ({
  tree: fc.oneof(
    { maxDepth: 4, withCrossShrink: true },
    leaf,
    fc.dictionary(fc.oneof(fc.constantFrom(...names), fc.string()), tie("tree"), { maxKeys: 4 }),
    fc.array(tie("tree"), { maxLength: 3 }),
  ),
}));
const args = fc.dictionary(
  fc.oneof({ weight: 5, arbitrary: fc.constantFrom(...names) }, { weight: 1, arbitrary: fc.string() }),
  tree,
  {
    maxKeys: 8,
  },
);

test("each of 10,000 generated trees is answered in time, and none throws", () => {
  fc.assert(
    fc.property(args, fc.boolean(), (given, complete) => {
      const whole = complete ? { ...leastArgs, ...given } : given;
      expect(leastMs(() => check(whole))).toBeLessThan(limitMs);
      const { failures, inputs } = check(whole);
      expect(
        failures.filter(({ property, reason }) => typeof property !== "string" || reason === ""),
      ).toEqual([]);
      // What is accepted, Pulumi's state can hold, and it is accepted again as it is.
      if (failures.length > 0 || hasUnknown(whole)) return;
      expect(JSON.parse(JSON.stringify(inputs))).toEqual(inputs);
      expect(check(inputs)).toEqual({ inputs, failures: [] });
    }),
    { numRuns: 10_000, verbose: fc.VerbosityLevel.Verbose },
  );
}, 300_000);

const nested = (levels: number): unknown => {
  let value: unknown = "/deep";
  for (let level = 0; level < levels; level++) value = level % 2 === 0 ? { a: value } : [value];
  return value;
};
const places = {
  "an unknown name": (value: unknown) => ({ soruce: value }),
  "an object": (value: unknown) => ({ guest: value }),
  "a text": (value: unknown) => ({ source: value }),
  "a list": (value: unknown) => ({ guest: { mountPoint: "/mnt/a", options: { extra: [value] } } }),
  "a connection": (value: unknown) => ({ host: { connection: { host: value, proxy: value } } }),
  "what begins with underscores": (value: unknown) => ({ __former: value }),
};

test.each(
  Object.entries(places).flatMap(([place, at]) =>
    [1, 17, 300, 3000, 20_000].map((levels) => ({ place, levels, at })),
  ),
)("$levels levels in $place", ({ levels, at }) => {
  const deep = at(nested(levels));
  const given = { ...leastArgs, ...deep };
  expect(leastMs(() => check(given))).toBeLessThan(limitMs);
  expect(leastMs(() => parseSpec(given))).toBeLessThan(limitMs);
  expect(leastMs(() => hasUnknown(deep))).toBeLessThan(limitMs);
});

test.each([0, 1, 17, 300, 20_000])("%d unknown names: each named once, in order, in time", (count) => {
  const unknown = Array.from({ length: count }, (_, index) => `nmae${String(index).padStart(5, "0")}`);
  const given = { ...leastArgs, ...Object.fromEntries(unknown.toReversed().map((name) => [name, 1])) };
  expect(parseSpec(given).failures.map(({ property }) => property)).toEqual(unknown);
  // Twenty times the work of a thousand, and not four hundred times: that was four minutes.
  expect(leastMs(() => parseSpec(given))).toBeLessThan(1000);
});
