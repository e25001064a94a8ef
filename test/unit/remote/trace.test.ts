import { compose } from "../../../provider/engine/script";
import { section } from "../../../provider/engine/section";
import { untilFailure } from "../until-failure";
import { comment, lines, sh } from "../../../provider/remote/shell/sh";
import { localTransport } from "../../../provider/remote/local";
import { told } from "../../../provider/remote/trace";
import type { Transport } from "../../../provider/remote/transport";

let said: string;
beforeEach(() => {
  said = "";
  process.env["VIRTIO9P_LOG"] = "scripts";
  jest.spyOn(process.stderr, "write").mockImplementation((text) => {
    said += String(text);
    return true;
  });
});
afterEach(() => {
  delete process.env["VIRTIO9P_LOG"];
  jest.restoreAllMocks();
});

const local = localTransport("none");
const limits = { idleMs: 10_000 };

/** The engine's own script, so that what it writes and what is read of it cannot drift apart. */
const composed = compose(
  sh`umask 077`,
  lines([
    sh`mark begin tools; mark end tools 0`,
    untilFailure([
      { does: "make /srv/a", run: sh`sleep 1`, undo: sh`:` },
      { does: "mount it", run: sh`printf 'busy \033[2J\n' >&2; false` },
      { does: "never", run: sh`:` },
    ]),
    comment("look at /srv/a"),
    section("fact-0", sh`echo seen; echo beside >&2`),
  ]),
  limits,
);

/** What was printed after the script itself. */
const results = (): string[] =>
  said
    .split("\n")
    .filter((line) => !line.includes("  | ") && line !== "")
    .map((line) => line.replace(/script \d+/, "script N").replace(/\d\.\d{3} s/, "0.0 s"));

test.each([undefined, "", "steps", "unknown"])("VIRTIO9P_LOG %j: the transport itself", (level) => {
  if (level === undefined) delete process.env["VIRTIO9P_LOG"];
  else process.env["VIRTIO9P_LOG"] = level;
  expect(told(local, "foobar", "asItComes")).toBe(local);
});

test("the whole script before, and after it each part with status and seconds", async () => {
  const output = await told(local, "foobar", "asItComes").run(composed.text, limits);
  expect(output.status).toBe(0);
  const printed = said.split("\n").flatMap((line) => /^foobar: {3}\| (.*)$/.exec(line)?.slice(1) ?? []);
  expect(`${printed.join("\n")}\n`).toBe(composed.text);
  expect(results()).toEqual([
    "foobar: script N on this machine:",
    "foobar: script N on this machine: status 0 after 0.0 s",
    "foobar:   status 0 after 0.0 s: tools",
    "foobar:   status 0 after 0.0 s: make /srv/a",
    "foobar:   status 1 after 0.0 s: mount it",
    "foobar:       busy \\x1b[2J",
    "foobar:   status 0 after 0.0 s: undo: make /srv/a",
    "foobar:   status 0 after 0.0 s: look at /srv/a",
  ]);
  const seconds = Number(/after (\d\.\d{3}) s: make/.exec(said)?.[1]);
  expect(seconds).toBeGreaterThan(0.15);
  expect(seconds).toBeLessThan(5);
});

test("a transport that gives all at the end has seconds for the whole alone", async () => {
  await told(local, "foobar", "atOnce").run(composed.text, limits);
  expect(results()).toContain("foobar: script N on this machine: status 0 after 0.0 s");
  expect(results()).toContain("foobar:   status 1: mount it");
});

test("what the caller is told of progress stays", async () => {
  const heard: string[] = [];
  await told(local, "foobar", "asItComes").run("echo a >&2; echo b >&2", {
    ...limits,
    onProgress: (line) => heard.push(line),
  });
  expect(heard).toEqual(["a", "b"]);
});

test("a script without parts, and one that ends early", async () => {
  await told(local, "foobar", "asItComes").run("exit 3", limits);
  expect(results()).toEqual([
    "foobar: script N on this machine:",
    "foobar: script N on this machine: status 3 after 0.0 s",
  ]);
  said = "";
  const early = compose(sh`:`, lines([comment("wait"), section("job", sh`kill -9 $$`)]), limits);
  await expect(told(local, "foobar", "asItComes").run(early.text, limits)).rejects.toThrow("SIGKILL");
  expect(results().slice(1)).toEqual([
    "foobar: script N on this machine: failed (host on this machine: a script was ended by SIGKILL [transportFailed]) after 0.0 s",
    "foobar:   did not end: wait",
  ]);
});

test("scripts are numbered, so that those of shares at work together can be told apart", async () => {
  const transport: Transport = { ...local, machine: "guest web1" };
  await Promise.all(["a", "b"].map((tag) => told(transport, tag, "asItComes").run("sleep 0.1", limits)));
  const numbers = [...said.matchAll(/^(\w): script (\d+) on guest web1/gm)].map((match) =>
    match.slice(1, 3).join(""),
  );
  expect(numbers).toHaveLength(4);
  expect(new Set(numbers).size).toBe(2);
});
