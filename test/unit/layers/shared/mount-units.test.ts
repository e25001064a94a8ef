import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { unitNameOf, unitsOf } from "../../../../provider/layers/shared/mount-units";
import { runFact } from "../../shell-machine";

/** What systemd-escape --path of systemd 252 prints. */
test.each([
  ["/mnt/foo", "mnt-foo"],
  ["/mnt//foo/", "mnt-foo"],
  ["/", "-"],
  ["/mnt/.foo/b-a r", "mnt-.foo-b\\x2da\\x20r"],
  ["/.x/y", "\\x2ex-y"],
  ["/mnt/ü", "mnt-\\xc3\\xbc"],
  ["/a_b:c.d/E9", "a_b:c.d-E9"],
  ["/a\\b", "a\\x5cb"],
])("the unit of %s is %s", (path, name) => {
  expect(unitNameOf(path)).toBe(name);
  let real: string | undefined;
  try {
    real = execFileSync("systemd-escape", ["--path", path], { encoding: "utf8" }).trim();
  } catch {
    console.warn("systemd-escape is not here: compared with what it printed elsewhere");
  }
  expect(real ?? name).toBe(name);
});

test("units in all places are found, masked ones too, and only where systemd runs", () => {
  const folder = mkdtempSync(join(tmpdir(), "virtio9p-units-"));
  const inFolder = (text: string) =>
    text.replace(/'?(\/(?:etc|run|usr|lib)[^ ';]*systemd[^ ';]*)'?/g, `'${folder}$1'`);
  const at = (name: string) => join(folder, name);
  for (const place of ["etc/systemd/system", "usr/lib/systemd/system", "run/systemd/transient"])
    mkdirSync(at(place), { recursive: true });
  writeFileSync(at("usr/lib/systemd/system/mnt-a.mount"), "");
  symlinkSync("/dev/null", at("etc/systemd/system/mnt-a.mount"));
  writeFileSync(at("run/systemd/transient/mnt-a.automount"), "");
  writeFileSync(at("etc/systemd/system/mnt-b.mount"), "");
  expect(runFact(unitsOf("/mnt/a"), inFolder)).toEqual([]);
  mkdirSync(at("run/systemd/system"));
  const found = runFact(unitsOf("/mnt/a"), inFolder).map((file) => file.slice(folder.length));
  rmSync(folder, { recursive: true });
  expect(found).toEqual([
    "/run/systemd/transient/mnt-a.automount",
    "/etc/systemd/system/mnt-a.mount",
    "/usr/lib/systemd/system/mnt-a.mount",
  ]);
});
