import type { PowerPlan } from "../../../provider/power/plan";
import type { Binding, Bindings } from "../../../provider/engine/binding";
import type { Problem } from "../../../provider/errors";
import type { Machines, Observation } from "../../../provider/share/observe";
import type { Request } from "../../../provider/share/plans";
import { refusals } from "../../../provider/share/refusals";
import { specOf, uuid } from "../sample";

/** A guest that is out of reach: what is refused, what is only said. */

const guest = { mountPoint: "/mnt/a", connection: { host: "web1" } };
const machines = (guestBy: Machines["guestBy"]): Machines =>
  ({ guestBy, guest: () => ({ transport: { machine: "guest web1" } }) }) as unknown as Machines;
const seen = (guestState: Observation["guestState"]): Observation =>
  ({ guestState, info: { uuid, name: "web1" }, host: { values: new Map() } }) as unknown as Observation;
const unreachable = (code: Problem["code"], remedy?: string): Observation =>
  seen({
    kind: "unreachable",
    problem: {
      code,
      layer: "guest",
      machine: "guest web1",
      what: "no",
      ...(remedy === undefined ? {} : { remedy }),
    },
  });
const releasing = (...layers: string[]): Bindings => ({
  ensure: [],
  release: layers.map(
    (layer) =>
      ({
        layer: { layer, place: "guest", ...(layer === "mount" ? { beforeHost: true } : {}) },
        name: layer,
        record: { scope: "domain", layer, name: layer, identity: "/mnt/a" },
        records: { key: "records" },
      }) as unknown as Binding,
  ),
});
const none: PowerPlan = { kind: "none" };
const request = (more: Partial<Request> = {}): Request => ({
  spec: specOf({ guest }),
  olds: [],
  baseline: {},
  ...more,
});
const codes = (...args: Parameters<typeof refusals>): string[] =>
  refusals(...args).problems.map(({ code }) => code);

describe("a guest that is off, whose connection goes from the program", () => {
  const gone = request({ spec: specOf(), guestGoes: true, baseline: { fstab: { line: "" } } });
  const off = seen({ kind: "off" });
  test("is to be started first, while something is left in it", () => {
    const { problems } = refusals(machines("ssh"), gone, releasing("fstab"), off, none);
    expect(problems).toMatchObject([
      { code: "guestUnreachable", remedy: "start web1 first, or leave guest in until it runs" },
    ]);
  });
  test.each<[string, Request, PowerPlan]>([
    ["nothing was ever written in it", { ...gone, baseline: {} }, none],
    ["nothing is to be given back of it", { ...gone, baseline: { fstab: null } }, none],
    ["it is started anyway", gone, { kind: "start", reason: "domainOff" }],
    ["it is destroyed", { ...gone, spec: undefined, guestGoes: false }, none],
  ])("is let go where %s", (_, asked, power) => {
    expect(codes(machines("ssh"), asked, releasing("fstab"), off, power)).toEqual([]);
  });
});

describe("a guest that does not answer", () => {
  test("is left as it is, and a warning says so", () => {
    const told = refusals(machines("ssh"), request(), releasing(), unreachable("guestUnreachable"), none);
    expect(told).toEqual({ problems: [], warnings: ["no: the guest is left as it is until the next up"] });
  });
  test.each(["guestAgentMissing", "guestAgentRefusesExec", "guestIsAnother", "guestUnidentified"] as const)(
    "%s is refused",
    (code) => {
      expect(codes(machines("agent"), request(), releasing(), unreachable(code), none)).toEqual([code]);
    },
  );
  test("is refused where something is to be unmounted", () => {
    const found = unreachable("guestUnreachable", "see");
    expect(refusals(machines("ssh"), request(), releasing("mount"), found, none).problems).toMatchObject([
      { code: "guestUnreachable", remedy: "see" },
    ]);
  });
  test.each([specOf(), undefined])("where it is declared no more, the way back is said (%#)", (spec) => {
    const asked = request({ spec, olds: [specOf(), specOf({ guest: { mountPoint: "/mnt/a" } })] });
    const [problem] = refusals(
      machines("agent"),
      asked,
      releasing("mount"),
      unreachable("guestAgentMissing", "add one"),
      none,
    ).problems;
    expect(problem?.remedy).toMatch(
      /^add one; if the share reached it over SSH before, put guest with its connection back/,
    );
  });
});
