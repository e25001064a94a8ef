import { execFileSync, spawnSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { editLine } from "../../../../provider/layers/shared/line-edits";
import type { Step } from "../../../../provider/engine/layer";
import { lines, type Script, sh } from "../../../../provider/remote/shell/sh";
import { runScript } from "../../shell-machine";

const addLine = (does: string, line: string, hadFile: boolean) => editLine(does, "", line, hadFile);
const takeLine = (does: string, line: string, hadFile: boolean) => editLine(does, line, "", hadFile);
const replaceLine = (does: string, from: string, to: string) => editLine(does, from, to, true);
const ours = "foobar    /mnt/a    9p   trans=virtio 0 0";
const inner = "inner    /mnt/a/in    9p   trans=virtio 0 0";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "virtio9p-edits-"));
});
afterEach(() => {
  spawnSync("chattr", ["-i", file()], { stdio: "ignore" });
  rmSync(folder, { recursive: true });
});

const shells = ["dash", "bash", "busybox sh"];
const file = () => join(folder, "fstab");
const inFolder =
  (shell = "dash", more = "") =>
  (text: string) =>
    `${more}\nsync() { :; }\n${text}`
      .replaceAll("/etc/fstab", file())
      .replaceAll("/run/systemd/system", join(folder, "systemd"))
      .replaceAll("fresh=$fresh had=$had awk", (all) =>
        shell.includes("busybox") ? all.replace(/awk$/, "busybox awk") : all,
      );
const run = (script: Script, shell = "dash", more = "") => runScript(script, inFolder(shell, more), shell);
const runAll = (steps: readonly Step[], shell = "dash") => {
  for (const step of steps) run(step.run, shell);
};
const undo = (step: Step) => step.undo ?? sh`exit 1`;
const write = (text: string) => {
  writeFileSync(file(), text, { encoding: "latin1", mode: 0o640 });
};
const read = () => readFileSync(file(), "latin1");
const add = addLine("add", ours, true);
const addInner = addLine("add", inner, true);
const take = takeLine("take", ours, true);

describe.each(shells)("in %s", (shell) => {
  test.each([
    ["", `${ours}\n`],
    ["a /b c d 0 0\n", `a /b c d 0 0\n${ours}\n`],
    ["a /b c d 0 0", `a /b c d 0 0\n${ours}`],
    ["a\r\nb\r\n", `a\r\nb\r\n${ours}\r\n`],
    ["a\r\nb", `a\r\nb\r\n${ours}`],
    ["a\nb\r\n", `a\nb\r\n${ours}\n`],
    ["a\r", `a\r\n${ours}`],
    ["\n", `\n${ours}\n`],
    ["# \xe4\xff \\040 %s\n", `# \xe4\xff \\040 %s\n${ours}\n`],
  ])("adds to %j, and takes out again to the byte, mode and owner kept", (before, after) => {
    write(before);
    run(add.run, shell);
    expect(read()).toBe(after);
    expect(statSync(file()).mode & 0o777).toBe(0o640);
    run(take.run, shell);
    expect(read()).toBe(before);
    expect(readdirSync(folder)).toEqual(["fstab"]);
  });

  test("what comes first is what others are mounted in, in whichever order they come", () => {
    for (const steps of [
      [add, addInner],
      [addInner, add],
    ]) {
      write("UUID=1 / ext4 defaults 0 1\n# end\n");
      runAll(steps, shell);
      const lines = read().split("\n");
      expect(lines.indexOf(ours)).toBeLessThan(lines.indexOf(inner));
      expect(lines[0]).toBe("UUID=1 / ext4 defaults 0 1");
      for (const step of steps) run(undo(step), shell);
      expect(read()).toBe("UUID=1 / ext4 defaults 0 1\n# end\n");
    }
  });

  test("an outer line of somebody else that stands behind is not overtaken", () => {
    const text = `${inner}\nx //mnt/./ ext4 o 0 0\n`;
    write(text);
    run(add.run, shell);
    expect(read()).toBe(`${text}${ours}\n`);
  });

  test("a line with bytes that are no UTF-8 comes back as it was", () => {
    const line = "foobar /mnt/a 9p x-note=caf\xe9,%d\\040";
    write(`a\n${line}\r\nb\n`);
    const step = replaceLine("set", line, ours);
    run(step.run, shell);
    expect(read()).toBe(`a\n${ours}\r\nb\n`);
    run(undo(step), shell);
    expect(read()).toBe(`a\n${line}\r\nb\n`);
  });

  test.each([
    ["behind ours", (text: string) => `${text}x /y z o 0 0\n`],
    ["before ours", (text: string) => `x /y z o 0 0\n${text}`],
    ["in the place of another", (text: string) => text.replace("# a", "# another one, longer")],
  ])("another writer's line %s stays when ours is taken back", (_, edit) => {
    write("# a\n");
    run(add.run, shell);
    write(edit(read()));
    run(undo(add), shell);
    expect(read()).toBe(edit("# a\n"));
  });

  test("what another writer has made of our line is left, and said", () => {
    write("# a\n");
    run(add.run, shell);
    const changed = read().replace("trans=virtio", "trans=virtio,ro");
    write(changed);
    expect(() => run(undo(add), shell)).toThrow(/not in \S+fstab any more as it was: it is left as it is/);
    expect(read()).toBe(changed);
  });

  test("what is gone with its mount point needs not be taken back", () => {
    write("# a\n");
    run(undo(add), shell);
    expect(read()).toBe("# a\n");
  });

  test("several shares' edits in one script, planned on one look, all hold", () => {
    const other = "other /mnt/b 9p trans=virtio 0 0";
    write(`# a\n${ours}\n${other}\n`);
    runAll(
      [
        take,
        addInner,
        replaceLine("set", other, "other /mnt/b 9p ro 0 0"),
        addLine("add", "x /mnt/x 9p o 0 0", true),
      ],
      shell,
    );
    expect(read()).toBe(`# a\nother /mnt/b 9p ro 0 0\n${inner}\nx /mnt/x 9p o 0 0\n`);
  });

  test.each(shell === "dash" ? [0, 1, 17, 300] : [0, 1, 17])(
    "%d lines are added and taken out in another order",
    (count) => {
      const text = "UUID=1 / ext4 defaults 0 1\r\n# c";
      write(text);
      const lines = Array.from({ length: count }, (_, index) => `t${index} /mnt/t${index} 9p o 0 0`);
      const all = (edits: readonly Step[]) => {
        run({ text: edits.map((step) => `( ${step.run.text} )`).join("\n") }, shell);
      };
      all(lines.map((line) => addLine("add", line, true)));
      expect(read().split("\n").length).toBe(count + 2);
      all(lines.toSorted().map((line) => takeLine("take", line, true)));
      expect(read()).toBe(text);
    },
  );

  test("of files of any bytes, adding and taking out gives each back", () => {
    const bytes = fc.oneof(
      fc.string({
        unit: fc.constantFrom("a", " ", "\t", "#", "\n", "\r", "\r\n", "\\", "\xe4", "a /b c d 0 0"),
      }),
      fc.array(fc.integer({ min: 1, max: 255 })).map((codes) => String.fromCharCode(...codes)),
      fc.array(fc.constantFrom("a /b c d 0 0", "", "# c", "\xff")).map((lines) => lines.join("\r\n")),
    );
    const samples = fc.sample(bytes, 40);
    mkdirSync(join(folder, "tabs"));
    samples.forEach((text, index) => {
      writeFileSync(join(folder, "tabs", String(index)), text, "latin1");
    });
    const script = sh`for tab in ${join(folder, "tabs")}/*; do ( ${add.run}; cp -- "$tab" "$tab.added"; ${take.run} ); done`;
    runScript(script, (text) => inFolder(shell)(text).replaceAll(`'${file()}'`, '"$tab"'), shell);
    samples.forEach((text, index) => {
      expect(readFileSync(join(folder, "tabs", String(index)), "latin1")).toBe(text);
      expect(readFileSync(join(folder, "tabs", `${index}.added`), "latin1")).toContain(ours);
    });
  });
});

test("a file that is not there is made for all to read, and goes with the last line", () => {
  const step = addLine("add", ours, false);
  run(step.run);
  expect([read(), (statSync(file()).mode & 0o777).toString(8)]).toEqual([`${ours}\n`, "644"]);
  run(undo(step));
  expect(existsSync(file())).toBe(false);
});

test("one that is a link stays one", () => {
  writeFileSync(join(folder, "real"), "# a\n");
  symlinkSync("real", file());
  run(add.run);
  expect(readFileSync(join(folder, "real"), "utf8")).toBe(`# a\n${ours}\n`);
  expect(readdirSync(folder).sort()).toEqual(["fstab", "real"]);
});

test("a line that another writer appends, without the lock, while the file is edited is there behind it", () => {
  write("# a\n");
  const beside = `awk() { command awk "$@"; [ -e ${folder}/once ] || { : > ${folder}/once; sleep 0.02; echo '# beside' >> ${file()}; }; }`;
  run(add.run, "dash", beside);
  expect(read()).toBe(`# a\n# beside\n${ours}\n`);
});

test.each(["dash", "bash"])(
  "in %s, a file that somebody renames in before it is read whole is edited",
  (shell) => {
    write("# a\n");
    const renames = `awk() {
  if ! [ -e ${folder}/renamed ]; then
    : > ${folder}/renamed
    printf '# another\\n' > ${folder}/other
    mv ${folder}/other ${file()}
  fi
  command awk "$@"
}`;
    run(add.run, shell, renames);
    expect(read()).toBe(`# another\n${ours}\n`);
  },
);

test("one that is appended while the fresh file is put in place is there behind it, too", () => {
  write("# a\n");
  const beside = `mv() { echo '# beside' >> ${file()}; command mv "$@"; }`;
  run(add.run, "dash", beside);
  expect(read()).toBe(`# a\n${ours}\n# beside\n`);
  run(take.run, "bash", beside);
  expect(read()).toBe("# a\n# beside\n# beside\n");
});

describe("what cannot be written leaves nothing behind", () => {
  test("an immutable file", () => {
    write("# a\n");
    execFileSync("chattr", ["+i", file()]);
    expect(() => run(add.run)).toThrow(/not permitted/);
    execFileSync("chattr", ["-i", file()]);
    expect([read(), readdirSync(folder)]).toEqual(["# a\n", ["fstab"]]);
  });

  test.each([
    ["a rename that fails", "mv() { echo 'mv: Device or resource busy' >&2; return 1; }", /busy/],
    [
      "a disk that is full",
      `awk() { command awk "$(printf %s "$1" | sed 's/printf "%s%s", line/printf "%.1s%s", line/')"; }`,
      /written whole/,
    ],
    ["a copy that fails", "cp() { return 1; }", /./],
  ])("%s", (_, more, error) => {
    write("# a comment\n");
    expect(() => run(add.run, "dash", more)).toThrow(error);
    expect([read(), readdirSync(folder)]).toEqual(["# a comment\n", ["fstab"]]);
  });

  test("NULs that an awk loses", () => {
    write("# a\0b\n");
    const losing = `awk() { tr -d '\\000' | command awk "$1"; }`;
    expect(() => run(add.run, "dash", losing)).toThrow(/does not read/);
    expect([read(), readdirSync(folder)]).toEqual(["# a\0b\n", ["fstab"]]);
  });
});

test.each([0, 1, 17, 300])(
  "after %i edits the folder is synced by one process, and a failure of that is told",
  (count) => {
    const log = join(folder, "log");
    writeFileSync(log, "");
    const counting = (status: number) =>
      `sync() { case $1 in */) echo "$# $1" >> ${log}; return ${status};; esac; }`;
    const edits = Array.from({ length: count }, () => sh`changed_in ${`${folder}/`}`);
    const all = lines([...(count === 0 ? [] : [add.run]), ...edits.slice(1), sh`on_disk || exit`]);
    const scripts = [0, 1].map(
      (status) => (text: string) => inFolder()(text).replace("sync() { :; }", counting(status)),
    );
    const [well, badly] = scripts;
    runScript(all, well);
    expect(readFileSync(log, "utf8")).toBe(count === 0 ? "" : `${count} ${folder}/\n`);
    rmSync(file(), { force: true });
    if (count > 0) expect(() => runScript(all, badly)).toThrow("Command failed");
  },
);

test("systemd reads fstab anew once after all edits, the one that takes out the last line too, and else never", () => {
  mkdirSync(join(folder, "systemd"));
  const log = join(folder, "log");
  const systemctl = `systemctl() { echo "$*" >> ${log}; }`;
  const step = addLine("add", ours, false);
  run(lines([sh`at_end`, step.run, undo(step), sh`at_end`, sh`wait`]), "dash", systemctl);
  expect([readdirSync(folder).sort(), readFileSync(log, "utf8")]).toEqual([
    ["log", "systemd"],
    "daemon-reload\n",
  ]);
});
