import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

const root = resolve(__dirname, "../../..");

/** What the check says of the docs after these replacements, each of a text that stands in a file. */
function check(edits: readonly (readonly [file: string, from: string, to: string])[]) {
  const folder = mkdtempSync(join(tmpdir(), "virtio9p-docs-"));
  try {
    cpSync(join(root, "README.md"), join(folder, "README.md"));
    cpSync(join(root, "docs"), join(folder, "docs"), { recursive: true });
    for (const [file, from, to] of edits) {
      const text = readFileSync(join(folder, file), "utf8");
      expect([file, from, text.includes(from)]).toEqual([file, from, true]);
      writeFileSync(join(folder, file), text.replace(from, to));
    }
    const ended = spawnSync(process.execPath, [join(root, "scripts/check-docs.js"), folder], {
      encoding: "utf8",
    });
    return { status: ended.status, faults: ended.stderr.split("\n").slice(0, -1).sort() };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test("the docs have what the code has", () => {
  expect(check([])).toEqual({ status: 0, faults: [] });
});

test("a name that only the code has, or only the docs, is named", () => {
  const edits = [
    ["README.md", "| `fstab` ", "| `fstap` ", "layer"],
    ["README.md", "| `off` ", "| `of` ", "status"],
    ["docs/outputs.md", "| `guestOwnership` | guest ", "| `ownership` | guest ", "layer"],
    ["docs/outputs.md", "| `differs` ", "| `other` ", "layer state"],
    ["docs/outputs.md", "| `pendingGuest` ", "| `waiting` ", "status"],
    ["docs/outputs.md", "| `mountBusy` ", "| `busy` ", "statusReason"],
    ["docs/outputs.md", "| `fstabEntry` ", "| `line` ", "output"],
    ["docs/errors.md", "| `tagTaken` ", "| `tagGone` ", "error code"],
    ["docs/arguments.md", "| `readOnly` ", "| `writable` ", "argument"],
  ] as const;
  const name = (cell: string): string => /`(.*)`/.exec(cell)?.[1] ?? "";
  const faults = edits.flatMap(([file, from, to, what]) => [
    `${file} lacks the ${what} ${name(from)}`,
    `${file} has the ${what} ${name(to)}, the code has not`,
  ]);
  expect(check(edits.map(([file, from, to]) => [file, from, to]))).toEqual({
    status: 1,
    faults: faults.sort(),
  });
});

test("arguments of a group and of a connection go by their section, with their values and defaults", () => {
  const edits = [
    ["docs/arguments.md", "| `bootMs` ", "| `startMs` "],
    ["docs/arguments.md", "| `hostKey` ", "| `fingerprint` "],
    ["docs/arguments.md", "## `selinux`", "## `labels`"],
    ["docs/arguments.md", "`mapped`, `passthrough`, `squash`", "`mapped`, `passthrough`"],
    ["docs/arguments.md", "| `restore`, `leave` ", "| `restore`, `leave`, `delete` "],
    ["docs/arguments.md", "| 22 ", "| 2222 "],
  ] as const;
  expect(check(edits)).toEqual({
    status: 1,
    faults: [
      "docs/arguments.md has the argument connection.fingerprint, the code has not",
      "docs/arguments.md has the argument labels, the code has not",
      ...["manage", "newFiles", "type"].map(
        (name) => `docs/arguments.md has the argument labels.${name}, the code has not`,
      ),
      "docs/arguments.md has the argument timeouts.startMs, the code has not",
      "docs/arguments.md has the value of directory.onDelete delete, the code has not",
      "docs/arguments.md lacks the argument connection.hostKey",
      "docs/arguments.md lacks the argument selinux",
      ...["manage", "newFiles", "type"].map((name) => `docs/arguments.md lacks the argument selinux.${name}`),
      "docs/arguments.md lacks the argument timeouts.bootMs",
      "docs/arguments.md lacks the value of accessMode squash",
      "docs/arguments.md says that the default of connection.port is 2222, in the code it is 22",
    ],
  });
});
