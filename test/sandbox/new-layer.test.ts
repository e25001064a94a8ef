import { mkdirSync, rmSync } from "node:fs";
import { layers } from "../../provider/layers/index";
import { liveDomain } from "../../provider/layers/shared/domain";
import { bind } from "../../provider/engine/binding";
import { type AnyLayer, asWanted, type Layer, type Fact, type LayerName } from "../../provider/engine/layer";
import type { Domain } from "../../provider/formats/domain-xml";
import { sh } from "../../provider/remote/shell/sh";
import { observe } from "../../provider/share/observe";
import { powerOf } from "../../provider/share/reconcile";
import { driftOf, needsUpdate, statusOf } from "../../provider/share/status";
import type { ShareSpec } from "../../provider/spec/spec";
import { again, box, codes, guest, undone } from "./bench";

/** A layer that this file alone knows: no other part has to hear of it by its name. */

interface NoteWant {
  readonly text: string;
  readonly file: string;
}
interface NoteSeen {
  readonly text: string;
  readonly live: Domain | undefined;
}
type Note = Layer<NoteWant, NoteSeen, { text: string }>;

/** A file with the share's tag in it; of `guestLive` one that is written when the device is live. */
function note(more: Partial<Note> = {}): AnyLayer {
  const textOf = (file: string): Fact<string> => ({
    place: more.place ?? "guest",
    does: `read the note ${file}`,
    script: sh`cat -- ${file} 2>/dev/null || :`,
    parse: (output) => output.trim(),
  });
  const write = (file: string, text: string) => ({
    does: `write the note ${file}`,
    run: text === "" ? sh`rm -f -- ${file}` : sh`echo ${text} > ${file}`,
  });
  const concern: Note = {
    layer: "note" as LayerName,
    place: "guest",
    up: "guestBoot",
    down: "guest",
    scope: "domain",
    want: (spec) => spec.guest && { text: spec.tag, file: box.path("guest/note") },
    identity: ({ file }) => file,
    facts: ({ file }) => ({ text: textOf(file), live: liveDomain }),
    plan(want, seen, _before, _known, context) {
      const isLive = seen.live?.devices9p.some(({ tag }) => context?.tags.has(tag) === true) === true;
      const waits = more.up === "guestLive" && !isLive;
      return { steps: waits || seen.text === want.text ? [] : [write(want.file, want.text)] };
    },
    remember: (_want, { text }) => ({ text }),
    restore: (old, before, seen) => ({
      steps: seen.text === before.text ? [] : [write(old.file, before.text)],
    }),
    drift: (want, { text }) =>
      text === want.text
        ? asWanted
        : { state: text === "" ? "missing" : "differs", args: {}, notes: ["the note is not as it was"] },
    ...more,
  };
  return concern as AnyLayer;
}

const withNote = (more: Partial<Note> = {}): readonly AnyLayer[] => [...layers, note(more)];
const noteNow = (): string => (box.has("guest/note") ? box.read("guest/note").trim() : "");

async function refreshed(spec: ShareSpec, all: readonly AnyLayer[]) {
  const bindings = bind(all, spec, [], "drift");
  const observation = await observe(box.machines(), bindings);
  const drift = driftOf(bindings, observation, all);
  const status = statusOf(observation, powerOf(observation.host, spec, spec), drift);
  const layers = Object.fromEntries(Object.entries(drift).map(([layer, { state }]) => [layer, state]));
  const update = needsUpdate({ ...status, layers }, spec.power, all);
  return { ...status, note: layers["note"], update };
}

const fine = { status: "active", statusReason: "asDeclared", note: "ok", update: false };

describe.each([["guestBoot"], ["guestLive"]] as const)("a new layer of the guest, at %s", (up) => {
  const all = withNote({ up });

  test("is made, found right, repaired and given back", async () => {
    box.write("guest/note", "mine\n");
    const before = box.snapshot();
    const spec = box.spec({ ...guest(), power: "restart" });
    const created = await box.run({ spec }, all);
    expect([created.failure, noteNow()]).toEqual([undefined, "foobar"]);
    expect(await refreshed(spec, all)).toEqual(fine);
    const told = box.steps.length;
    const second = await box.run(again(created, spec), all);
    expect([second.changed, box.steps.slice(told)]).toEqual([false, []]);

    for (const [text, note] of [
      ["", "missing"],
      ["other\n", "differs"],
    ] as const) {
      box.write("guest/note", text);
      expect(await refreshed(spec, all)).toEqual({
        status: "drifted",
        statusReason: "note",
        note,
        update: true,
      });
      expect((await box.run(again(second, spec), all)).failure).toBeUndefined();
      expect(await refreshed(spec, all)).toEqual(fine);
    }
    expect((await box.run(undone(second, spec), all)).failure).toBeUndefined();
    expect([noteNow(), box.snapshot()]).toEqual(["mine", before]);
  });

  test("makes no difference that nobody may clear", async () => {
    const spec = box.spec(guest());
    const created = await box.run({ spec }, all);
    const waits = up === "guestLive";
    expect(await refreshed(spec, all)).toEqual({
      status: "pendingPowerCycle",
      statusReason: "deviceNotLive",
      note: waits ? "missing" : "ok",
      update: false,
    });
    box.write("state", "shut off\n");
    rmSync(box.path("live"), { recursive: true });
    mkdirSync(box.path("live"));
    expect(await refreshed(spec, all)).toMatchObject({ status: "off", note: "unknown", update: false });
    box.write("state", "running\n");
    box.powerCycle();
    await box.run(again(created, spec), all);
    expect(await refreshed(spec, all)).toEqual(fine);
    // What lies on a mount that waits for its users waits with it.
    const busy = { status: "pendingRemount", statusReason: "mountBusy", layers: { note: "differs" } };
    expect(needsUpdate(busy, "never", all)).toBe(!waits);
  });

  test.each([
    [true, ["guestUnreachable"]],
    [false, "no failure"],
  ] as const)("goes while the guest is silent: before the host's part %p", async (first, expected) => {
    const those = withNote({ up, ...(first ? { beforeHost: true } : {}) });
    const spec = box.spec({ ...guest({ mount: "boot" }), power: "restart" });
    const created = await box.run({ spec }, those);
    box.write("guest/note", "foobar\n");
    const next = { ...spec, guest: undefined };
    box.silence([1, 2, 3]);
    // The mount has to go before the host's part, too, and is not what this is about.
    const without = those.filter(({ layer }) => layer !== "mount");
    const work = box.run(again(created, spec, next), without);
    expect(await codes(work)).toEqual(expected);
    if (first) return;
    const { pendingCleanup: former } = await work;
    box.silence([]);
    await box.run({ spec: next, olds: [next, ...former], baseline: created.before }, without);
    expect(noteNow()).toBe("");
  });

  test("says what it makes of the status", async () => {
    const those = withNote({
      up,
      drift: () => ({ state: "missing", args: {}, notes: [], pending: "notMounted" }),
    });
    const spec = box.spec({ ...guest(), power: "restart" });
    await box.run({ spec }, those);
    expect(await refreshed(spec, those)).toMatchObject({
      status: "pendingRemount",
      statusReason: "notMounted",
      update: true,
    });
  });
});

test.each([[true], [false]])(
  "a new layer of the host that QEMU uses (%p) is given back with the directory",
  async (used) => {
    const all = withNote({
      place: "host",
      up: "host",
      down: "hostLast",
      want: (spec) => ({ text: spec.tag, file: `${spec.source}.note` }),
      ...(used ? { usedByQemu: true } : {}),
    });
    const [old, next] = [box.spec(), box.spec({}, "b")];
    const created = await box.run({ spec: old }, all);
    box.powerCycle();
    const updated = await box.run(again(created, old, next), all);
    expect([box.has("srv/a.note"), box.has("srv/b.note")]).toEqual([used, true]);
    box.powerCycle();
    await box.run({ spec: next, olds: [next, ...updated.pendingCleanup], baseline: updated.before }, all);
    expect([box.has("srv/a.note"), box.has("srv/b.note")]).toEqual([false, true]);
  },
);
