import { execFileSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import type { Snapshot } from "../../../provider/engine/requests";
import { look, write } from "../../../provider/engine/executor";
import { sectionFunctions } from "../../../provider/engine/section";
import type { ShareError } from "../../../provider/errors";
import { type Script, sh } from "../../../provider/remote/shell/sh";
import { SilentMount } from "../silent-mount";
import { shellTransport } from "../shell-transport";
import { folder, machineOf, fact, factsOf, step, here, leftovers, timedOut } from "./section-bench";

/** What ends sections at their limit, and tells the script so. */

test.each(["dash", "bash", "busybox"])(
  "what ends by itself at its limit does not end what comes behind, under %s",
  async (shell) => {
    // As on a machine with many processes.
    const slowly = shellTransport(shell, (text) =>
      text.replace('  tree_of "$section"', '  tree_of "$section"\n  sleep 2'),
    );
    const facts = factsOf(fact("first", sh`sleep 4; echo a`), fact("second", sh`sleep 3; echo b`));
    const [seen] = await look([{ machine: machineOf(slowly, 3000), facts }]);
    expect([...(seen as Snapshot).values]).toEqual([
      ["look at first", "a\n"],
      ["look at second", "b\n"],
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
    expect((seen as Snapshot).values.get("look at a")).toBe("a\n");
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
seen() { command sleep 4; false; }
( watch 1 '' ) &
sleep 3
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
      expect((seen as Snapshot).values.get("look at a")).not.toContain(folder);
      expect(readdirSync(run)).toEqual(["file"]);
    } finally {
      execFileSync("umount", [run]);
    }
  },
);

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
      expect((answers[1] as Snapshot).values.get("look at sound")).toBe("sound\n");
    },
    60_000,
  );

  test("does not keep the machine's lock", async () => {
    const machine = machineOf(here("sh"));
    const facts = factsOf(fact("a", sh`echo a`));
    const [seen] = await look([{ machine, facts }]);
    const ask = { machine, facts, seen: seen as Snapshot };
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
  const left = (): string[] => leftovers().filter((name) => !before.includes(name));
  while (left().length > 0) await new Promise((resolve) => setTimeout(resolve, 100));
}, 30_000);
