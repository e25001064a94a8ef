import { entryOf } from "../../../../provider/layers/shared/directory-entry";
import { execFileSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { hostSelinux } from "../../../../provider/layers/selinux/index";
import { isInPlace, placeOf } from "../../../../provider/layers/selinux/checks";
import {
  equivalences,
  labelsOf,
  localRules,
  rulesAt,
  type SelinuxSeen,
} from "../../../../provider/layers/selinux/probes";
import { removeRule, setRule } from "../../../../provider/layers/selinux/rules";
import {
  equivalentOf,
  isOfOnePath,
  isTreeRule,
  mayMatchInside,
  parseEquivalences,
  parseFileContexts,
  treePattern,
} from "../../../../provider/formats/file-contexts";
import { parseMountinfo } from "../../../../provider/formats/mountinfo";
import { sh } from "../../../../provider/remote/shell/sh";
import { domainOf, specOf } from "../../sample";
import { does, runFact, runScript } from "../../shell-machine";
import { semanage } from "../../support/semanage";

/**
 * Rules, equivalences and paths by chance, and libselinux itself, which says what holds for each path: nothing of it
 * needs a kernel with SELinux.
 */
const hasLibselinux = ((): boolean => {
  try {
    execFileSync("sh", ["-c", "command -v matchpathcon"], { stdio: "ignore" });
    return process.getuid?.() === 0;
  } catch {
    return false;
  }
})();
if (!hasLibselinux)
  console.log("not compared with libselinux: that takes root, and matchpathcon (test/lab/lab install)");
const compared = hasLibselinux ? describe : describe.skip;

/** The same numbers in each run; a failure prints its round. */
function chance(seed: number) {
  let state = seed;
  const below = (count: number): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * count);
  };
  return { below, of: <T>(items: readonly T[]): T => items[below(items.length)] as T };
}

let folder: string;
const path = process.env["PATH"];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "virtio9p-order-"));
  for (const name of ["bin", "fs", "etc/targeted/contexts/files"])
    mkdirSync(join(folder, name), { recursive: true });
  writeFileSync(join(folder, "fs/enforce"), "1");
  writeFileSync(join(folder, "bin/semanage"), semanage.replaceAll("$FOLDER/local", at(".local")));
  chmodSync(join(folder, "bin/semanage"), 0o755);
  process.env["PATH"] = `${join(folder, "bin")}:${path ?? ""}`;
  process.env["FOLDER"] = folder;
  put("", "/.* base\n");
  for (const name of [".local", ".subs", ".subs_dist"]) put(name, "");
});
afterEach(() => {
  process.env["PATH"] = path;
  rmSync(folder, { recursive: true });
});
const at = (name: string): string => join(folder, `etc/targeted/contexts/files/file_contexts${name}`);
const put = (name: string, text: string): void => {
  writeFileSync(at(name), text);
};
const inFolder = (text: string): string =>
  text.replaceAll("/sys/fs/selinux", join(folder, "fs")).replaceAll("/etc/selinux", join(folder, "etc"));
/** What libselinux says of each path, as a directory. */
const ask = (paths: readonly string[]): string[] =>
  execFileSync("matchpathcon", ["-N", "-n", "-m", "d", "-f", at(""), "--", ...paths], { encoding: "utf8" })
    .trim()
    .split("\n");

const parts = ["www", "logs", "a", "a.b", "x", "my-data"];
const pathBy = ({ of, below }: ReturnType<typeof chance>, least = 1): string =>
  Array.from(
    { length: least + below(3) },
    (_, depth) => `/${depth === 0 ? of(["srv", "data", "run"]) : of(parts)}`,
  ).join("");
const escaped = (text: string): string => text.replaceAll(".", "\\.");
const patternBy = (random: ReturnType<typeof chance>): string => {
  const { of, below } = random;
  const [one, two] = [escaped(pathBy(random)), escaped(pathBy(random))];
  return of([
    `${one}(/.*)?`,
    `${one}(/.*)?`,
    one,
    `${one}/.*`,
    `${one}/[^/]*`,
    `${one}/[^/]+(/.*)?`,
    `${one}(/.*)?/logs(/.*)?`,
    `${one}/(www|logs)(/.*)?`,
    `${one}|${two}`,
    `(${one}|${two})(/.*)?`,
    `${one}?`,
    `${one}+/x{0,2}(/.*)?`,
    `${one.slice(0, -1)}.(/.*)?`,
    `${one.slice(0, -1)}\\x${one.charCodeAt(one.length - 1).toString(16)}(/.*)?`,
    `/[rs].*/${parts[below(2)] ?? ""}(/.*)?`,
    `${one}/.*\\.b`,
    `(?i)${one.toUpperCase()}(/.*)?`,
    `.*/logs`,
  ]);
};
const inside = (share: string): string[] =>
  parts.flatMap((one) => [`${share}/${one}`, ...parts.map((two) => `${share}/${one}/${two}`)]);

compared("in libselinux's judgement", () => {
  test("equivalences are followed as it follows them", () => {
    const random = chance(1);
    const { of, below } = random;
    const end = (text: string): string => text + of(["", "", "", "", "/"]);
    const side = (): string => {
      const lines = Array.from(
        { length: below(5) },
        () => `${end(pathBy(random))} ${of(["/", end(pathBy(random))])}`,
      );
      return lines.map((one) => `${one}\n`).join("");
    };
    for (let round = 0; round < 60; round += 1) {
      const [local, distribution] = [side(), side()];
      const asked = Array.from({ length: 20 }, () => pathBy(random));
      const followed = asked.map((one) =>
        equivalentOf(one, { distribution: parseEquivalences(distribution), local: parseEquivalences(local) }),
      );
      const rules = [...new Set(followed)].map((one, index) => `${escaped(one)} n${index}\n`);
      put("", rules.join(""));
      put(".subs", local);
      put(".subs_dist", distribution);
      const expected = followed.map((one) => `n${[...new Set(followed)].indexOf(one)}`);
      expect([local, distribution, asked, ask(asked)]).toEqual([local, distribution, asked, expected]);
    }
  });

  test("a pattern that may not match inside a directory matches nothing there", () => {
    const random = chance(2);
    let may = 0;
    for (let round = 0; round < 150; round += 1) {
      const [pattern, share] = [patternBy(random), pathBy(random, 2)];
      if (mayMatchInside(pattern, share)) {
        may += 1;
        continue;
      }
      put("", `${pattern} matches\n`);
      expect([pattern, share, new Set(ask(inside(share)))]).toEqual([pattern, share, new Set(["<<none>>"])]);
    }
    expect(may).toBeLessThan(90);
  });

  test("the rule of a share holds for it, and takes nothing from a rule for something inside", () => {
    const random = chance(3);
    const counts = { set: 0, refused: 0, questions: 0 };
    for (let round = 0; round < 48; round += 1) {
      const share = pathBy(random, 2);
      const patterns = [
        ...new Set(Array.from({ length: random.of([0, 1, 2, 5, 9]) }, () => patternBy(random))),
      ];
      if (round % 12 === 5) patterns.unshift(escaped(share));
      const kinds = ["", "", "", " --", " -d"];
      const local = patterns
        .map((one, index) => `${one}${random.of(kinds)} u:object_r:n${index}_t:s0\n`)
        .join("");
      const under = round % 3 === 0 ? `${share.replace(/\/[^/]*$/, "")} /srv/real\n` : "";
      put(".local", local);
      put(".subs", under);
      const want = { path: share };
      const rules = runFact(localRules, inFolder);
      const seen = {
        rules,
        equivalences: runFact(equivalences, inFolder),
        rulesAt: runFact(rulesAt(share), inFolder),
      } as unknown as SelinuxSeen;
      if (seen.rulesAt.exact) {
        counts.refused += 1;
        expect(isOfOnePath(seen.rulesAt.exact)).toBe(true);
        continue;
      }
      const outside = Array.from({ length: 20 }, () => pathBy(random)).filter(
        (one) => !`${one}/`.startsWith(`${share}/`),
      );
      const asked = [share, ...inside(share), ...outside];
      const before = ask(asked);
      const place = placeOf(want, seen);
      const ruled = place.path;
      const step = setRule(ruled, "u:object_r:ours_t:s0", rules, {
        ...place,
        placed: isInPlace(place, false),
      });
      runScript(
        sh`queued=${step.queued ?? ""}
${step.run}`,
        inFolder,
      );
      const after = ask(asked);
      const expected = before.map((context, index) => {
        const one = asked[index] ?? "";
        if (one !== share && !one.startsWith(`${share}/`)) return context;
        const number = rules.findIndex((rule) => rule.context === context);
        const rule = rules[number];
        if (!rule) return "u:object_r:ours_t:s0";
        const isInside =
          isOfOnePath(rule) || (!seen.rulesAt.matching.includes(number) && number > place.behind);
        return isInside && !isTreeRule(rule, ruled) ? context : "u:object_r:ours_t:s0";
      });
      expect([local, under, share, asked, after]).toEqual([local, under, share, asked, expected]);
      counts.set += 1;
      counts.questions += asked.length;
      const again = {
        ...seen,
        rules: runFact(localRules, inFolder),
        rulesAt: runFact(rulesAt(share), inFolder),
      };
      expect(isInPlace(placeOf(want, again), false)).toBe(true);
      if (place.at >= 0) continue;
      const out = removeRule({ pattern: treePattern(ruled), kind: "", context: "" });
      runScript(
        sh`queued=${out.queued ?? ""}
${out.run}`,
        inFolder,
      );
      expect(parseFileContexts(readFileSync(at(".local"), "utf8"))).toEqual(rules);
    }
    console.log(
      `libselinux was asked ${counts.questions} questions about ${counts.set} shares; ${counts.refused} are refused`,
    );
    expect(counts.set).toBeGreaterThan(30);
  });
});

compared("a tree with labels", () => {
  const label = (type: string): string => `system_u:object_r:${type}:s0`;
  let tree: string;
  const entry = (name: string, type: string, directory = false): void => {
    if (directory) mkdirSync(join(tree, name), { recursive: true });
    else writeFileSync(join(tree, name), "");
    execFileSync("setfattr", ["-n", "security.selinux", "-v", label(type), "--", join(tree, name)]);
  };
  beforeEach(() => {
    tree = join(folder, "tree");
    mkdirSync(tree);
    entry(".", "var_t", true);
    put(
      "",
      `/.* ${label("var_t")}\n${tree}/exact ${label("etc_t")}\n${tree}/www(/.*)? ${label("httpd_t")}\n`,
    );
  });
  const look = (more: Partial<SelinuxSeen> = {}): SelinuxSeen => ({
    entry: runFact(entryOf(tree)),
    state: { enabled: true, ranges: true, missing: [], distribution: [] },
    rules: runFact(localRules, inFolder),
    equivalences: runFact(equivalences, inFolder),
    rulesAt: runFact(rulesAt(tree), inFolder),
    labels: runFact(labelsOf(tree), inFolder),
    mounts: parseMountinfo("1 0 8:1 / / rw - ext4 /dev/vda rw,seclabel\n"),
    booleans: {},
    newRange: "s0",
    typeKnown: true,
    exports: [],
    recorded: [],
    remembered: false,
    persistent: domainOf([]),
    live: undefined,
    ...more,
  });
  const plan = (more: object = {}, known = false) => {
    const want = hostSelinux.want(specOf({ source: tree, ...more }));
    if (!want) throw new Error("nothing is wanted");
    return hostSelinux.plan(want, look(), undefined, known);
  };
  const drift = () => {
    const want = hostSelinux.want(specOf({ source: tree }));
    if (!want) throw new Error("nothing is wanted");
    return hostSelinux.drift(want, look());
  };

  test("a host's own rule inside it goes on holding: that is said, and no drift", () => {
    const logs = `${tree}(/.*)?/logs(/.*)?`;
    put(".local", `/(/.*)? ${label("etc_t")}\n${logs} ${label("httpd_log_t")}\n`);
    entry("x/logs", "httpd_log_t", true);
    entry("x/logs/line\nend of a name", "httpd_log_t");
    entry("x", "var_t", true);
    const first = plan({ directory: { recursive: true } });
    expect(first.refuse).toBeUndefined();
    expect(first.warnings).toEqual([
      `the host's rule ${logs} ${label("httpd_log_t")} goes on holding in ${tree}, for 2 entries: QEMU may be denied there`,
    ]);
    expect(plan().refuse?.map(({ what }) => what)).toEqual([
      `${tree} holds entries with other labels: 1 of ${label("var_t")}`,
    ]);
    const set = first.steps.find(({ does: text }) => text.includes("the rule"));
    runScript(
      sh`queued=${set?.queued ?? ""}
${set?.run ?? sh`:`}`,
      inFolder,
    );
    expect(readFileSync(at(".local"), "utf8").split("\n")[1]).toBe(
      `${treePattern(tree)} ${label("svirt_image_t")}`,
    );
    entry(".", "svirt_image_t", true);
    entry("x", "svirt_image_t", true);
    expect([drift().notes, does(plan({}, true))]).toEqual([[], []]);
    entry("x/logs/moved here", "user_home_t");
    expect(drift().notes).toEqual([
      `labelled otherwise in ${tree}: 1 of ${label("user_home_t")}; wanted is svirt_image_t`,
    ]);
  });

  test("what the policy's patterns say of entries is taken over, what it says of one path is not", () => {
    entry("www", "httpd_t", true);
    entry("exact", "etc_t");
    expect(plan().refuse?.map(({ what }) => what)).toEqual([
      `${tree} holds entries with other labels: 1 of ${label("httpd_t")}`,
    ]);
    put(".local", `${treePattern(tree)} ${label("svirt_image_t")}\n`);
    entry(".", "svirt_image_t", true);
    expect(drift().notes).toEqual([
      `labelled otherwise in ${tree}: 1 of ${label("httpd_t")}; wanted is svirt_image_t`,
    ]);
  });

  test("what an equivalence of the host takes out of a tree is labelled as that says", () => {
    put(".local", `${treePattern(tree)} ${label("svirt_image_t")}\n`);
    put(".subs", `${tree}/home /home\n`);
    entry(".", "svirt_image_t", true);
    entry("home", "var_t", true);
    expect(drift().notes).toEqual([]);
    put(".local", "");
    expect(plan({ directory: { recursive: true } }).warnings).toEqual([
      `${tree}/home is labelled as /home by an equivalence of the host: QEMU may be denied there`,
    ]);
  });

  test("rules that hold against the tree's, or would lose by it, are refused by name", () => {
    const refused = (...lines: string[]): string[] => {
      put(".local", lines.map((one) => `${one}\n`).join(""));
      return (
        plan({ directory: { recursive: true } }).refuse?.map(
          ({ code, what, remedy }) => `${code}: ${what}; ${remedy ?? ""}`,
        ) ?? []
      );
    };
    expect(refused(`${tree} -d ${label("httpd_t")}`)).toEqual([
      `labelOverruled: a rule for exactly ${tree} (${tree} -d ${label("httpd_t")}) holds against every rule for a tree; change it: semanage fcontext -m -f d -t svirt_image_t '${tree}'`,
    ]);
    expect(refused(`${tree} -- ${label("httpd_t")}`, `${tree} ${label("svirt_image_t")}`)).toEqual([]);
    expect(refused(`${treePattern(tree)} ${label("httpd_t")}`, `${folder}(/.*)? ${label("etc_t")}`)).toEqual([
      expect.stringMatching(/^labelOverruled: the rule .* stands behind .*; take .* out/),
    ]);
    entry("logs", "httpd_log_t", true);
    const [logs, larger] = [
      `${tree}/logs(/.*)? ${label("httpd_log_t")}`,
      `${folder}/[^/]+ ${label("etc_t")}`,
    ];
    expect(refused(larger, logs)).toEqual([]);
    expect(refused(logs, larger)).toEqual([
      expect.stringMatching(
        /^labelOverruled: the rule .*logs.* holds for entries in .*, and would no longer/,
      ),
    ]);
    expect(refused(`${tree}/"logs" ${label("httpd_log_t")}`)).toEqual([]);
    expect(refused(`${tree}/"logs".* ${label("httpd_log_t")}`)).toEqual([
      expect.stringMatching(/semanage takes no double quotes/),
    ]);
    put(".subs", `${folder} /far\n`);
    put(".subs_dist", "/far /else\n/else /other\n");
    expect(refused()).toEqual([expect.stringMatching(/takes no rule under the equivalence \/else \/other/)]);
  });
});
