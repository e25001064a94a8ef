import { box, status } from "./bench";

/** Power cycles that do not go as they should. */

describe("power cycles that do not go as they should", () => {
  test("the domain does not start with the device: it runs without it, and that is said", async () => {
    box.write("refuse-start", "");
    const { failure, changed } = await box.run({ spec: box.spec({ power: "restart" }) });
    expect([failure?.code, changed, box.read("state").trim()]).toEqual([
      "startedWithoutDevice",
      true,
      "running",
    ]);
    expect(box.has("persistent/foobar")).toBe(false);
  });

  test("the guest does not shut down: it still runs, and that is said", async () => {
    box.write("refuse-shutdown", "");
    const spec = box.spec({ power: "restart", timeouts: { shutdownMs: 1000 } });
    const { failure } = await box.run({ spec });
    // The job watches on: let it see the end.
    box.write("state", "shut off\n");
    expect(failure?.code).toBe("shutdownTimedOut");
    for (let turn = 0; turn < 50 && !box.log.includes("start"); turn++) {
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    expect(box.log.slice(-1)).toEqual(["start"]);
  }, 20_000);

  test("force: its power is cut", async () => {
    box.write("refuse-shutdown", "");
    const outcome = await box.run({ spec: box.spec({ power: "force", timeouts: { shutdownMs: 1000 } }) });
    expect([outcome.failure, status(outcome)]).toEqual([undefined, "active"]);
    expect(box.log).toEqual(["attach foobar", "shutdown", "destroy", "start"]);
  }, 20_000);
});
