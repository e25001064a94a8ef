import { layers } from "../../../provider/layers/index";
import { bind, factsOf, recordIn, seenBy } from "../../../provider/engine/binding";
import { placeKey } from "../../../provider/engine/baseline";
import type { ShareSpec } from "../../../provider/spec/spec";
import { specOf } from "../sample";

const full = { guest: { mountPoint: "/mnt/a", owner: 0 } };
const namesOf = (bindings: readonly { record: { name: string; identity: string } }[]): string[] =>
  bindings.map(({ record }) => `${record.name} ${record.identity}`.trim());
const bound = (spec: ShareSpec | undefined, olds: readonly ShareSpec[]) => {
  const { ensure, release } = bind(layers, spec, olds);
  return { ensure: namesOf(ensure), release: namesOf(release) };
};

const all = [
  "directory /foo/bar",
  "selinux /foo/bar",
  "device foobar",
  "modules /etc/modules-load.d/virtio9p.conf",
  "fstab /mnt/a",
  "mount /mnt/a",
  "guestOwnership /mnt/a",
];

describe("bind", () => {
  test.each<[string, Record<string, unknown> | undefined, Record<string, unknown>[], string[], string[]]>([
    ["create", full, [], all, []],
    ["create, host only", {}, [], all.slice(0, 3), []],
    ["delete", undefined, [full], [], all],
    ["an update that changes nothing", full, [full], all, []],
    [
      "another source",
      { ...full, source: "/foo/baz" },
      [full],
      ["directory /foo/baz", "selinux /foo/baz", ...all.slice(2)],
      ["directory /foo/bar", "selinux /foo/bar"],
    ],
    [
      "another mount point",
      { guest: { mountPoint: "/mnt/b" } },
      [{ guest: { mountPoint: "/mnt/a" } }],
      [...all.slice(0, 4), "fstab /mnt/b", "mount /mnt/b"],
      ["fstab /mnt/a", "mount /mnt/a"],
    ],
    ["the guest is left alone from now on", {}, [full], all.slice(0, 3), all.slice(3)],
    [
      "a policy module for the whole host",
      { selinux: { newFiles: "inherit" } },
      [{ selinux: { newFiles: "inherit" } }],
      ["directory /foo/bar", "selinux policy virtio9p_new_files", "selinux /foo/bar", "device foobar"],
      [],
    ],
    [
      "what several olds wanted is given back once",
      {},
      [{ source: "/a" }, { source: "/b" }, { source: "/a" }, {}],
      all.slice(0, 3),
      ["directory /a", "selinux /a", "directory /b", "selinux /b"],
    ],
  ])("%s", (_, spec, olds, ensure, release) => {
    expect(bound(spec && specOf(spec), olds.map(specOf))).toEqual({ ensure, release });
  });
});

describe("factsOf", () => {
  test("each fact once, of the place asked for, records on the host", () => {
    const bindings = bind(layers, specOf(full), [specOf({ source: "/old" })]);
    const host = [...factsOf(bindings, "host").values()];
    const guest = [...factsOf(bindings, "guest").values()];
    expect(host.filter(({ does }) => /\brecords\b/.test(does)).map(({ does }) => does)).toEqual([
      "see of which directory of the host there are records",
      "see of which selinux of the host there are records",
      "see of which mount of the domain there are records",
      "read the records of directory /foo/bar, selinux /foo/bar, device foobar, fstab /mnt/a, mount /mnt/a, guestOwnership /mnt/a, directory /old, selinux /old",
      "read the records of modules /etc/modules-load.d/virtio9p.conf",
    ]);
    expect(host.filter(({ does }) => does === "read the running domain's definition")).toHaveLength(1);
    expect(new Set(guest.map(({ place }) => place))).toEqual(new Set(["guest"]));
    expect(guest.map(({ does }) => does)).toContain("read the guest's mounts");
  });
});

test("what a fact does is done by no other one", () => {
  const specs = [
    specOf(full),
    specOf({ ...full, directory: { recursive: true }, selinux: { type: "var_t" } }),
    specOf({ ...full, directory: { recursive: false, owner: "alice" }, guest: { mountPoint: "/mnt/b" } }),
    specOf({ tag: "other", guest: { mountPoint: "/mnt/a", owner: "bob" } }),
    specOf({ readOnly: true }),
  ];
  const scripts = new Map<string, string>();
  for (const spec of specs)
    for (const purpose of ["plan", "drift"] as const)
      for (const [olds, place] of [
        [[], "host"],
        [[], "guest"],
        [specs, "host"],
        [specs, "guest"],
      ] as const)
        for (const { does, script } of factsOf(bind(layers, spec, olds, purpose), place).values()) {
          const known = scripts.get(`${place} ${does}`) ?? script.text;
          expect([does, script.text]).toEqual([does, known]);
          scripts.set(`${place} ${does}`, known);
        }
  expect(scripts.size).toBeGreaterThan(60);
});

describe("seenBy", () => {
  const [binding] = bind(layers, specOf(), []).ensure;
  if (!binding) throw new Error("no binding");
  const look = (values: [string, unknown][]) => ({ values: new Map(values), raw: new Map<string, Buffer>() });

  test("is undefined unless every fact was looked up; a fact may be undefined", () => {
    const keys = Object.values(binding.facts).map(({ does }) => does);
    expect(seenBy(binding, look(keys.slice(1).map((key) => [key, 1])), undefined)).toBeUndefined();
    expect(seenBy(binding, look(keys.map((key) => [key, undefined])), undefined)).toEqual(
      Object.fromEntries(Object.keys(binding.facts).map((name) => [name, undefined])),
    );
  });

  test("recordIn finds the record of the binding", () => {
    expect(
      recordIn(binding, look([[binding.records.does, new Map([[placeKey(binding.record), "it"]])]])),
    ).toBe("it");
    expect(recordIn(binding, look([]))).toBeUndefined();
  });
});
