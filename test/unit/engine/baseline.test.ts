import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  eachIdentity,
  forgetRecords,
  holdRecords,
  leaveRecords,
  placeKey,
  recordsIn,
  recordsOf,
  type BaselineKey,
  unlessHeld,
} from "../../../provider/engine/baseline";
import type { Fact } from "../../../provider/engine/layer";
import { lines, type Script, sh } from "../../../provider/remote/shell/sh";
import { runScript } from "../shell-machine";

/** In a real shell, over records that the test writes. */

let records: string;
beforeEach(() => {
  records = mkdtempSync(join(tmpdir(), "virtio9p-records-"));
  mkdirSync(join(records, "host"));
});
afterEach(() => {
  rmSync(records, { recursive: true });
});

const at = { layer: "directory", name: "directory", identity: "/srv/a", scope: "host" } as const;

/** Written under the name that the fact of its identity looks for. */
function put(identity: string, ...holders: string[]): void {
  const name = /directory-[0-9a-f]+\.json/.exec(recordsOf([{ ...at, identity }]).script.text)?.[0] ?? "";
  const head = { version: 2, layer: "directory", identity, before: { created: true } };
  const text = [head, ...holders].map((line) => `${JSON.stringify(line)}\n`).join("");
  writeFileSync(join(records, "host", name), text);
}

function looked<T>(fact: Fact<T>, prelude: Script = sh`:`): T {
  const bytes = runScript(lines([sh`records=${records}`, prelude, fact.script]));
  return fact.parse(bytes.toString("utf8"), bytes);
}

const identities = (): string[] => looked(recordsIn("host", "directory")).map(({ identity }) => identity);
const recordAt = (place: BaselineKey) =>
  looked(recordsOf([{ ...at, identity: "/srv/none" }, place]), sh`recorded=UUID`).get(placeKey(place));

test("no record: nothing of anything", () => {
  expect([recordAt(at), identities()]).toEqual([undefined, []]);
});

test("what is recorded, and of 0.1.0 who has something inside, as long as it has that", () => {
  put("/srv/a", "u/one", "inside u/two", "inside u/three");
  put('/srv/a "b\\', "u/three");
  put("/srv", "u/four", "inside u/one");
  expect(recordAt(at)?.references).toEqual(["u/one", "inside u/three"]);
  expect(identities().sort()).toEqual(["/srv", "/srv/a", '/srv/a "b\\']);
  expect(
    runScript(lines([sh`records=${records}`, eachIdentity("directory")]))
      .toString()
      .split("\n")
      .sort(),
  ).toEqual(["", "/srv", "/srv/a", '/srv/a "b\\']);
});

// Another stack removes its own under a lock that a look does not take.
test.each<[string, Fact<unknown>, unknown]>([
  ["its own", recordsOf([at]), new Map()],
  ["all of them", recordsIn("host", "directory"), [expect.objectContaining({ identity: "/srv/b" })]],
])("a record that goes between being seen and being read is none: %s", (_, fact, found) => {
  put("/srv/a", "u/one");
  put("/srv/b", "u/two");
  const gone = /directory-[0-9a-f]+\.json/.exec(recordsOf([at]).script.text)?.[0] ?? "";
  const removing = sh`grep() { rm -f -- "$records"/host/${gone}; command grep "$@"; }
cat() { rm -f -- "$records"/host/${gone}; command cat "$@"; }
head() { rm -f -- "$records"/host/${gone}; command head "$@"; }`;
  expect(looked(fact, removing)).toEqual(found);
});

test.each<[string, Fact<unknown>]>([
  ["its own", recordsOf([at])],
  ["all of them", recordsIn("host", "directory")],
])("a record that is there and cannot be read is an error: %s", (_, fact) => {
  put("/srv/a", "u/one");
  const failing = sh`grep() { return 2; }
head() { return 1; }`;
  expect(() => looked(fact, failing)).toThrow("Command failed");
});

describe.each(["dash", "bash", "busybox sh"])("holding records, under %s", (shell) => {
  const other = { ...at, identity: "/srv/b" };
  const inDomain = { layer: "fstab", name: "fstab", identity: "/mnt/a", scope: "domain" } as const;
  const hold = (holder: string, places: readonly BaselineKey[], leaving: readonly string[] = []) =>
    holdRecords(places.map((place) => ({ at: place, before: { by: holder }, joining: [holder], leaving })));
  /** In one script, as the engine runs them. */
  const run = (...scripts: (Script | undefined)[]): void => {
    const work = mkdtempSync(join(tmpdir(), "virtio9p-work-"));
    try {
      const each = scripts.map(
        (script) => sh`( set -e
${script ?? sh`:`}
)`,
      );
      runScript(
        lines([sh`records=${records} recorded=UUID work=${work} ended=''`, ...each]),
        undefined,
        shell,
      );
    } finally {
      rmSync(work, { recursive: true });
    }
  };
  const holders = (place: BaselineKey): unknown => {
    const entry = recordAt(place);
    return entry && [entry.before, ...entry.references];
  };

  test("the first makes it, whoever comes later is one more, and none is there twice", () => {
    run(hold("u/a", [at, other, inDomain]).run, hold("u/b", [at]).run, hold("u/b", [at]).run);
    expect([at, other, inDomain].map(holders)).toEqual([
      [{ by: "u/a" }, "u/a", "u/b"],
      [{ by: "u/a" }, "u/a"],
      [{ by: "u/a" }, "u/a"],
    ]);
    run(hold("u/new", [at], ["u/a", "u/none"]).run);
    expect(holders(at)).toEqual([{ by: "u/a" }, "u/b", "u/new"]);
    expect(readdirSync(join(records, "host")).filter((name) => !name.endsWith(".json"))).toEqual([]);
  });

  test("undone, it goes with the last that holds it, and stays where it was there before", () => {
    const [a, b] = [hold("u/a", [at, inDomain]), hold("u/b", [at])];
    run(a.run, b.run, a.undo);
    expect([holders(at), holders(inDomain)]).toEqual([[{ by: "u/a" }, "u/b"], undefined]);
    expect(existsSync(join(records, "domains/UUID"))).toBe(false);
    run(a.run, a.undo);
    expect(holders(at)).toEqual([{ by: "u/a" }, "u/b"]);
    const renamed = hold("u/new", [at], ["u/b"]);
    run(renamed.run, renamed.undo);
    expect(holders(at)).toEqual([{ by: "u/a" }, "u/b"]);
    run(
      hold("u/c", [other]).run,
      hold("u/d", [other]).run,
      hold("u/c", [other]).undo,
      hold("u/d", [other]).undo,
    );
    expect(holders(other)).toBeUndefined();
  });

  test("left by all, it stays for who gives the thing back; forgotten, it goes with its last holder, and its folder", () => {
    const of = (place: BaselineKey, ...leaving: string[]) => [{ at: place, leaving }];
    run(hold("u/a", [at, inDomain]).run, hold("u/b", [at]).run);
    run(unlessHeld(at, sh`touch "$records/undone"`, 1));
    expect(existsSync(join(records, "undone"))).toBe(false);
    run(leaveRecords(of(at, "u/a")).run, leaveRecords(of(other, "u/a")).run);
    run(unlessHeld(at, sh`touch "$records/undone"`, 1));
    expect(existsSync(join(records, "undone"))).toBe(true);
    expect([holders(at), holders(other)]).toEqual([[{ by: "u/a" }, "u/b"], undefined]);
    run(unlessHeld(at, sh`touch "$records/back"`));
    expect(existsSync(join(records, "back"))).toBe(false);
    run(leaveRecords(of(at, "u/b")).run);
    // A record that cannot be read is not one without a holder.
    expect(() => {
      run(sh`grep() { return 2; }
${unlessHeld(at, sh`touch "$records/back"`)}`);
    }).toThrow();
    expect(existsSync(join(records, "back"))).toBe(false);
    run(unlessHeld(at, sh`touch "$records/back"`));
    expect([existsSync(join(records, "back")), holders(at)]).toEqual([true, [{ by: "u/a" }]]);
    run(hold("u/c", [at]).run, forgetRecords([...of(at), ...of(inDomain, "u/a")]).run);
    expect([holders(at), existsSync(join(records, "domains/UUID"))]).toEqual([[{ by: "u/a" }, "u/c"], false]);
    run(forgetRecords([...of(at, "u/c"), ...of(other, "u/c")]).run);
    expect(existsSync(join(records, "host"))).toBe(false);
    mkdirSync(join(records, "host"));
  });

  test("the log of power cycles goes with the domain's last record, and no sooner", () => {
    const second = { ...inDomain, identity: "/mnt/b" };
    run(hold("u/a", [inDomain, second]).run);
    const power = join(records, "domains/UUID/power");
    mkdirSync(power);
    for (const name of ["log", "job", "lock", "current"]) writeFileSync(join(power, name), "");
    run(forgetRecords([{ at: inDomain, leaving: ["u/a"] }]).run);
    expect([readdirSync(power).length, holders(second)]).toEqual([4, [{ by: "u/a" }, "u/a"]]);
    run(forgetRecords([{ at: second, leaving: ["u/a"] }]).run);
    expect(existsSync(join(records, "domains/UUID"))).toBe(false);
  });

  test("17 and 300 at once", () => {
    for (const count of [17, 300]) {
      const places = Array.from({ length: count }, (_, index) => ({ ...at, identity: `/srv/${index}` }));
      const step = hold("u/a", places);
      run(step.run, step.undo);
      expect(readdirSync(records)).not.toContain("host");
    }
  });
});
