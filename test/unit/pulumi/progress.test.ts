import { type Display, Progress } from "../../../provider/pulumi/progress";

const urn = "urn:pulumi:lab::e2e::pulumi-nodejs:dynamic/virtio9p:Virtio9pShare::foobar";

/** All that was said, in order: `err` on standard error, else in the row. */
let said: string[];
beforeEach(() => {
  said = [];
  delete process.env["VIRTIO9P_LOG"];
  jest.spyOn(process.stderr, "write").mockImplementation((text) => {
    said.push(`err ${String(text)}`);
    return true;
  });
});
afterEach(() => {
  delete process.env["VIRTIO9P_LOG"];
  jest.restoreAllMocks();
});

/** Shows the n-th line after so many milliseconds, or fails where that is undefined. */
const display = (...answers: readonly (number | undefined)[]): Display => {
  let lines = 0;
  return {
    show: async (to, kind, text) => {
      const afterMs = answers[lines++ % answers.length];
      await new Promise((done) => setTimeout(done, afterMs ?? 1));
      if (afterMs === undefined) return new Error("no such engine");
      said.push(`${kind} ${to === urn ? "" : to}${text}`);
      return undefined;
    },
  };
};

type Line = ["step" | "warn" | "note", string];
const tell = async (progress: Progress, lines: readonly Line[]): Promise<string[]> => {
  const teller = progress.teller("foobar");
  for (const [kind, text] of lines) teller[kind](text);
  await progress.delivered();
  return said;
};
const lines: Line[] = [
  ["step", "make /srv/a"],
  ["warn", "web1 is off"],
  ["step", "mount"],
];

test.each<[string, string | undefined, Display | undefined]>([
  ["without an engine", urn, undefined],
  ["without a URN", undefined, display(1)],
])("%s: a warning is a line with the tag, and a step is none", async (_, to, shown) => {
  expect(await tell(new Progress(to, shown), lines)).toEqual(["err foobar: warning: web1 is off\n"]);
});

test("without a display the lines are there at once", () => {
  new Progress().teller("foobar").warn("web1 is off");
  expect(said).toEqual(["err foobar: warning: web1 is off\n"]);
});

test.each([["steps"], ["scripts"]])("VIRTIO9P_LOG=%s: steps are lines too", async (level) => {
  process.env["VIRTIO9P_LOG"] = level;
  expect(await tell(new Progress(), lines)).toEqual([
    "err foobar: make /srv/a\n",
    "err foobar: warning: web1 is off\n",
    "err foobar: mount\n",
  ]);
});

test("in the row, in their order though the first takes longest, and no copy of the warning", async () => {
  expect(await tell(new Progress(urn, display(40, 1, 10)), lines)).toEqual([
    "step make /srv/a",
    "warning foobar: web1 is off",
    "step mount",
  ]);
});

test("the end of a call waits for its lines", async () => {
  const progress = new Progress(urn, display(30));
  progress.teller("foobar").warn("web1 is off");
  expect(said).toEqual([]);
  await progress.delivered();
  expect(said).toEqual(["warning foobar: web1 is off"]);
});

test("a display that fails is left alone for the rest of the call, and warnings become lines", async () => {
  const fails = display(undefined, 1, 1, 1);
  const show = jest.spyOn(fails, "show");
  expect(await tell(new Progress(urn, fails), [...lines, ["warn", "again"]])).toEqual([
    "err foobar: warning: web1 is off\n",
    "err foobar: warning: again\n",
  ]);
  expect(show).toHaveBeenCalledTimes(1);
  said = [];
  expect(await tell(new Progress(urn, fails), lines)).not.toContain("err foobar: warning: web1 is off\n");
});

test("why it failed is said where all is said", async () => {
  process.env["VIRTIO9P_LOG"] = "steps";
  const warning: Line = ["warn", "web1 is off"];
  expect(await tell(new Progress(urn, display(undefined)), [warning])).toEqual([
    "err virtio9p: Pulumi shows no more of this call: no such engine\n",
    "err foobar: warning: web1 is off\n",
  ]);
});

test("a slow display does not hold the end of a call for every line", async () => {
  const began = performance.now();
  const many = Array.from({ length: 10 }, (_, at): Line => ["warn", `${at}`]);
  const all = await tell(new Progress(urn, display(1000)), many);
  expect(performance.now() - began).toBeLessThan(6000);
  // None is lost, none is told twice.
  expect(all.map((line) => line.replace(/\D/g, ""))).toEqual(many.map(([, text]) => text));
  expect(all[0]).toBe("warning foobar: 0");
  expect(all.at(-1)).toBe("err foobar: warning: 9\n");
});

test("control characters of a machine reach neither terminal nor row", async () => {
  await tell(new Progress(urn, display(1)), [["step", "find \x1b[2J"]]);
  await tell(new Progress(), [["warn", "a\rb"]]);
  expect(said).toEqual(["step find \\x1b[2J", "err foobar: warning: a\\x0db\n"]);
});

test("an unknown VIRTIO9P_LOG is said once in a process", () => {
  process.env["VIRTIO9P_LOG"] = "script";
  for (let call = 0; call < 3; call++) new Progress();
  expect(said).toEqual([
    'err virtio9p: warning: VIRTIO9P_LOG is "script", and must be one of steps, scripts: did you mean scripts?\n',
  ]);
});

test("a note stays, with the tag, and is no warning", async () => {
  expect(await tell(new Progress(urn, display(1)), [["note", "repaired"]])).toEqual([
    "note foobar: repaired",
  ]);
  said = [];
  expect(await tell(new Progress(), [["note", "repaired"]])).toEqual(["err foobar: repaired\n"]);
});
