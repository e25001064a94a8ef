import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Fact, Step } from "../../../provider/engine/layer";
import type { FactSet, Snapshot, Machine } from "../../../provider/engine/requests";
import { takeLock } from "../../../provider/engine/lock";
import { perform } from "../../../provider/engine/executor";
import { ShareError } from "../../../provider/errors";
import * as wave from "../../../provider/engine/batcher";
import { type Script, sh } from "../../../provider/remote/shell/sh";
import { localTransport } from "../../../provider/remote/local";

let folder: string;
let machine: Machine;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "virtio9p-place-"));
  writeFileSync(join(folder, "a"), "one");
  machine = {
    place: "host",
    transport: localTransport("none"),
    prelude: sh`folder=${folder}`,
    lock: takeLock(sh`"$folder/lock"`, 1),
    programs: ["flock", "sha256sum"],
    idleMs: 10_000,
    key: folder,
    scope: { key: "", enter: sh`:`, beforeWrite: sh`:` },
    most: 3,
  };
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});

const fact = (name: string, script: Script, more: Partial<Fact<unknown>> = {}): Fact<unknown> => ({
  place: "host",
  does: `look at ${name}`,
  script,
  parse: (output) => output,
  ...more,
});
const set = (...facts: Fact<unknown>[]): FactSet => new Map(facts.map((one) => [one.does, one]));
const fileA = fact("a", sh`cat "$folder/a"`, { precondition: true });
const step = (does: string, run: Script, undo?: Script): Step => ({ does, run, ...(undo ? { undo } : {}) });
const caught = (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => "nothing was thrown",
    (error: unknown) => error,
  );
const look = (of: Machine, facts: FactSet) => wave.look({ machine: of, facts });
const write = (of: Machine, facts: FactSet, seen: Snapshot, steps: Step[], onStep?: (does: string) => void) =>
  wave.write({ machine: of, facts, seen, steps, onStep });
const contents = (name: string): string => readFileSync(join(folder, name), "utf8");

describe("look", () => {
  test("gives each fact's value and bytes", async () => {
    const bytes = fact("bytes", sh`printf '\377\n\n'`, { parse: (_, raw) => [...raw] });
    const { values, raw } = await look(machine, set(fileA, bytes));
    expect([...values]).toEqual([
      ["look at a", "one"],
      ["look at bytes", [255, 10, 10]],
    ]);
    expect(raw.get("look at a")).toEqual(Buffer.from("one"));
  });

  test.each<[string, Fact<unknown>, object]>([
    [
      "a fact that fails",
      fact("b", sh`echo no >&2; exit 4`),
      {
        code: "lookFailed",
        message:
          "host on this machine: reading state failed (exit 4) [lookFailed]\n    tried: look at b\n    answer: no\n" +
          "    to do: mend what the answer names, and try again; VIRTIO9P_LOG=scripts shows every script as it is run",
      },
    ],
    [
      "a fact whose failure has a name",
      fact("b", sh`exit 1`, { failure: { code: "libvirtUnreachable", what: "w", remedy: "r" } }),
      {
        code: "libvirtUnreachable",
        message: "host on this machine: w [libvirtUnreachable]\n    tried: look at b\n    to do: r",
      },
    ],
    [
      "an answer that is not understood",
      fact("b", sh`echo x`, {
        parse: () => {
          throw new Error("no XML");
        },
      }),
      {
        code: "lookFailed",
        message:
          "host on this machine: the answer was not understood: no XML [lookFailed]\n    tried: look at b\n" +
          "    to do: report this, with the version of what answered; VIRTIO9P_LOG=scripts shows every script as it is run",
      },
    ],
    [
      "a script that ends within",
      fact("b", sh`echo why >&2; kill -9 $$`),
      {
        code: "transportFailed",
        message: "host on this machine: a script was ended by SIGKILL [transportFailed]",
      },
    ],
    [
      "tools that are missing",
      fact("b", sh`exit 9`, { tools: [{ program: "no-such-tool", packages: ["a", "b"] }] }),
      {
        code: "toolMissing",
        message:
          "host on this machine: no-such-tool is not installed [toolMissing]\n" +
          "    to do: install no-such-tool: package a (Debian, Ubuntu) or b (Fedora, EL)",
      },
    ],
  ])("%s is an error that says so", async (_, one, expected) => {
    expect(await caught(look(machine, set(fileA, one)))).toMatchObject(expected);
  });
});

describe("write", () => {
  const setA = step("set a", sh`echo two > "$folder/a"`, sh`printf one > "$folder/a"`);

  test("carries out the steps in order, tells them, and looks again", async () => {
    const seen = await look(machine, set(fileA));
    const told: string[] = [];
    const steps = [setA, step("copy a", sh`cp "$folder/a" "$folder/b"`)];
    const written = await write(machine, set(fileA), seen, steps, (does) => told.push(does));
    expect(written).toMatchObject({ stale: false, failed: undefined, kept: 2 });
    expect(written.look.values.get("look at a")).toBe("two\n");
    expect([contents("b"), told]).toEqual(["two\n", ["set a", "copy a"]]);
  });

  test("does nothing when a precondition is not as it was seen", async () => {
    const seen = await look(machine, set(fileA));
    writeFileSync(join(folder, "a"), "other");
    const written = await write(machine, set(fileA), seen, [setA]);
    expect(written).toMatchObject({ stale: true, failed: undefined, kept: 0 });
    expect(contents("a")).toBe("other");
  });

  test.each([
    ["a fact that is no precondition", fact("c", sh`date +%s%N`)],
    ["a precondition that prints nothing", fact("c", sh`:`, { precondition: true })],
    [
      "a precondition of any bytes",
      fact("c", sh`printf '\000\377\r\n\n'; echo x >&2`, { precondition: true }),
    ],
    ["a precondition that exits", fact("c", sh`echo y; exit 0`, { precondition: true })],
  ])("goes on past %s", async (_, one) => {
    const facts = set(fileA, one);
    const written = await write(machine, facts, await look(machine, facts), [setA]);
    expect(written).toMatchObject({ stale: false, failed: undefined, kept: 1 });
  });

  test("a step that fails: what was done is undone, the error carries the step", async () => {
    const seen = await look(machine, set(fileA));
    const written = await write(machine, set(fileA), seen, [setA, step("break", sh`echo no >&2; exit 3`)]);
    expect(written).toMatchObject({
      stale: false,
      kept: 0,
      failed: {
        code: "stepFailed",
        layer: "host",
        machine: "this machine",
        what: "a change failed (exit 3)",
        tried: "break",
        returned: "no\n",
        remedy:
          "mend what the answer names, and run pulumi up again; VIRTIO9P_LOG=scripts shows every script as it is run",
      },
    });
    expect(written.look.values.get("look at a")).toBe("one");
  });

  test("a failure that the step knows by what comes back has its name and its remedy", async () => {
    const seen = await look(machine, set(fileA));
    const full = {
      answer: "No space left",
      code: "fileSystemFull",
      what: "it is full",
      remedy: "make room",
    } as const;
    const fill = { ...step("fill", sh`echo 'x: No space left on device' >&2; exit 1`), failures: [full] };
    const stuck = step("set a", sh`echo two > "$folder/a"`, sh`exit 1`);
    const { failed } = await write(machine, set(fileA), seen, [stuck, fill]);
    expect(failed).toMatchObject({
      code: "fileSystemFull",
      what: "it is full",
      tried: "fill",
      returned: "x: No space left on device\n",
      remedy: "make room. these steps could not be undone: set a",
    });
    const other = { ...step("break", sh`false`), failures: [full] };
    const again = await look(machine, set(fileA));
    expect((await write(machine, set(fileA), again, [other])).failed).toMatchObject({ code: "stepFailed" });
  });

  test("what could not be undone is named, and counts as kept", async () => {
    const seen = await look(machine, set(fileA));
    const stuck = step("set a", sh`echo two > "$folder/a"`, sh`exit 1`);
    const written = await write(machine, set(fileA), seen, [stuck, step("break", sh`false`)]);
    expect(written).toMatchObject({
      kept: 1,
      failed: { remedy: expect.stringMatching(/\. these steps could not be undone: set a$/) as string },
    });
  });

  test("a step that failed because somebody else's thing was there does not remove that thing", async () => {
    const seen = await look(machine, set(fileA));
    mkdirSync(join(folder, "theirs"));
    const make = step("make theirs", sh`mkdir "$folder/theirs"`, sh`rmdir "$folder/theirs"`);
    const written = await write(machine, set(fileA), seen, [setA, make]);
    expect(written).toMatchObject({ kept: 0, failed: { tried: "make theirs" } });
    expect([existsSync(join(folder, "theirs")), contents("a")]).toEqual([true, "one"]);
  });

  test("a lock that another process holds is an error, and nothing is written", async () => {
    const seen = await look(machine, set(fileA));
    const holder = machine.transport.run(
      sh`exec 9>>${join(folder, "lock")}; flock 9; cd ${folder}; : > held; until [ -e done ]; do sleep 0.1; done`
        .text,
      { idleMs: 30_000 },
    );
    while (!existsSync(join(folder, "held"))) await new Promise((resolve) => setTimeout(resolve, 20));
    expect(await caught(write(machine, set(fileA), seen, [setA]))).toMatchObject({
      code: "lockHeld",
    });
    expect(contents("a")).toBe("one");
    writeFileSync(join(folder, "done"), "");
    await holder;
  }, 30_000);

  test("a lock is waited for as long as its holder makes progress, and the user is told", async () => {
    const seen = await look(machine, set(fileA));
    const step6s = sh`: > "$folder/held"; for turn in 1 2 3 4 5 6 7 8 9 10 11 12; do mark at "$turn"; sleep 0.5; done`;
    const holder = perform(
      { machine: { ...machine, scope: { ...machine.scope, enter: machine.lock } }, facts: set() },
      "hold",
      step6s,
      () => undefined,
    );
    while (!existsSync(join(folder, "held"))) await new Promise((resolve) => setTimeout(resolve, 20));
    const said: string[] = [];
    // A sign is a time in whole seconds: two of them may be two apart on a busy machine.
    const other = { ...machine, key: "another process", lock: takeLock(sh`"$folder/lock"`, 5) };
    const written = await write(other, set(fileA), seen, [setA], (does) => said.push(does));
    expect(written).toMatchObject({ stale: false, failed: undefined, kept: 1 });
    expect(said).toEqual(["wait for another process that is at work here", "set a"]);
    await holder;
  }, 30_000);

  test("writes at the same time go in one script, and rest on what stood before all of them", async () => {
    const seen = await look(machine, set(fileA));
    const written = await Promise.all([
      write(machine, set(fileA), seen, [setA]),
      write(machine, set(fileA), seen, [setA]),
    ]);
    expect(written.map(({ stale }) => stale)).toEqual([false, false]);
    expect((await write(machine, set(fileA), seen, [setA])).stale).toBe(true);
  });

  test("each share's steps fail for themselves", async () => {
    const seen = await look(machine, set(fileA));
    const fileB = fact("b", sh`cat "$folder/b" 2>/dev/null || :`);
    const [bad, good] = await Promise.all([
      write(machine, set(fileA), seen, [setA, step("break", sh`false`)]),
      write(machine, set(fileB), await look(machine, set(fileB)), [step("make b", sh`echo b > "$folder/b"`)]),
    ]);
    expect([bad.failed?.tried, bad.kept]).toEqual(["break", 0]);
    expect([good.failed, good.kept, good.look.values.get("look at b")]).toEqual([undefined, 1, "b\n"]);
    expect(contents("a")).toBe("one");
  });
});

describe("what is done once behind the steps of all", () => {
  const closing = (run: Script) => ({ ...machine, closing: { does: "finish", run } });
  test.each([1, 17])(
    "%i shares: where it fails, each that changed something says so, and keeps it",
    async (count) => {
      const seen = await look(machine, set(fileA));
      writeFileSync(join(folder, "b"), "");
      const to = closing(sh`echo 'no sync' >&2; exit 5`);
      const written = await Promise.all(
        Array.from({ length: count }, (_, index) =>
          write(to, set(fileA), seen, [step(`add ${index}`, sh`echo x >> "$folder/b"`)]),
        ),
      );
      expect(written).toEqual(
        Array(count).fill(
          expect.objectContaining({
            kept: 1,
            failed: expect.objectContaining({
              code: "stepFailed",
              tried: "finish",
              returned: "no sync\n",
            }) as unknown,
          }),
        ),
      );
      expect(contents("b")).toBe("x\n".repeat(count));
    },
  );

  test("it is done once, and a share that failed says what it failed with", async () => {
    const seen = await look(machine, set(fileA));
    const to = closing(sh`echo x >> "$folder/closed"`);
    const written = await Promise.all([
      write(to, set(fileA), seen, [step("one", sh`:`)]),
      write(to, set(fileA), seen, [step("break", sh`false`)]),
    ]);
    expect(written.map(({ failed }) => failed?.tried)).toEqual([undefined, "break"]);
    expect(contents("closed")).toBe("x\n");
  });
});

test("a step that failed is told, and what it left, where the look behind it fails too", async () => {
  const fragile = fact("it", sh`[ ! -e "$folder/broken" ] || exit 4`);
  const seen = await look(machine, set(fragile));
  const written = await write(machine, set(fragile), seen, [
    step("stay", sh`:`, sh`exit 5`),
    step("break", sh`touch "$folder/broken"; exit 3`),
  ]);
  expect([written.failed?.tried, written.kept]).toEqual(["break", 1]);
  expect(written.failed?.remedy).toMatch(/could not be undone: stay/);
});

describe("what several shares queue", () => {
  /** Appends all that is asked for in one go, unless one asks for `bad`. */
  const common = (asked: string): Step => ({
    does: `ask for ${asked}`,
    run: sh`echo run >> "$folder/runs"
case $queued in *bad*) echo 'bad is refused' >&2; exit 7;; esac
printf '%s' "$queued" >> "$folder/all"`,
    undo: sh`echo ${`undo ${asked}`} >> "$folder/undone"`,
    queued: `${asked}\n`,
  });
  const said = (text: string): Step =>
    step(text, sh`echo ${text} >> "$folder/said"`, sh`echo ${`not ${text}`} >> "$folder/said"`);
  const shares = async (...plans: readonly Step[][]) => {
    const seen = await look(machine, set(fileA));
    const told: string[] = [];
    const written = await Promise.all(
      plans.map((steps) => write(machine, set(fileA), seen, steps, (does) => told.push(does))),
    );
    return { written, told };
  };

  test("is done once, behind all that comes before it and before all that comes behind", async () => {
    const { written, told } = await shares(
      [said("before a"), common("a"), said("behind a")],
      [said("alone")],
      [said("before b"), common("b"), said("behind b")],
    );
    expect(written.map(({ failed, kept }) => [failed, kept])).toEqual([
      [undefined, 3],
      [undefined, 1],
      [undefined, 3],
    ]);
    expect(contents("runs")).toBe("run\n");
    expect(contents("all")).toBe("a\nb\n");
    expect(contents("said")).toBe("before a\nalone\nbefore b\nbehind a\nbehind b\n");
    expect(told).toEqual(["before a", "alone", "before b", "ask for a", "ask for b", "behind a", "behind b"]);
  });

  test("fails for who asks for what is refused, and all others get theirs, each alone", async () => {
    const { written } = await shares([said("a"), common("a")], [said("b"), common("bad")], [said("c")]);
    expect(written.map(({ failed, kept }) => [failed?.returned?.trim(), kept])).toEqual([
      [undefined, 2],
      ["bad is refused", 0],
      [undefined, 1],
    ]);
    expect([contents("runs"), contents("all")]).toEqual(["run\nrun\nrun\n", "a\n"]);
    expect(contents("said")).toBe("a\nb\nc\nnot b\n");
    expect(existsSync(join(folder, "undone"))).toBe(false);
  });

  test("fails for all where another process holds what it needs: each would wait as long", async () => {
    const held = { ...common("a"), run: sh`echo run >> "$folder/runs"; exit 75` };
    const { written } = await shares([held], [{ ...held, queued: "b\n" }]);
    expect(written.map(({ failed }) => failed?.code)).toEqual(["stepFailed", "stepFailed"]);
    expect(contents("runs")).toBe("run\n");
  });

  test.each([
    ["fails", 10_000, "exit 1"],
    ["hangs", 1000, "sleep 60"],
  ])(
    "when it %s, each undoes its own, in its own domain, and knows how it ended",
    async (_, idleMs, ends) => {
      const of = (domain: string): Machine => ({
        ...machine,
        idleMs,
        scope: { key: domain, enter: sh`domain=${domain}`, beforeWrite: sh`:` },
      });
      const before = step(
        "before",
        sh`:`,
        sh`echo "undo in $domain $${{ text: "{ended:+late}" }}" >> "$folder/undone"`,
      );
      const plan = [before, { ...common("x"), run: { text: ends } }];
      const seen = await look(machine, set(fileA));
      const written = await Promise.all(
        ["a", "b"].map((domain) => write(of(domain), set(fileA), seen, plan)),
      );
      expect(written.map(({ failed }) => failed !== undefined)).toEqual([true, true]);
      const late = ends === "exit 1" ? "" : "late";
      expect(contents("undone")).toBe(`undo in a ${late}\nundo in b ${late}\n`);
    },
  );

  test("is not asked for by who failed before; who fails behind it undoes its own alone", async () => {
    const { written } = await shares(
      [step("break", sh`false`), common("bad")],
      [common("a"), step("break", sh`false`)],
      [common("b")],
    );
    expect(written.map(({ failed }) => failed?.tried)).toEqual(["break", "break", undefined]);
    expect(contents("all")).toBe("a\nb\n");
    expect(contents("undone")).toBe("undo a\n");
  });

  test("a second time by one share is done where it stands", async () => {
    const { written } = await shares([common("a"), said("between"), common("a2")], [common("b")]);
    expect(written.map(({ failed }) => failed)).toEqual([undefined, undefined]);
    expect([contents("runs"), contents("all")]).toEqual(["run\nrun\n", "a\nb\na2\n"]);
  });

  test("is asked for by one share several times, one behind the other", async () => {
    const { written, told } = await shares(
      [said("a"), common("a"), common("a2"), said("behind")],
      [common("b")],
    );
    expect(written.map(({ failed, kept }) => [failed, kept])).toEqual([
      [undefined, 4],
      [undefined, 1],
    ]);
    expect([contents("runs"), contents("all")]).toEqual(["run\n", "a\na2\nb\n"]);
    expect(told).toEqual(["a", "ask for a", "ask for a2", "ask for b", "behind"]);
  });

  test("who is out of date takes no part", async () => {
    const seen = await look(machine, set(fileA));
    writeFileSync(join(folder, "a"), "other");
    const fileB = fact("b", sh`:`, { precondition: true });
    const [stale, sound] = await Promise.all([
      write(machine, set(fileA), seen, [common("bad")]),
      write(machine, set(fileB), await look(machine, set(fileB)), [common("b")]),
    ]);
    expect([stale.stale, sound.stale, sound.failed]).toEqual([true, false, undefined]);
    expect(contents("all")).toBe("b\n");
  });
});

describe("a way that takes no long script", () => {
  const least = (asks: number): number => 9000 + asks * 1500;
  /** As the guest agent refuses one, before anything is sent. */
  const narrow = (bytes: number, lengths: number[]): Machine => ({
    ...machine,
    most: Infinity,
    transport: {
      ...machine.transport,
      run: (script, limits) => {
        if (script.length > bytes)
          return Promise.reject(
            new ShareError({ code: "scriptTooLong", layer: "guest", machine: "m", what: "w" }),
          );
        lengths.push(script.length);
        return machine.transport.run(script, limits);
      },
    },
  });

  test.each([0, 1, 17, 300])(
    "takes %d shares with long paths in as many scripts as it needs",
    async (count) => {
      const lengths: number[] = [];
      const to = narrow(least(20), lengths);
      const looks = await Promise.all(
        Array.from({ length: count }, (_, index) =>
          look(to, set(fact(`f${index}`, sh`echo ${index} ${"x".repeat(410)}`))),
        ),
      );
      expect(looks.map(({ values }) => String([...values.values()][0]).split(" ")[0])).toEqual(
        looks.map((_, index) => String(index)),
      );
      const written = await Promise.all(
        looks.map((seen, index) =>
          write(to, set(fact(`f${index}`, sh`echo ${index} ${"x".repeat(410)}`)), seen, [
            step(`s${index}`, sh`echo ${index} >> "$folder/done"`),
          ]),
        ),
      );
      expect(written.map(({ failed, kept }) => [failed, kept])).toEqual(looks.map(() => [undefined, 1]));
      expect(Math.max(0, ...lengths)).toBeLessThanOrEqual(least(20));
    },
    60_000,
  );

  test("refuses the one share that is too long alone, and serves the others", async () => {
    const to = narrow(least(20), []);
    const [long, short] = await Promise.all([
      caught(look(to, set(fact("long", sh`: ${"x".repeat(60_000)}`)))),
      look(to, set(fact("short", sh`echo short`))),
    ]);
    expect([long, short]).toMatchObject([
      { code: "scriptTooLong" },
      { values: new Map([["look at short", "short\n"]]) },
    ]);
  });
});

describe("what several facts are read out of", () => {
  const lines = {
    variable: "lines",
    script: sh`echo asked >> "$folder/asked"; cat "$folder/lines"`,
  };
  const setB = step("set b", sh`echo b > "$folder/b"`);
  const near = (word: string, more: Partial<Fact<unknown>> = {}): Fact<unknown> =>
    fact(`near ${word}`, sh`printf '%s\n' "$lines" | grep -e ${word} || :`, { gathers: lines, ...more });
  beforeEach(() => {
    writeFileSync(join(folder, "lines"), "one a\ntwo b\n");
  });

  test("is asked for once in a look", async () => {
    const { values } = await look(machine, set(near("one"), near("two")));
    expect([...values.values()]).toEqual(["one a\n", "two b\n"]);
    expect(contents("asked")).toBe("asked\n");
  });

  test("is asked for anew under the lock: only the part that a plan rests on keeps it from being written", async () => {
    const facts = set(fileA, near("one", { precondition: true }));
    const seen = await look(machine, facts);
    writeFileSync(join(folder, "lines"), "one a\ntwo c\n");
    expect((await write(machine, facts, seen, [setB])).stale).toBe(false);
    const again = await look(machine, facts);
    writeFileSync(join(folder, "lines"), "one d\ntwo c\n");
    expect((await write(machine, facts, again, [setB])).stale).toBe(true);
  });
});

describe("perform", () => {
  test("runs one script, tells its standard error, and looks after it", async () => {
    const told: string[] = [];
    const job = sh`echo working >&2; printf done; printf two > "$folder/a"; exit 5`;
    const { report, look: after } = await perform({ machine, facts: set(fileA) }, "work", job, (line) =>
      told.push(line),
    );
    expect([report.status, report.stdout.toString(), report.stderr.toString()]).toEqual([
      5,
      "done",
      "working\n",
    ]);
    expect(told).toContain("working");
    expect(after.values.get("look at a")).toBe("two");
  });
});
