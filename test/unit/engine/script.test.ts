import { spawnSync } from "node:child_process";
import { compose, parseReports, unfinished } from "../../../provider/engine/script";
import { section } from "../../../provider/engine/section";
import { untilFailure } from "../until-failure";
import { lines, type Script, sh } from "../../../provider/remote/shell/sh";

/** Runs a body in a real shell and reads its reports as text. */
function run(body: Script, prelude = sh`:`) {
  const composed = compose(prelude, body, { idleMs: 10_000 });
  const { stdout, stderr, status } = spawnSync("/bin/sh", ["-s"], { input: composed.text });
  const reports = [...parseReports(composed.mark, stdout, stderr)].map(
    ([name, report]) => [name, report.status, report.stdout.toString(), report.stderr.toString()] as const,
  );
  return { reports, status, composed, stdout, stderr };
}

const snippets = (...scripts: Script[]) =>
  lines(scripts.map((script, index) => section(`s${index}`, script)));

describe("sections of a script", () => {
  test("are reported each: status, output, error, to the byte", () => {
    const { reports, status } = run(
      snippets(
        sh`printf 'a\n\nb'; printf 'e\n' >&2`,
        sh`exit 3`,
        sh`printf '\n'; printf '\377\000\n'`,
        sh`:`,
      ),
    );
    expect(status).toBe(0);
    expect(reports).toEqual([
      ["s0", 0, "a\n\nb", "e\n"],
      ["s1", 3, "", ""],
      ["s2", 0, "\n\ufffd\0\n", ""],
      ["s3", 0, "", ""],
    ]);
  });

  test("none reads the rest of the script", () => {
    expect(run(snippets(sh`cat`, sh`cat; echo second`)).reports).toEqual([
      ["s0", 0, "", ""],
      ["s1", 0, "second\n", ""],
    ]);
  });

  test("what one sets the next does not see; what the prelude sets all see", () => {
    const { reports } = run(snippets(sh`printf %s "$a"; a=2; cd /tmp`, sh`printf %s "$a"`), sh`a=1`);
    expect(reports.map(([, , stdout]) => stdout)).toEqual(["1", "1"]);
  });

  test("marks of another script are just output", () => {
    const forged = "\nvirtio9p-000000000000000000000000 end s0 0\n";
    expect(run(snippets(sh`printf %s ${forged}`)).reports).toEqual([["s0", 0, forged, ""]]);
  });

  test("the environment is fixed: language, search path, umask", () => {
    const { reports } = run(snippets(sh`echo "$LC_ALL $PATH"; umask`));
    expect(reports).toEqual([
      [
        "s0",
        0,
        "C /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/run/wrappers/bin:/run/current-system/sw/bin:/run/privileged/bin:/run/setuid-programs:/run/current-system/profile/sbin:/run/current-system/profile/bin\n0077\n",
        "",
      ],
    ]);
  });

  test("each script has its own mark", () => {
    const composed = () => compose(sh`:`, snippets(sh`:`), { idleMs: 10_000 });
    const [a, b] = [composed(), composed()];
    expect(a.mark).toMatch(/^virtio9p-[0-9a-f]{24}$/);
    expect(a.mark).not.toBe(b.mark);
  });
});

describe("untilFailure", () => {
  const step = (name: string, script: Script = sh`echo ${name}`, undo = sh`echo ${`undo ${name}`}`) => ({
    does: `do ${name}`,
    run: script,
    undo,
  });
  const outcome = (steps: Parameters<typeof untilFailure>[0]) =>
    run(untilFailure(steps)).reports.map(([name, status, stdout]) => [name, status, stdout.trim()]);

  test("all succeed: nothing is undone", () => {
    expect(outcome([step("a"), step("b")])).toEqual([
      ["0-step-0", 0, "a"],
      ["0-step-1", 0, "b"],
    ]);
  });

  test("the first failure stops the rest; what was done is undone backwards", () => {
    expect(outcome([step("a"), step("b"), step("c", sh`exit 7`), step("d")])).toEqual([
      ["0-step-0", 0, "a"],
      ["0-step-1", 0, "b"],
      ["0-step-2", 7, ""],
      ["0-undo-1", 0, "undo b"],
      ["0-undo-0", 0, "undo a"],
    ]);
  });

  test("a command that fails within a step ends the step", () => {
    expect(
      outcome([
        step(
          "a",
          sh`false
echo on`,
        ),
      ]),
    ).toEqual([["0-step-0", 1, ""]]);
  });

  test("an undo that fails does not stop the others", () => {
    expect(outcome([step("a"), step("b", sh`:`, sh`exit 4`), step("c", sh`exit 1`)])).toEqual([
      ["0-step-0", 0, "a"],
      ["0-step-1", 0, ""],
      ["0-step-2", 1, ""],
      ["0-undo-1", 4, ""],
      ["0-undo-0", 0, "undo a"],
    ]);
  });

  test("a step without undo is left; no steps are none", () => {
    expect(outcome([{ does: "a", run: sh`echo a` }, step("b", sh`false`)])).toEqual([
      ["0-step-0", 0, "a"],
      ["0-step-1", 1, ""],
    ]);
    expect(outcome([])).toEqual([]);
  });
});

describe("unfinished", () => {
  test.each([
    ["ended within a snippet", snippets(sh`echo a`, sh`kill -9 $$`, sh`:`), "s1"],
    [
      "ended between snippets",
      sh`${snippets(sh`echo a`)}
exit 5`,
      undefined,
    ],
  ])("%s", (_, body, expected) => {
    const { composed, stdout } = run(body);
    expect(unfinished(composed.mark, stdout)).toBe(expected);
  });

  test("what had ended before is reported still", () => {
    expect(run(snippets(sh`echo a`, sh`kill -9 $$`, sh`:`)).reports).toEqual([["s0", 0, "a\n", ""]]);
  });
});
