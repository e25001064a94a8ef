import { PowerGate } from "../../../provider/engine/power-gate";

const tick = () => new Promise<void>((resolve) => setImmediate(resolve));

/** A gate that answers with what was asked together, and keeps all of it. */
function gateOf() {
  const cycles: string[][] = [];
  const gate = new PowerGate<string, string>((asks) => {
    cycles.push([...asks]);
    return Promise.resolve(asks.join("+"));
  });
  return { cycles, gate };
}

/** A call for a domain of one and the same host. */
function at(gate: PowerGate<string, string>, domain: string) {
  const visit = gate.enter("kvm1");
  visit.isFor(domain);
  return visit;
}

describe("PowerGate", () => {
  test("one call alone is served at once", async () => {
    const { gate, cycles } = gateOf();
    const visit = at(gate, "web1");
    expect(await visit.ask("a")).toBe("a");
    visit.leave();
    expect(cycles).toEqual([["a"]]);
  });

  test("calls in flight share one cycle: it waits until all have asked", async () => {
    const { gate, cycles } = gateOf();
    const [a, b] = [at(gate, "web1"), at(gate, "web1")];
    const first = a.ask("a");
    await tick();
    expect(cycles).toEqual([]);
    expect(await Promise.all([first, b.ask("b")])).toEqual(["a+b", "a+b"]);
  });

  test("or have left without asking", async () => {
    const { gate, cycles } = gateOf();
    const [a, b] = [at(gate, "web1"), at(gate, "web1")];
    const first = a.ask("a");
    await tick();
    b.leave();
    b.leave();
    expect(await first).toBe("a");
    expect(cycles).toEqual([["a"]]);
  });

  test("another domain is not waited for", async () => {
    const { gate } = gateOf();
    at(gate, "web2");
    expect(await at(gate, "web1").ask("a")).toBe("a");
  });

  test("a call that has not said its domain yet is waited for", async () => {
    const { gate, cycles } = gateOf();
    const [a, b, c] = [at(gate, "web1"), gate.enter("kvm1"), gate.enter("kvm1")];
    const first = a.ask("a");
    b.isFor("web2");
    await tick();
    expect(cycles).toEqual([]);
    c.isFor("web1");
    expect(await Promise.all([first, c.ask("c")])).toEqual(["a+c", "a+c"]);
  });

  test("a later call takes a cycle of its own, when the ones before it are through", async () => {
    const { gate, cycles } = gateOf();
    const a = at(gate, "web1");
    expect(await a.ask("a")).toBe("a");
    const b = at(gate, "web1");
    const second = b.ask("b");
    await tick();
    expect(cycles).toEqual([["a"]]);
    a.leave();
    expect(await second).toBe("b");
    expect(cycles).toEqual([["a"], ["b"]]);
  });

  test("a failed cycle fails all that asked, and the next is tried anew", async () => {
    let turn = 0;
    const gate = new PowerGate<string, string>(() => {
      turn += 1;
      return turn === 1 ? Promise.reject(new Error("no")) : Promise.resolve("yes");
    });
    const [a, b] = [at(gate, "web1"), at(gate, "web1")];
    expect(await Promise.allSettled([a.ask("a"), b.ask("b")])).toEqual([
      { status: "rejected", reason: new Error("no") },
      { status: "rejected", reason: new Error("no") },
    ]);
    b.leave();
    await expect(a.ask("again")).resolves.toBe("yes");
  });
});
