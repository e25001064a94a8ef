import { createHash } from "node:crypto";
import { rmSync } from "node:fs";
import { Guest } from "./support/lab";
import { everythingIn, listing, populate } from "./support/populate";
import { output } from "./support/run";
import { Stack } from "./support/stack";

/** A tree that others own is taken over, seen in the guest as it was, and given back. */
describe("a tree of others", () => {
  const guest = new Guest("ownership", "small");
  const stack = new Stack();
  const base = "/srv/v9p-ownership";
  const source = `${base}/tree`;
  const share = (directory: object = { recursive: true }): Record<string, object> => ({
    share: { source, domain: guest.domain, power: "restart", directory, guest: { mountPoint: "/mnt/tree" } },
  });
  const host = (): Promise<string> => everythingIn(source);
  const lines = (text: string): string[] => text.split("\n");
  /** What the guest sees of an access list is what the group may do, not the mask. */
  const withLists = /^\.\/odd\/(listed|masked)\|/;

  beforeAll(async () => {
    rmSync(base, { recursive: true, force: true });
    await Promise.all([stack.open(), guest.boot(), populate(source, 10_000)]);
  });

  afterAll(async () => {
    await guest.remove();
    stack.close();
    rmSync(base, { recursive: true, force: true });
  });

  it("is refused with its owners counted, until it is written out what is to be done", async () => {
    stack.declare(share({}));
    const before = await host();
    expect((await stack.pulumi("up")).stdout).toMatch(
      /holds entries of other owners: \d+ of .* \[treeOfOthers\]/,
    );
    expect(await host()).toBe(before);
  });

  it("the guest sees each entry as it was on the host, and destroy gives everything back", async () => {
    const before = await host();
    const seen = await output("sh", ["-c", `cd "$1" && ${listing}`, "sh", source]);
    stack.declare(share());
    await stack.must("up");
    expect(
      await output("find", [source, "(", "-type", "f", "-o", "-type", "d", ")", "!", "-user", "64055"]),
    ).toBe("");
    const inGuest = await guest.sh(`cd /mnt/tree && ${listing}`);
    expect(lines(inGuest).filter((line) => !withLists.test(line))).toEqual(
      lines(seen).filter((line) => !withLists.test(line)),
    );
    expect(lines(inGuest).filter((line) => withLists.test(line))).toEqual([
      expect.stringMatching(/^\.\/odd\/listed\|81a4\|/),
      expect.stringMatching(/^\.\/odd\/masked\|81a0\|/),
    ]);
    await stack.must("preview", ["--refresh", "--expect-no-changes"]);
    await stack.must("destroy");
    expect(await host()).toBe(before);
    const snapshot = createHash("sha256").update(source).digest("hex").slice(0, 32);
    expect(await output("sh", ["-c", `find /var/lib/virtio9p -name '${snapshot}*'`])).toBe("");
  });

  it("links of the host are read by the guest when that is asked for, and are links again after destroy", async () => {
    const before = await host();
    const targets = "find . -type l | LC_ALL=C sort | while read -r one; do echo $one $(readlink $one); done";
    const there = await output("sh", ["-c", `cd "$1" && ${targets}`, "sh", source]);
    expect(there).toMatch(/\.\/odd\/link \/etc\/passwd/);
    stack.declare(share({ recursive: true, links: "map" }));
    await stack.must("up");
    expect(await guest.sh(`cd /mnt/tree && ${targets}`)).toBe(there);
    expect(await guest.sh("stat -c %u:%g /mnt/tree/odd/link")).toBe("77:88\n");
    await stack.must("preview", ["--refresh", "--expect-no-changes"]);
    stack.declare(share({ recursive: true }));
    await stack.must("up");
    expect(await output("readlink", [`${source}/odd/link`])).toBe("/etc/passwd\n");
    stack.declare(share({ recursive: true, links: "map" }));
    await stack.must("up");
    await stack.must("destroy");
    expect(await host()).toBe(before);
  });
});
