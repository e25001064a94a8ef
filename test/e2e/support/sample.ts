import { createHash } from "node:crypto";
import { execFileSync } from "node:child_process";
import { root } from "./lab";

/**
 * The cases of a long table that this run takes: all of them where VIRTIO9P_FULL is set, else `most`,
 * chosen by the commit, so that every commit takes others and the same commit the same. Printed.
 */
export function sample<T extends object>(table: string, cases: readonly T[], most: number): T[] {
  if (process.env["VIRTIO9P_FULL"] !== undefined) return [...cases];
  const commit = execFileSync("git", ["-C", root, "rev-parse", "HEAD"], { encoding: "utf8" }).trim();
  const rank = (one: T): string =>
    createHash("sha256")
      .update(`${commit} ${table} ${JSON.stringify(one)}`)
      .digest("hex");
  const chosen = [...cases].sort((a, b) => (rank(a) < rank(b) ? -1 : 1)).slice(0, most);
  process.stderr.write(
    `${table}: ${chosen.length} of ${cases.length} cases, by commit ${commit.slice(0, 12)}: ${chosen.map((one) => JSON.stringify(one)).join(" ")}\n`,
  );
  return cases.filter((one) => chosen.includes(one));
}

/** The tests of a file that do not need each other, by name: those that this run takes, as `sample` has it. */
export function testSome(
  table: string,
  most: number,
  tests: Readonly<Record<string, () => Promise<void>>>,
): void {
  const rows = Object.entries(tests).map(([name, run]) => ({ name, run }));
  it.each(sample(table, rows, most))("$name", ({ run }) => run());
}
