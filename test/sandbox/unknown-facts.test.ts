import { mkdirSync, rmdirSync } from "node:fs";
import { layers } from "../../provider/layers/index";
import { bind, type Bindings } from "../../provider/engine/binding";
import { hostFacts } from "../../provider/share/observe";
import { Life } from "./life";
import { specOf } from "../unit/sample";

jest.mock("../../provider/share/machines", () => jest.requireActual<object>("./life-machines"));

/** A look that fails for a reason of its own: what it costs on the way up, on refresh and on destroy. */

let life: Life;
beforeEach(() => {
  life = new Life();
  mkdirSync(life.box.path("srv/a"));
});
afterEach(() => {
  life.remove();
});

const args = () => ({
  guest: { mountPoint: life.box.path("guest/mnt/a"), owner: "0" },
  power: "restart",
});
const problemOf = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => "no error",
    (error: unknown) => (error as Error).message,
  );

// The sandbox has folders of its own each time: facts are told apart by what they do, without paths.
const words = (does: string): string =>
  does
    .split(/\/\S+/)
    .map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"))
    .join("\\S+");
const exactly = (...all: readonly string[]): RegExp => new RegExp(`^(${all.map(words).join("|")})$`);
const saying = (does: string): RegExp => new RegExp(`(tried: |could not )${words(does)}( on |\n|$)`);
const sample = specOf({
  source: "/tmp/a/b",
  guest: { mountPoint: "/tmp/c/d", owner: "0" },
  selinux: { manage: "never" },
});
const doesOf = (bindings: Bindings): string[] => [
  ...new Set(
    [...bindings.ensure, ...bindings.release].flatMap(({ facts }) =>
      Object.values(facts).map(({ does }) => does),
    ),
  ),
];
const always = [...hostFacts({ ensure: [], release: [] }).values()].map(({ does }) => does);
const up = doesOf(bind(layers, sample, [])).filter((does) => !always.includes(does));

const needed = bind(layers, undefined, [sample]).release.flatMap(({ facts, spared }) =>
  Object.entries(facts).flatMap(([name, { does }]) => (spared.has(name) ? [] : [does])),
);
const down = [...new Set(needed)];
const compared = doesOf(bind(layers, sample, [], "drift"));
const isIn = (list: readonly string[], does: string): boolean => list.some((one) => exactly(one).test(does));

test("create is refused before the first change, whatever cannot be looked at", async () => {
  const before = life.box.snapshot();
  for (const does of up) {
    life.box.failing = exactly(does);
    expect(await problemOf(life.create(args()))).toMatch(saying(does));
    expect(life.box.snapshot()).toEqual(before);
  }
});

test("refresh says what it could not look at, and finds every other layer", async () => {
  await life.create(args());
  const { outputs } = life;
  expect(outputs["status"]).toBe("active");
  for (const does of up) {
    life.outputs = outputs;
    life.box.failing = exactly(does);
    const found = await life.read();
    const said = life.warnings.filter((text) => saying(does).test(text));
    expect([does, said.length > 0]).toEqual([does, isIn(compared, does)]);
    const then = outputs["layers"] as Record<string, string>;
    const states = Object.entries(found?.outputs["layers"] ?? {}) as [string, string][];
    const others = states.filter(([layer, state]) => state !== then[layer]);
    expect([does, others.filter(([, state]) => state !== "unknown")]).toEqual([does, []]);
    expect([does, states.some(([, state]) => state === "ok")]).toEqual([does, true]);
  }
});

test("destroy is refused for what it needs alone, before anything is touched", async () => {
  const before = life.box.snapshot();
  await life.create(args());
  const made = life.box.snapshot();
  for (const does of up.filter((one) => isIn(down, one))) {
    life.box.failing = exactly(does);
    expect(await problemOf(life.destroy())).toMatch(saying(does));
    expect(life.box.snapshot()).toEqual(made);
  }
  const spared = up.filter((one) => !isIn(down, one));
  life.box.failing = exactly(...spared);
  expect(await problemOf(life.destroy())).toBe("no error");
  expect(life.box.snapshot()).toEqual(before);
});

test("what only the way up has to know keeps neither a refresh nor a destroy from its way", async () => {
  const more = { source: life.box.path("srv/made"), selinux: { manage: "auto" } };
  const before = life.box.snapshot();
  await life.create({ ...args(), ...more });
  const { outputs } = life;
  const all = specOf({ ...more, source: "/tmp/a/b", guest: { mountPoint: "/tmp/c/d", owner: "0" } });
  const asked = doesOf(bind(layers, all, [])).filter((does) => !always.includes(does));
  const seen = doesOf(bind(layers, all, [], "drift"));
  life.box.failing = exactly(...asked.filter((does) => !isIn(seen, does)));
  expect((await life.read())?.outputs["layers"]).toEqual(outputs["layers"]);
  expect(life.warnings).toEqual([]);

  const musts = bind(layers, undefined, [all]).release.flatMap(({ facts, spared }) =>
    Object.entries(facts).flatMap(([name, { does }]) => (spared.has(name) ? [] : [does])),
  );
  const spared = asked.filter((does) => !isIn(musts, does));
  for (const about of [
    "see what other domains export",
    "look at the directories above /tmp/a/b",
    "ask which file-context rules match /tmp/a/b",
    "ask the policy which range the guest's new files get",
    "look at the labels in /tmp/a/b",
  ])
    expect(spared).toContain(about);
  life.box.failing = exactly(...spared);
  expect(await problemOf(life.destroy())).toBe("no error");
  expect(life.warnings.filter((text) => text.includes("which this share made, stays"))).toHaveLength(1);
  rmdirSync(life.box.path("srv/made"));
  expect(life.box.snapshot()).toEqual(before);
});
