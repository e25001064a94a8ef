import { mkdirSync, rmSync } from "node:fs";
import { CountedShell } from "./support/counted-shell";
import { directory, Guest, records } from "./support/lab";
import { Stack } from "./support/stack";
import { SshHost } from "./support/via";

/**
 * The connection to the host cut at each remote command of a create, an update and a destroy: before the
 * command begins, and when it has done its work and nobody hears of it.
 */
describe("a connection that is cut", () => {
  const guest = new Guest("cut", "small");
  const stack = new Stack();
  const host = new SshHost();
  const base = "/srv/v9p-cut";
  const source = `${base}/tree`;
  let before: string[];

  const declare = (mountPoint: string): void => {
    const { connection } = host;
    const at = { connection };
    stack.declare({
      share: {
        source,
        domain: guest.domain,
        host: at,
        power: "restart",
        guest: { mountPoint, mode: "0750" },
      },
    });
  };
  const machine = async (): Promise<string[]> => [
    await directory(source),
    await guest.definition(),
    await guest.touched(),
  ];

  const operations = ["create", "update", "destroy"] as const;
  const cuts = operations.flatMap((operation) =>
    [1, 2, 3, 4, 5, 6, 7].flatMap((at) =>
      (["before", "after"] as const).map((when) => ({ operation, at, when })),
    ),
  );

  beforeAll(async () => {
    rmSync(base, { recursive: true, force: true });
    mkdirSync(source, { recursive: true });
    await Promise.all([stack.open(), guest.boot(), host.open()]);
    before = await machine();
  });
  afterAll(async () => {
    await host.close();
    await guest.remove();
    stack.close();
    rmSync(base, { recursive: true, force: true });
  });

  it.each(cuts)("$when command $at of $operation: the next one finishes it", async (cut) => {
    declare("/mnt/share");
    if (cut.operation !== "create") await stack.must("up");
    const shell = new CountedShell(cut);
    host.interpose(shell.folder);
    if (cut.operation === "update") declare("/mnt/other");
    const ended = await stack.pulumi(cut.operation === "destroy" ? "destroy" : "up");
    host.interpose(undefined);
    const reached = shell.count() >= cut.at;
    shell.remove();
    const said = ended.stdout + ended.stderr;
    // An operation of fewer commands was not cut at all.
    expect([ended.code !== 0, /\[(connectionLost|hostUnreachable)\]/.test(said)]).toEqual([reached, reached]);
    await guest.settle();
    if (cut.operation !== "destroy") {
      await stack.must("up");
      expect(await stack.share("share")).toMatchObject({ status: "active" });
      const lines = await guest.sh("grep -c ' 9p ' /etc/fstab; grep -c ' 9p ' /proc/mounts");
      expect(lines).toBe("1\n1\n");
      await stack.must("up", ["--expect-no-changes"]);
    }
    await stack.must("destroy");
    expect(await machine()).toEqual(before);
    expect(await records(source)).toEqual([]);
  });
});
