import { everyMs, PowerTale, toldWhile } from "../../../provider/power/waiting";

/** A clock that goes on by what each line is given. */
function tale(lines: readonly (readonly [number, string])[], agentMs = 300_000): string[] {
  const said: string[] = [];
  let now = 1_000_000;
  const one = new PowerTale(
    "web1",
    { shutdownMs: 120_000, agentMs },
    (text) => said.push(text),
    () => now,
  );
  for (const [after, line] of lines) {
    now += after * 1000;
    one.hear(line);
  }
  return said;
}

test("a restart is told in words, with what is waited for every 15 s", () => {
  const every = (seconds: number, count: number) =>
    Array.from({ length: count }, () => [seconds, "waiting"] as const);
  expect(
    tale([
      [0, "shuttingDown"],
      ...every(5, 7),
      [1, "off"],
      [0, "starting"],
      [2, "result started"],
      ...every(4, 10),
    ]),
  ).toEqual([
    "web1: shutting down, for at most 120 s",
    "web1: shutting down (15 s of at most 120 s)",
    "web1: shutting down (30 s of at most 120 s)",
    "web1: is off",
    "web1: starting",
    "web1: waiting for the guest agent, for at most 300 s",
    "web1: waiting for the guest agent (16 s of at most 300 s)",
    "web1: waiting for the guest agent (32 s of at most 300 s)",
  ]);
});

test.each<[string, string[]]>([
  ["cutting the power", ["web1: did not shut down in time: cutting its power"]],
  ["startError error: no such device ", ["web1: libvirt says: error: no such device"]],
  ["takingOut data", ["web1: did not start: taking data out of its definition"]],
  ["result notStarted", []],
  ["waiting", []],
  ["something new", ["web1: something new"]],
])("%s", (line, expected) => {
  expect(tale([[0, line]])).toEqual(expected);
});

test("who waits for no agent is told that it has started", () => {
  expect(tale([[0, "result started"]], 0)).toEqual(["web1: started"]);
});

test("another wait is told at once, and every 15 s until it is over", async () => {
  jest.useFakeTimers();
  try {
    const said: string[] = [];
    let end = (): void => undefined;
    const work = new Promise<void>((resolve) => (end = resolve));
    const wait = { domain: "web1", does: "waiting for the guest to answer over SSH", mostMs: 300_000 };
    const told = toldWhile(work, wait, (text) => said.push(text));
    jest.advanceTimersByTime(2 * everyMs + 1000);
    end();
    await told;
    jest.advanceTimersByTime(10 * everyMs);
    expect(said).toEqual([
      "web1: waiting for the guest to answer over SSH, for at most 300 s",
      "web1: waiting for the guest to answer over SSH (15 s of at most 300 s)",
      "web1: waiting for the guest to answer over SSH (30 s of at most 300 s)",
    ]);
  } finally {
    jest.useRealTimers();
  }
});
