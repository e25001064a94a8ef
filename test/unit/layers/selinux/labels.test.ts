import { execFileSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  forgetLabels,
  giveLabelsBack,
  relabel,
  rememberLabels,
} from "../../../../provider/layers/selinux/labels";
import { type Script, sh } from "../../../../provider/remote/shell/sh";
import { isRemembered, nameOf } from "../../../../provider/layers/shared/inode-snapshot";
import { runFact, runScript } from "../../shell-machine";

/** Real labels on real files, and a real mount namespace; only restorecon is a stand-in that knows one rule. */
const restorecon = `#!/bin/sh
case $1 in -h) echo 'usage:  restorecon [-iIDFUmnprRv0xT] [-e excludedir] pathname...' >&2; exit 255;; esac
printf '%s\\n' "$*" >> "$FOLDER/restorecon"
case $* in *-R*)
  for argument; do
    shift
    [ "$was" != -e ] || set -- "$@" -path "./\${argument#$PWD/}" -prune -o
    was=$argument
  done
  find . -xdev "$@" -print0;;
*) printf '.\\0';; esac | xargs -0 setfattr -h -n security.selinux -v "$(cat "$FOLDER/rule")"
`;

let folder: string;
let tree: string;
const path = process.env["PATH"];
const context = (type: string, range = "s0"): string => `system_u:object_r:${type}:${range}`;
beforeEach(() => {
  folder = realpathSync(mkdtempSync(join(tmpdir(), "virtio9p-labels-")));
  tree = join(folder, "tree");
  mkdirSync(tree);
  mkdirSync(join(folder, "bin"));
  writeFileSync(join(folder, "bin/restorecon"), restorecon);
  chmodSync(join(folder, "bin/restorecon"), 0o755);
  process.env["PATH"] = `${join(folder, "bin")}:${path ?? ""}`;
  process.env["FOLDER"] = folder;
  says("svirt_image_t");
});
afterEach(() => {
  process.env["PATH"] = path;
  rmSync(folder, { recursive: true });
});

const says = (type: string): void => {
  writeFileSync(join(folder, "rule"), context(type));
};
const label = (name: string | Buffer, value: string): void => {
  execFileSync("setfattr", ["-h", "-n", "security.selinux", "-v", value, join(tree, String(name))]);
};
const labels = (): string[] =>
  execFileSync("sh", ["-c", `cd "$1" && find . -print0 | xargs -0 stat --printf '%C %n\\0'`, "-", tree])
    .toString("latin1")
    .split("\0")
    .sort();
const run = (script: Script): string =>
  runScript(sh`records=${join(folder, "records")}
${script}`).toString();
const whole = { path: "", whole: true, guestLinks: false };
const of = (more: object = {}) => ({ ...whole, path: tree, ...more });

/** A file of its own label each: names that a guest could choose, and every kind of entry. */
function plant(): void {
  label(".", context("var_t"));
  const names = [
    "a b",
    " two  blanks ",
    "line\nend",
    "-R",
    "*",
    "q'\"",
    "back\\slash",
    "ä",
    ".?",
    "x".repeat(255),
  ];
  names.forEach((name, index) => {
    writeFileSync(join(tree, name), name);
    label(name, context(index % 2 === 0 ? "user_home_t" : "httpd_sys_content_t", `s0:c${index}`));
  });
  mkdirSync(join(tree, "deep/er"), { recursive: true });
  label("deep", context("var_lib_t"));
  label("deep/er", context("var_lib_t"));
  symlinkSync("/etc/passwd", join(tree, "deep/link"));
  label("deep/link", context("var_lib_t"));
  linkSync(join(tree, "a b"), join(tree, "deep/hard"));
  execFileSync("mkfifo", [join(tree, "fifo")]);
  label("fifo", context("var_run_t"));
}

test("every entry gets its label back, whatever it is called", () => {
  plant();
  const before = labels();
  run(rememberLabels(of(), []).run);
  run(relabel(of(), false).run);
  expect(
    new Set(
      labels()
        .filter((line) => line !== "")
        .map((line) => line.split(" ")[0]),
    ),
  ).toEqual(new Set([context("svirt_image_t")]));
  says("default_t");
  run(giveLabelsBack(of()).run);
  expect(labels()).toEqual(before);
  expect(
    runFact(
      isRemembered({ of: "labels", path: tree }),
      (text) => `records=${join(folder, "records")}\n${text}`,
    ),
  ).toBe(true);
  run(forgetLabels(tree).run);
  expect(existsSync(join(folder, "records/labels"))).toBe(false);
});

test("an entry is known by what it is and not by its name; what came later gets what the rules say", () => {
  plant();
  run(rememberLabels(of(), []).run);
  run(relabel(of(), false).run);
  renameSync(join(tree, "a b"), join(tree, "deep/renamed"));
  unlinkSync(join(tree, "-R"));
  writeFileSync(join(tree, "-R"), "another");
  writeFileSync(join(tree, "a b"), "in its place");
  ["-R", "a b"].forEach((name) => {
    label(name, context("svirt_image_t"));
  });
  says("default_t");
  run(giveLabelsBack(of()).run);
  const found = new Map(labels().map((line) => [line.slice(line.indexOf(" ") + 1), line.split(" ")[0]]));
  expect(found.get("./deep/renamed")).toBe(context("user_home_t", "s0:c0"));
  expect(found.get("./-R")).toBe(context("default_t"));
  expect(found.get("./a b")).toBe(context("default_t"));
});

test("what failed behind it is undone by what is written down", () => {
  plant();
  const before = labels();
  run(rememberLabels(of(), []).run);
  const step = relabel(of(), true);
  run(step.run);
  run(step.undo ?? sh`:`);
  expect(labels()).toEqual(before);
  expect(readdirSync(join(folder, "records/labels"))).toHaveLength(1);
});

test("the directory alone", () => {
  plant();
  const before = labels();
  run(rememberLabels(of({ whole: false }), []).run);
  run(relabel(of({ whole: false }), false).run);
  const changed = labels().filter((line) => !before.includes(line));
  expect(changed).toEqual([`${context("svirt_image_t")} .`]);
  says("default_t");
  run(giveLabelsBack(of({ whole: false })).run);
  expect(labels()).toEqual(before);
});

describe("two shares, of which one lies in the other's tree", () => {
  const inner = (): string => join(tree, "deep");
  const recordOf = (path: string): string => join(folder, `records/host/selinux-${nameOf(path)}.json`);
  const labelled = (path: string, inside: readonly string[]): void => {
    const one = { ...of(), path };
    run(rememberLabels(one, inside).run);
    run(relabel(one, false).run);
    mkdirSync(join(folder, "records/host"), { recursive: true });
    writeFileSync(
      recordOf(path),
      `{"version":2,"layer":"selinux","identity":${JSON.stringify(path)},"before":{}}\n`,
    );
  };
  const givenBack = (path: string): void => {
    run(giveLabelsBack({ ...of(), path }).run);
    run(forgetLabels(path).run);
    unlinkSync(recordOf(path));
  };
  const make = {
    outer: (inside: readonly string[]) => {
      labelled(tree, inside);
    },
    inner: () => {
      labelled(inner(), []);
    },
  };
  test.each([
    ["outer", "outer"],
    ["outer", "inner"],
    ["inner", "outer"],
    ["inner", "inner"],
  ] as const)("the %s one first, and the %s one gone first", (first, gone) => {
    plant();
    const before = labels();
    make[first]([]);
    make[first === "outer" ? "inner" : "outer"]([inner(), join(tree, "no record")]);
    if (gone === "outer") says("default_t");
    givenBack(gone === "outer" ? tree : inner());
    // What the one that stays has is as it was for it, and all else is back.
    const stays = (line: string): boolean => gone === "inner" || / \.\/deep(\/|$)/.test(line);
    const left = labels().filter((line) => line !== "" && !stays(line));
    expect(
      labels().filter((line) => line !== "" && stays(line) && !line.startsWith(context("svirt_image_t"))),
    ).toEqual(gone === "outer" ? before.filter((line) => line.endsWith(" ./deep/hard")) : []);
    expect(left).toEqual(before.filter((line) => line !== "" && !stays(line)));
    says("default_t");
    givenBack(gone === "outer" ? inner() : tree);
    expect(labels()).toEqual(before);
    expect(existsSync(join(folder, "records/labels"))).toBe(false);
  });
});

test("no link is followed, though it came in the place of a directory", () => {
  plant();
  run(rememberLabels(of(), []).run);
  mkdirSync(join(folder, "outside"));
  writeFileSync(join(folder, "outside/er"), "");
  execFileSync("setfattr", ["-n", "security.selinux", "-v", context("shadow_t"), join(folder, "outside/er")]);
  const { run: script } = giveLabelsBack(of());
  // Between the look at an entry and the change of its label.
  const call = "        if label_of(pinned) != words:";
  expect(script.text).toContain(call);
  const outside = JSON.stringify(join(folder, "outside"));
  const swap = `        if not os.path.lexists("gone"): os.rename("deep", "gone"), os.symlink(${outside}, "deep")\n${call}`;
  run({ text: script.text.replace(call, swap) });
  expect(
    execFileSync("stat", ["-c", "%C", join(folder, "outside/er")])
      .toString()
      .trim(),
  ).toBe(context("shadow_t"));
});

test("one that cannot be labelled is an error, and the others are done", () => {
  plant();
  run(rememberLabels(of(), []).run);
  run(relabel(of(), false).run);
  says("default_t");
  execFileSync("chattr", ["+i", join(tree, "ä")]);
  try {
    const { run: script } = giveLabelsBack(of());
    const only = script.text.replace(/restorecon "\$@" -- \./, ":");
    expect(only).not.toBe(script.text);
    expect(() => run({ text: only })).toThrow(/Operation not permitted/);
    expect(labels()).toContain(`${context("var_run_t")} ./fifo`);
  } finally {
    execFileSync("chattr", ["-i", join(tree, "ä")]);
  }
});

test("all cores, one file system", () => {
  run(relabel(of(), false).run);
  expect(readFileSync(join(folder, "restorecon"), "utf8")).toBe("-R -F -x -T 0 -- .\n");
});
