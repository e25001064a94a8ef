import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Fact, Step } from "../../../provider/engine/concern";
import type { Look, Machine } from "../../../provider/engine/asks";
import { takeLock } from "../../../provider/engine/machine-lock";
import { look, write, type Written } from "../../../provider/engine/place";
import { makeRecord } from "../../../provider/engine/record";
import { sectionFunctions } from "../../../provider/engine/section";
import type { ShareError } from "../../../provider/errors";
import { type Script, sh } from "../../../provider/formats/shell";
import type { Transport } from "../../../provider/transport/transport";
import { SilentMount } from "../silent-mount";
import { shellTransport } from "../shell-transport";

/** Sections that hang, in a real shell: each fails alone, and the script goes on. */

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "virtio9p-section-"));
  mkdirSync(join(folder, "run"));
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});

const machineOf = (transport: Transport, idleMs = 1000): Machine => ({
  place: "host",
  transport,
  prelude: sh`folder=${folder} records=${folder}/records`,
  lock: takeLock(sh`"$folder/lock"`, 1),
  programs: ["flock", "sha256sum"],
  idleMs,
  key: folder,
  scope: { key: "", enter: sh`:`, beforeWrite: sh`:` },
  most: Infinity,
});
const fact = (key: string, script: Script, more: Partial<Fact<unknown>> = {}): Fact<unknown> => ({
  key,
  place: "host",
  does: `look at ${key}`,
  script,
  parse: (output) => output,
  ...more,
});
const factsOf = (...facts: readonly Fact<unknown>[]) => new Map(facts.map((one) => [one.key, one]));
const step = (does: string, run: Script, undo?: Script): Step => ({ does, run, ...(undo ? { undo } : {}) });
/** What is left running of a script, by a word of its command line. */
const running = (word: string): string[] =>
  readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, "latin1").split("\0").includes(word);
      } catch {
        return false;
      }
    });
/** Other tests' scripts have their folders in /run meanwhile. */
const here = (shell: string): Transport =>
  shellTransport(shell, (text) => text.replace("for folder in /run ", `for folder in ${folder}/run `));
const leftovers = (): string[] => readdirSync(join(folder, "run"));
const timedOut = (does: string, how = "was ended"): object => ({
  code: "commandTimedOut",
  what: expect.stringMatching(
    new RegExp(`^"${does}" gave no sign of progress for \\d+ s, and ${how}`),
  ) as string,
  tried: does,
  remedy: expect.stringContaining("timeouts.commandMs") as string,
});

/** What hangs, as a body. */
const hanging: readonly (readonly [string, Script])[] = [
  ["a program that waits", sh`sleep 4711`],
  ["one of several in a pipe, and its child", sh`printf x | { cat; sh -c 'sleep 4711; :'; } | cat`],
  ["one that ignores SIGTERM", sh`trap '' TERM; sh -c 'trap "" TERM; while :; do sleep 4711; done'`],
  ["one that is stopped, and holds what it prints to", sh`sh -c 'kill -STOP $$; sleep 4711'`],
];

describe.each(["dash", "bash", "busybox"])("under %s", (shell) => {
  const machine = () => machineOf(here(shell));

  test.each(hanging)(
    "in a look: %s",
    async (_, body) => {
      const common = fact("common", sh`echo common`);
      const answers = await look([
        {
          machine: machine(),
          facts: factsOf(
            common,
            fact("before", sh`echo b`),
            fact("dead", body),
            fact("behind", sh`echo no >> "$folder/behind"`),
          ),
        },
        { machine: machine(), facts: factsOf(common, fact("sound", sh`echo sound`)) },
      ]);
      expect((answers[0] as ShareError).problems).toMatchObject([timedOut("look at dead")]);
      expect([...(answers[1] as Look).values]).toEqual([
        ["common", "common\n"],
        ["sound", "sound\n"],
      ]);
      expect(existsSync(join(folder, "behind"))).toBe(false);
      expect([running("4711"), leftovers()]).toEqual([[], []]);
    },
    30_000,
  );
});

test.each(["dash", "bash", "busybox"])(
  "what ends by itself at its limit does not end what comes behind, under %s",
  async (shell) => {
    // As on a machine with many processes.
    const slowly = shellTransport(shell, (text) =>
      text.replace('  tree_of "$section"', '  tree_of "$section"\n  sleep 2'),
    );
    const facts = factsOf(fact("first", sh`sleep 5; echo a`), fact("second", sh`sleep 3; echo b`));
    const [seen] = await look([{ machine: machineOf(slowly, 3000), facts }]);
    expect([...(seen as Look).values]).toEqual([
      ["first", "a\n"],
      ["second", "b\n"],
    ]);
  },
  30_000,
);

test.each(["dash", "bash", "busybox"])(
  "a section that ends while the script hears a signal of the watch, under %s",
  async (shell) => {
    const slowly = shellTransport(shell, (text) =>
      text.replace(/^trap (.*) USR1$/m, "trap '$1; sleep 1' USR1"),
    );
    const facts = factsOf(fact("a", sh`( sleep 0.2; kill -USR1 $$ ) & sleep 0.5; echo a`));
    const [seen] = await look([{ machine: machineOf(slowly, 10_000), facts }]);
    expect((seen as Look).values.get("a")).toBe("a\n");
  },
);

/** What a script with the functions of sections prints; `$work` is a folder. */
const withFunctions = (shell: string, body: Script): string => {
  const script = sh`work=${folder}
mark() { printf '%s\n' "$*"; }
${sectionFunctions}
${body}`;
  const [program = "", ...args] = shell === "busybox" ? ["busybox", "sh"] : [shell];
  return execFileSync(program, [...args, "-c", script.text], { encoding: "utf8" });
};

test.each(["dash", "bash", "busybox"])(
  "the watch that is ended between two of its sleeps ends no other process, under %s",
  (shell) => {
    const killed = withFunctions(
      shell,
      sh`kill() { printf 'killed %s\n' "$*"; }
seen() { command sleep 1; false; }
( watch 1 '' ) &
sleep 1.5
command kill $!
wait $! || :`,
    );
    expect(killed).toBe("");
  },
);

test.each(["dash", "bash", "busybox"])(
  "the verdict of one section is not taken for that of the next, under %s",
  (shell) => {
    const late = withFunctions(
      shell,
      sh`echo '1 stuck 7' > "$work/verdict"
( until [ -s "$work/section" ]; do sleep 0.1; done
read -r late < "$work/section"
echo "$late" > "$work/late"
kill "$late"
sleep 1
echo "$late ended 3" > "$work/verdict" ) &
sleep 5 &
settle one`,
    );
    expect(late).toBe("end one 143 ended 3\n");
  },
);

test.each(["dash", "bash", "busybox"])(
  "a full file system, which takes a folder and no byte, is passed over, under %s",
  async (shell) => {
    const run = join(folder, "run");
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=4k", "full", run]);
    try {
      execFileSync("sh", ["-c", 'echo > "$1/file"', "sh", run]);
      const facts = factsOf(fact("a", sh`echo "$work"`));
      const [seen] = await look([{ machine: machineOf(here(shell)), facts }]);
      expect((seen as Look).values.get("a")).not.toContain(folder);
      expect(readdirSync(run)).toEqual(["file"]);
    } finally {
      execFileSync("umount", [run]);
    }
  },
);

describe("in a write", () => {
  const machine = (idleMs?: number) => machineOf(here("sh"), idleMs);
  const set = (name: string): Step =>
    step(`set ${name}`, sh`echo ${name} >> "$folder/done"`, sh`echo ${`not ${name}`} >> "$folder/done"`);
  const contents = (): string[] => readFileSync(join(folder, "done"), "utf8").split("\n").slice(0, -1);
  const plan = async (facts: ReturnType<typeof factsOf>, steps: readonly Step[], idleMs?: number) => {
    const [seen] = await look([{ machine: machine(idleMs), facts }]);
    return { machine: machine(idleMs), facts, seen: seen as Look, steps };
  };

  test.each([0, 1, 17, 300])(
    "with %d others, which are finished and reported so",
    async (count) => {
      // On a busy machine the guards of 300 shares take longer than the limit of one that hangs.
      const idleMs = count > 100 ? 15_000 : 1000;
      const shares = await Promise.all(
        Array.from({ length: count }, (_, index) =>
          plan(factsOf(fact(`f${index}`, sh`echo ${index}`)), [set(`s${index}`)], idleMs),
        ),
      );
      const bad = await plan(
        factsOf(fact("own", sh`echo own`)),
        [set("a"), step("touch the dead", sh`sleep 4712`, sh`echo never >> "$folder/done"`), set("c")],
        idleMs,
      );
      const [first, ...others] = await write([bad, ...shares]);
      expect(first).toMatchObject({ stale: false, kept: 1, failed: timedOut("touch the dead") });
      expect(others.map((one) => [(one as Written).failed, (one as Written).kept])).toEqual(
        shares.map(() => [undefined, 1]),
      );
      expect(others.map((one) => [...(one as Written).look.values.values()])).toEqual(
        shares.map((_, index) => [`${index}\n`]),
      );
      expect(contents()).toEqual(["a", "not a", ...shares.map((_, index) => `s${index}`)]);
      expect([running("4712"), leftovers()]).toEqual([[], []]);
    },
    120_000,
  );

  test.each([
    ["is ended", sh`sleep 4719`, true],
    ["fails", sh`false`, false],
  ])("what was found before a step that %s: whether it is kept", async (_, run, kept) => {
    const at = { layer: "directory", name: "directory", identity: "/srv/a", scope: "host" } as const;
    const seen = await plan(factsOf(fact("own", sh`echo own`)), []);
    const steps = [makeRecord(at, { owner: 0 }, ["u/a"]), step("take over", run)];
    await write([{ ...seen, steps }]);
    const records = join(folder, "records/host");
    expect(existsSync(records) && readdirSync(records).length > 0).toBe(kept);
  });

  test.each(["dash", "bash", "busybox"])("what a step that is ended cleans up, under %s", async (shell) => {
    const at = machineOf(here(shell));
    const facts = factsOf(fact("own", sh`echo own`));
    const [seen] = await look([{ machine: at, facts }]);
    const hangs = step(
      "edit",
      sh`trap 'rm -f -- "$folder/fresh"' EXIT
: > "$folder/fresh"
sleep 4720`,
    );
    await write([{ machine: at, facts, seen: seen as Look, steps: [hangs] }]);
    expect(existsSync(join(folder, "fresh"))).toBe(false);
  });

  test("an undo that hangs: what was done before it stays, and is named", async () => {
    const bad = await plan(factsOf(fact("own", sh`echo own`)), [
      set("a"),
      step("b", sh`:`, sh`sleep 4713`),
      step("break", sh`false`),
    ]);
    const good = await plan(factsOf(fact("other", sh`echo other`)), [set("good")]);
    const [first, second] = await write([bad, good]);
    expect(first).toMatchObject({
      kept: 2,
      failed: { tried: "break", remedy: expect.stringContaining("could not be undone: ") as string },
    });
    expect(second).toMatchObject({ failed: undefined, kept: 1 });
    expect(contents()).toEqual(["a", "good"]);
  }, 60_000);

  test("what several do together fails for those alone that asked for it", async () => {
    const together = (asked: string): Step => ({
      ...step(`ask for ${asked}`, sh`sleep 4714`),
      together: { kind: "k", rank: 1, asked: `${asked}\n` },
    });
    const [a, b, c] = await write([
      await plan(factsOf(fact("a", sh`echo a`)), [set("a"), together("a")]),
      await plan(factsOf(fact("b", sh`echo b`)), [set("b"), together("b")]),
      await plan(factsOf(fact("c", sh`echo c`)), [set("c")]),
    ]);
    expect([a, b]).toMatchObject([{ failed: timedOut("ask for a") }, { failed: timedOut("ask for b") }]);
    expect(c).toMatchObject({ failed: undefined, kept: 1 });
    expect(contents()).toEqual(expect.arrayContaining(["not a", "not b", "c"]));
  }, 60_000);

  test("a guard that hangs: nothing is written for its share", async () => {
    const guard = fact("guard", sh`[ ! -e "$folder/dead" ] || sleep 4715`, { guard: true });
    const bad = await plan(factsOf(guard), [set("bad")]);
    const good = await plan(factsOf(fact("g", sh`echo g`, { guard: true })), [set("good")]);
    execFileSync("touch", [join(folder, "dead")]);
    const [first, second] = await write([bad, good]);
    expect(first).toMatchObject({ stale: false, kept: 0, failed: timedOut("look at guard") });
    expect(second).toMatchObject({ failed: undefined, kept: 1 });
    expect(contents()).toEqual(["good"]);
  }, 60_000);

  test("what gives signs of progress goes on for longer than its limit", async () => {
    const slow = step("work", sh`for turn in 1 2 3 4 5 6 7; do sleep 0.5; mark at "$turn"; done`);
    const [first] = await write([await plan(factsOf(fact("a", sh`echo a`)), [slow], 2000)]);
    expect(first).toMatchObject({ failed: undefined, kept: 1 });
  }, 60_000);
});

test("what several facts are read out of, and a libvirt that hangs, are one error of who asks for it", async () => {
  const gathers = { variable: "lines", script: sh`sleep 4716` };
  const machine = machineOf(here("sh"));
  const answers = await look([
    { machine, facts: factsOf(fact("a", sh`printf %s "$lines"`, { gathers })) },
    { machine, facts: factsOf(fact("b", sh`echo b`)) },
  ]);
  expect(answers[0]).toMatchObject({ problems: [timedOut("look at a")] });
  expect((answers[1] as Look).values.get("b")).toBe("b\n");
  const opening = {
    does: "ask libvirt",
    variable: "listing",
    script: sh`sleep 4717`,
    behind: sh`listed=$status`,
  };
  const [hung, other] = await look([
    { machine: { ...machine, opening }, facts: factsOf(fact("a", sh`echo a`)) },
    { machine: { ...machine, opening }, facts: factsOf(fact("b", sh`echo b`)) },
  ]);
  expect([hung, other]).toMatchObject([
    { problems: [timedOut("ask libvirt")] },
    { problems: [timedOut("ask libvirt")] },
  ]);
  expect([running("4716"), running("4717"), leftovers()]).toEqual([[], [], []]);
}, 60_000);

test("many that hang on one thing do not wait for it as long each", async () => {
  // Its seconds are tenths.
  const fast = shellTransport("sh", (text) => text.replace("sleep $step", "sleep 0.$step"));
  const machine = machineOf(fast, 40_000);
  const answers = await look(
    [1, 2, 3, 4].map((index) => ({
      machine,
      facts: factsOf(fact(`dead ${index}`, sh`sleep 4718`)),
    })) as never,
  );
  expect(answers.map((one) => /for (\d+) s/.exec((one as ShareError).problems[0]?.what ?? "")?.[1])).toEqual([
    "40",
    "20",
    "10",
    "10",
  ]);
}, 60_000);

describe("a process that cannot be ended: it waits for a file system whose server does not answer", () => {
  let mount: SilentMount;
  beforeEach(() => {
    mount = SilentMount.at(join(folder, "dead"));
  });
  afterEach(() => {
    mount.remove();
  });

  test.each([
    ["a program", (at: string) => sh`cat -- ${at}`],
    ["the shell itself", (at: string) => sh`[ -e ${at} ]`],
  ])(
    "%s",
    async (_, body) => {
      const machine = machineOf(here("sh"));
      const answers = await look([
        { machine, facts: factsOf(fact("dead", body(join(folder, "dead/x")))) },
        { machine, facts: factsOf(fact("sound", sh`echo sound`)) },
      ]);
      expect((answers[0] as ShareError).problems).toMatchObject([
        timedOut("look at dead", "cannot be ended: it may go on"),
      ]);
      expect((answers[0] as ShareError).problems[0]?.returned).toMatch(/waits in the kernel/);
      expect((answers[1] as Look).values.get("sound")).toBe("sound\n");
    },
    60_000,
  );

  test("does not keep the machine's lock", async () => {
    const machine = machineOf(here("sh"));
    const facts = factsOf(fact("a", sh`echo a`));
    const [seen] = await look([{ machine, facts }]);
    const ask = { machine, facts, seen: seen as Look };
    const dead = step("touch the dead", sh`: > ${join(folder, "dead/x")}`);
    const [first] = await write([{ ...ask, steps: [dead] }]);
    expect(first).toMatchObject({ kept: 1, failed: timedOut("touch the dead", "cannot be ended") });
    expect(await write([{ ...ask, steps: [step("go on", sh`:`)] }])).toMatchObject([
      { failed: undefined, kept: 1 },
    ]);
  }, 60_000);
});

test("the watch ends with a script that is killed, and cleans up", async () => {
  const before = leftovers();
  const machine = machineOf(here("sh"), 4000);
  const looked = look([{ machine, facts: factsOf(fact("a", sh`kill -9 $$`)) }]);
  await expect(looked).rejects.toMatchObject({ code: "transportFailed" });
  await new Promise((resolve) => setTimeout(resolve, 2500));
  expect(leftovers().filter((name) => !before.includes(name))).toEqual([]);
}, 30_000);
