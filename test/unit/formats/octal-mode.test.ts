import { execFileSync } from "node:child_process";
import { chmodSync, mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { exactMode, formatOctalMode, parseOctalMode } from "../../../provider/formats/octal-mode";

test.each([
  ["770", 0o770],
  ["0770", 0o770],
  ["00770", 0o770],
  ["0o770", 0o770],
  ["2750", 0o2750],
  ["7777", 0o7777],
  ["0", 0],
  ["0000", 0],
])("%s is a mode", (text, mode) => {
  expect(parseOctalMode(text)).toBe(mode);
});

test.each(["", "0o", "8", "778", "10000", "-770", "+770", "0x1f8", "u+rwx", " 770", "770\n", "7.0"])(
  "%j is none",
  (text) => {
    expect(parseOctalMode(text)).toBeUndefined();
  },
);

test.each([
  [0, "0000"],
  [0o644, "0644"],
  [0o4755, "4755"],
  [0o100644, "0644"],
  [0o042750, "2750"],
])("%d is written as %s", (mode, text) => {
  expect(formatOctalMode(mode)).toBe(text);
});

test("every mode survives being written and read", () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 0o7777 }), (mode) => {
      expect(parseOctalMode(formatOctalMode(mode))).toBe(mode);
    }),
  );
});

test("an exact mode takes setgid off a directory, which four digits leave on", () => {
  const folder = mkdtempSync(join(tmpdir(), "virtio9p-mode-"));
  const modeAfter = (mode: string): number => {
    chmodSync(folder, 0o2755);
    execFileSync("chmod", [mode, folder]);
    return statSync(folder).mode & 0o7777;
  };
  expect([modeAfter(formatOctalMode(0o755)), modeAfter(exactMode(0o755))]).toEqual([0o2755, 0o755]);
  rmSync(folder, { recursive: true });
});
