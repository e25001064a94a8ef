import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { hostSelinux, type SelinuxBefore } from "../../../../provider/layers/selinux/index";
import { hostSelinuxPolicy } from "../../../../provider/layers/selinux/policy-module";
import {
  equivalences,
  type Labels,
  labelsOf,
  localRules,
  packageOf,
  rangeOfNewFiles,
  rulesAt,
  type SelinuxSeen,
  selinuxState,
  typeKnown,
  virtBooleans,
} from "../../../../provider/layers/selinux/probes";
import { alone, type Context } from "../../../../provider/engine/layer";
import { parseMountinfo } from "../../../../provider/formats/mountinfo";
import { does, runFact } from "../../shell-machine";
import { domainOf, specOf } from "../../sample";

const context = (type: string, range = "s0"): string => `system_u:object_r:${type}:${range}`;
const image = context("svirt_image_t");
const rule = (pattern: string, of = image, kind = "") => ({ pattern, kind, context: of });
const mounts = (options: string, type = "ext4") =>
  parseMountinfo(
    `1 0 8:1 / / rw - ext4 /dev/vda rw,seclabel\n2 1 8:2 / /foo rw - ${type} /dev/vdb ${options}\n`,
  );
const exported = (more: object) => ({
  domain: "web2",
  uuid: "2bc66943-7fd0-4114-bc1e-3f6e6a962a47",
  driver: "9p" as const,
  source: "/foo/bar",
  realPath: "/foo/bar",
  tag: "other",
  readOnly: false,
  accessMode: "mapped",
  live: false,
  ...more,
});

const labels = (own: string, inside: Labels["inside"] = [], links = false): Labels => ({
  own,
  inside,
  links,
});

const directory = {
  kind: "directory" as const,
  uid: 64055,
  gid: 108,
  user: "qemu",
  group: "qemu",
  mode: 0o755,
  inode: "11",
  born: "1763877000",
};

/** A host that is enforcing, with an empty directory that has its parent's label. */
const host = (more: Partial<SelinuxSeen> = {}): SelinuxSeen => ({
  state: { enabled: true, ranges: true, missing: [], distribution: ["fedora"] },
  rules: [],
  equivalences: { distribution: [], local: [] },
  rulesAt: { exact: undefined, matching: [] },
  labels: labels(context("var_t")),
  entry: directory,
  mounts: mounts("rw,seclabel"),
  booleans: { virt_use_nfs: false, virt_use_fusefs: true },
  newRange: "s0",
  typeKnown: true,
  exports: [],
  recorded: [],
  remembered: false,
  persistent: domainOf([]),
  live: undefined,
  ...more,
});
const want = (args: Record<string, unknown> = {}) => {
  const wanted = hostSelinux.want(specOf(args));
  if (!wanted) throw new Error("nothing is wanted");
  return wanted;
};
const rulePlace = "/foo/bar(/.*)?";
const labelled = { rules: [rule(rulePlace)], labels: labels(image, [{ context: image, count: 3 }]) };
const before: SelinuxBefore = { rule: null, label: context("var_t"), type: "svirt_image_t" };

const remember = "write down the labels of /foo/bar and all in it";
const set = (type = "svirt_image_t") =>
  `label /foo/bar and all in it as ${context(type)} (the rule ${rulePlace})`;
const relabelled = "label /foo/bar and all in it as the rules say";
const back = "give /foo/bar and all in it the labels back that they had";
const forget = "forget the labels that /foo/bar had";

describe("plan", () => {
  test.each<[string, Record<string, unknown>, Partial<SelinuxSeen>, string[]]>([
    ["first contact", {}, {}, [remember, set(), relabelled]],
    ["a directory that is not there yet", {}, { entry: undefined, labels: undefined }, [set(), relabelled]],
    ["a right rule, and labels that are right", {}, labelled, []],
    ["a right rule that is written otherwise", {}, { ...labelled, rules: [rule("/foo/b\\x61r(/.*)?")] }, []],
    [
      "a rule of another type",
      {},
      { ...labelled, rules: [rule(rulePlace, context("var_t"))] },
      [remember, set()],
    ],
    ["nobody writes", { readOnly: true }, {}, [remember, set("virt_content_t"), relabelled]],
    [
      "another domain writes",
      { readOnly: true },
      { exports: [exported({})] },
      [remember, set("svirt_image_t"), relabelled],
    ],
    [
      "another domain writes to what it lies in",
      { readOnly: true },
      { exports: [exported({ realPath: "/foo" })] },
      [remember, set("svirt_image_t"), relabelled],
    ],
    [
      "another domain only reads",
      { readOnly: true },
      { exports: [exported({ readOnly: true })] },
      [remember, set("virt_content_t"), relabelled],
    ],
    [
      "a type that is written out",
      { selinux: { type: "container_file_t" } },
      {},
      [remember, set("container_file_t"), relabelled],
    ],
    [
      "the directory alone",
      { directory: { recursive: false } },
      { labels: labels(context("var_t"), [{ context: context("etc_t"), count: 9 }]) },
      ["write down the labels of /foo/bar", set(), "label /foo/bar as the rules say"],
    ],
    [
      "all of a tree that has other labels",
      { directory: { recursive: true } },
      { labels: labels(context("var_t"), [{ context: context("etc_t"), count: 9 }]) },
      [remember, set(), relabelled],
    ],
    [
      "a file with categories, where new files have the directory's range",
      {},
      {
        ...labelled,
        labels: labels(image, [{ context: context("svirt_image_t", "s0:c1,c2"), count: 1 }]),
        remembered: true,
      },
      [relabelled],
    ],
    [
      "a file with categories, where every new file has some",
      { selinux: { newFiles: "ignore" } },
      {
        ...labelled,
        newRange: "s0:c1,c2",
        labels: labels(image, [{ context: context("svirt_image_t", "s0:c1,c2"), count: 1 }]),
      },
      [],
    ],
    [
      "what a rule for something inside gives",
      {},
      {
        rules: [rule(rulePlace), rule("/foo/bar/logs(/.*)?", context("var_log_t"))],
        labels: labels(image, [{ context: context("var_log_t"), count: 4, ruled: context("var_log_t") }]),
      },
      [],
    ],
    [
      "SELinux that is off",
      {},
      { state: { enabled: false, ranges: false, missing: [], distribution: [] } },
      [],
    ],
    ["NFS, where the boolean is on", {}, { mounts: mounts("rw", "fuse.sshfs") }, []],
    ["a mount with our own context", {}, { mounts: mounts(`rw,context="${image}"`) }, []],
  ])("%s", (_, args, seen, expected) => {
    expect(does(hostSelinux.plan(want(args), host(seen), undefined, false))).toEqual(expected);
  });

  test("an equivalence is followed: the rule is that of the path that is looked up", () => {
    const seen = host({ equivalences: { distribution: [{ from: "/foo", to: "/srv" }], local: [] } });
    expect(does(hostSelinux.plan(want(), seen, undefined, false))[1]).toContain("the rule /srv/bar(/.*)?");
    const ruled = host({ ...seen, ...labelled, rules: [rule("/srv/bar(/.*)?")] });
    expect(hostSelinux.plan(want(), ruled, undefined, false).steps).toEqual([]);
  });

  test.each<[string, SelinuxBefore | undefined, boolean, Partial<SelinuxSeen>, string[]]>([
    ["killed before the labels were written down", before, false, {}, [remember, set(), relabelled]],
    ["killed behind that", before, false, { remembered: true }, [set(), relabelled]],
    ["of a directory that was made by us", { ...before, label: null }, false, {}, [set(), relabelled]],
    ["known to the state alone", undefined, true, { remembered: true }, [set(), relabelled]],
  ])("%s", (_, found, known, seen, expected) => {
    expect(does(hostSelinux.plan(want(), host(seen), found, known))).toEqual(expected);
  });

  test("what another share has found is not written down again", () => {
    const foreign = { before: { ...before, rule: null, label: "x" }, references: ["uuid/other"] };
    const plan = hostSelinux.plan(want(), host({ remembered: true }), undefined, false, {
      ...alone,
      foreign,
    });
    expect(does(plan)).toEqual([set(), relabelled]);
  });
});

test.each<[string, object, boolean, boolean]>([
  ["a guest that is off", { live: false }, true, false],
  ["one that only reads", { live: true, readOnly: true }, true, false],
  ["a mapped one, which makes no links on the host", { live: true }, false, false],
  ["a mapped one, and there are some that it can move", { live: true }, true, true],
  ["one that makes links on the host", { live: true, accessMode: "passthrough" }, false, true],
  ["one with a directory above", { live: true, accessMode: "squash", realPath: "/foo" }, false, true],
  ["one with a directory elsewhere", { live: true, accessMode: "squash", realPath: "/bar" }, false, false],
])("links must be kept from being followed: %s", (_, more, links, must) => {
  const seen = host({ exports: [exported(more)], labels: labels(context("var_t"), [], links) });
  const { steps } = hostSelinux.plan(want({ directory: { recursive: true } }), seen, undefined, false);
  expect(steps.at(-1)?.run.text.includes("a running guest could put links")).toBe(must);
});

describe("what is refused before the first change", () => {
  const others = (more: Record<string, unknown>): Context["others"] => [{ name: "twin", spec: specOf(more) }];
  test.each<[string, Record<string, unknown>, Partial<SelinuxSeen>, Partial<Context>, string, RegExp]>([
    [
      "always without SELinux",
      { selinux: { manage: "always" } },
      { state: { enabled: false, ranges: false, missing: [], distribution: [] } },
      {},
      "seLinuxNotAvailable",
      /manage is always/,
    ],
    [
      "no semanage",
      {},
      {
        state: {
          enabled: true,
          ranges: true,
          missing: ["semanage"],
          distribution: ["rocky", "rhel", "fedora"],
        },
      },
      {},
      "toolMissing",
      /install semanage: package policycoreutils-python-utils$/,
    ],
    [
      "a type that is not there",
      { selinux: { type: "nope_t" } },
      { typeKnown: false },
      {},
      "seLinuxTypeUnknown",
      /no type nope_t/,
    ],
    [
      "a tree of others",
      {},
      {
        labels: labels(context("var_t"), [
          { context: context("etc_t"), count: 12 },
          { context: image, count: 3 },
        ]),
      },
      {},
      "treeOfOthers",
      /12 of system_u:object_r:etc_t:s0\n/,
    ],
    [
      "a path of which the policy says what exactly it is",
      {},
      { rulesAt: { exact: rule("/foo/bar", context("var_lib_t")), matching: [] } },
      {},
      "labelOverruled",
      /exactly \/foo\/bar \(.*the policy.s/,
    ],
    ["NFS", {}, { mounts: mounts("rw", "nfs4") }, {}, "notRelabelable", /setsebool -P virt_use_nfs on/],
    [
      "a file system without labels",
      {},
      { mounts: mounts("rw", "vfat") },
      {},
      "notRelabelable",
      /mount it with context=/,
    ],
    [
      "a mount with another context",
      {},
      { mounts: mounts(`rw,context="${context("nfs_t")}"`) },
      {},
      "notRelabelable",
      /mount it with context=system_u:object_r:svirt_image_t:s0/,
    ],
    [
      "a mount with the readers' context, for one that writes",
      {},
      { mounts: mounts(`rw,context=${context("virt_content_t")}`) },
      {},
      "notRelabelable",
      /QEMU may not use/,
    ],
    [
      "categories on new files",
      {},
      { newRange: "s0:c1,c2" },
      {},
      "newFilesUnusable",
      /selinux.newFiles to "inherit"/,
    ],
    [
      "another share of the program with another type",
      { selinux: { type: "a_t" } },
      {},
      { others: others({ tag: "twin", selinux: { type: "b_t" } }) },
      "seLinuxTypeTaken",
      /the share twin of this program \(b_t\)/,
    ],
    [
      "another share with another type",
      {},
      { rules: [rule(rulePlace, context("b_t"))] },
      { foreign: { before: { ...before, rule: null, label: "x" }, references: ["uuid/other"] } },
      "seLinuxTypeTaken",
      /uuid\/other \(b_t\)/,
    ],
  ])("%s", (_, args, seen, more, code, text) => {
    const plan = hostSelinux.plan(want(args), host(seen), undefined, false, { ...alone, ...more });
    expect(plan.steps).toEqual([]);
    expect(plan.refuse?.map((one) => one.code)).toEqual([code]);
    const [one] = plan.refuse ?? [];
    expect(`${one?.what ?? ""}\n${one?.remedy ?? ""}`).toMatch(text);
  });

  test.each<[string, Record<string, unknown>, Partial<SelinuxSeen>]>([
    ["ignored", { selinux: { newFiles: "ignore" } }, {}],
    ["the policy module", { selinux: { newFiles: "inherit" } }, {}],
    ["nobody makes files", { readOnly: true }, {}],
    ["the domain's label is always the same", {}, { persistent: domainOf([], { selinuxLabel: "static" }) }],
    [
      "a policy without ranges",
      {},
      { state: { enabled: true, ranges: false, missing: [], distribution: [] } },
    ],
  ])("categories on new files are no error: %s", (_, args, more) => {
    const seen = host({ newRange: "s0:c1,c2", ...more });
    expect(hostSelinux.plan(want(args), seen, undefined, false).refuse ?? []).toEqual([]);
  });

  test.each([
    ["semanage", ["debian"], "package policycoreutils-python-utils"],
    ["matchpathcon", ["ubuntu", "debian"], "package selinux-utils"],
    ["matchpathcon", ["fedora"], "package libselinux-utils"],
    ["matchpathcon", ["arch"], "package selinux-utils or libselinux-utils"],
  ])("%s on %p is in %s", (program, distribution, expected) => {
    expect(packageOf(program, distribution)).toBe(expected);
  });
});

describe("restore", () => {
  test.each<[string, SelinuxBefore, Partial<SelinuxSeen>, string[]]>([
    [
      "rule and labels",
      before,
      { ...labelled, remembered: true },
      [`take the rule ${rulePlace} out`, back, forget],
    ],
    [
      "a rule of a directory that we made",
      { ...before, rule: null, label: null },
      labelled,
      [`take the rule ${rulePlace} out`, back, forget],
    ],
    [
      "a rule that said something else",
      { ...before, rule: context("var_t"), label: context("var_t") },
      { ...labelled, remembered: true },
      [`give the rule ${rulePlace} its context ${context("var_t")} back`, back, forget],
    ],
    ["a rule that was right before us", { ...before, rule: image, label: image }, labelled, []],
    [
      "labels alone",
      { ...before, rule: image, label: context("var_t") },
      { ...labelled, remembered: true },
      [back, forget],
    ],
    ["a rule that is gone", before, { ...labelled, rules: [], remembered: true }, [back, forget]],
    [
      "a directory that is gone",
      before,
      { ...labelled, entry: undefined, labels: undefined, remembered: true },
      [`take the rule ${rulePlace} out`, forget],
    ],
  ])("%s", (_, found, seen, expected) => {
    expect(does(hostSelinux.restore(want(), found, host(seen)))).toEqual(expected);
  });

  test("a rule that somebody changed since is left, and that is said", () => {
    const seen = host({ ...labelled, rules: [rule(rulePlace, context("httpd_sys_content_t"))] });
    const { steps, warnings } = hostSelinux.restore(want(), before, seen);
    expect([steps, warnings]).toEqual([
      [],
      [
        `the rule ${rulePlace} says ${context("httpd_sys_content_t")}, which this share did not set: it was left`,
      ],
    ]);
  });

  test.each<[string, object, boolean]>([
    ["a domain's definition", {}, true],
    ["a running QEMU alone", { live: true }, false],
  ])("is left for who exports it without a share: %s", (_, more, left) => {
    const seen = host({ ...labelled, remembered: true, exports: [exported(more)] });
    const { steps, warnings } = hostSelinux.restore(want(), before, seen);
    expect(does({ steps })).toEqual(left ? [forget] : [`take the rule ${rulePlace} out`, back, forget]);
    expect(warnings?.length).toBe(left ? 1 : 0);
  });

  test("comes back with nothing but what it needs", () => {
    const all = host({ ...labelled, remembered: true });
    const { entry, state, rules, equivalences, remembered, persistent, live } = all;
    const needed = { entry, state, rules, equivalences, remembered, persistent, live };
    const plan = hostSelinux.restore(want(), before, needed);
    expect([does(plan), plan.warnings]).toEqual([[`take the rule ${rulePlace} out`, back, forget], []]);
    // Whoever might put links there is kept from it.
    expect(plan.steps[1]?.run.text).toContain("a running guest could put links");
  });

  test("the rule of a larger share is known by the type that its record has", () => {
    const seen = host({ ...labelled, rules: [rule(rulePlace, context("container_file_t"))] });
    const found = { ...before, type: "container_file_t" };
    expect(does(hostSelinux.restore(want(), found, seen))).toEqual([
      `take the rule ${rulePlace} out`,
      back,
      forget,
    ]);
  });

  test("onDelete leave leaves all", () => {
    const plan = hostSelinux.restore(
      want({ directory: { onDelete: "leave" } }),
      before,
      host({ ...labelled, remembered: true }),
    );
    expect(does(plan)).toEqual([forget]);
  });
});

describe("drift", () => {
  test.each<[string, Partial<SelinuxSeen>, string]>([
    [
      "as a reader set it",
      { rules: [rule(rulePlace, context("virt_content_t"))], labels: labels(context("virt_content_t")) },
      "ok",
    ],
    ["as a writer set it", labelled, "ok"],
    ["as nobody did", { rules: [rule(rulePlace, context("var_t"))] }, "differs"],
  ])("where it cannot be seen who else writes, the rule holds %s", (_, seen, state) => {
    const known = { ...host(seen), exports: undefined };
    expect(hostSelinux.drift(want({ readOnly: true }), known).state).toBe(state);
  });

  test.each<[string, Record<string, unknown>, Partial<SelinuxSeen>, string, object, RegExp | undefined]>([
    ["none", {}, labelled, "ok", {}, undefined],
    ["no rule", {}, { ...labelled, rules: [] }, "missing", {}, /no file-context rule/],
    [
      "another type",
      {},
      { ...labelled, rules: [rule(rulePlace, context("var_t"))] },
      "differs",
      {},
      /says var_t, wanted is svirt_image_t/,
    ],
    [
      "another type than the one that is written out",
      { selinux: { type: "svirt_image_t" } },
      { ...labelled, rules: [rule(rulePlace, context("var_t"))] },
      "differs",
      { "selinux.type": "var_t" },
      /says var_t/,
    ],
    [
      "a file deep in the tree",
      {},
      { ...labelled, labels: labels(image, [{ context: context("user_home_t"), count: 1 }]) },
      "differs",
      {},
      /1 of system_u:object_r:user_home_t:s0/,
    ],
    [
      "SELinux that is off",
      {},
      { state: { enabled: false, ranges: false, missing: [], distribution: [] } },
      "ok",
      {},
      undefined,
    ],
    [
      "NFS, where the boolean was set off since",
      {},
      { mounts: mounts("rw", "nfs") },
      "missing",
      {},
      /cannot be labelled/,
    ],
  ])("%s", (_, args, seen, state, differing, note) => {
    const found = hostSelinux.drift(want(args), host(seen));
    expect([found.state, found.args]).toEqual([state, differing]);
    if (note) expect(found.notes.join("\n")).toMatch(note);
    else expect(found.notes).toEqual([]);
  });
});

test.each([
  ["auto", true],
  ["always", true],
  ["never", false],
])("manage %s", (manage, managed) => {
  expect(hostSelinux.want(specOf({ selinux: { manage } })) !== undefined).toBe(managed);
});

test("is not managed for a user's own session", () => {
  expect(hostSelinux.want(specOf({ host: { libvirtUri: "qemu:///session" } }))).toBeUndefined();
});

describe("the policy module", () => {
  const wants = (args: object) => hostSelinuxPolicy.wants(specOf(args as Record<string, unknown>)).length;
  const seen = (more: object = {}) => ({ state: host().state, newRange: "s0:c1,c2", loaded: false, ...more });
  test("is wanted by who writes and says inherit", () => {
    const selinux = { newFiles: "inherit" };
    expect([wants({ selinux }), wants({}), wants({ selinux, readOnly: true })]).toEqual([1, 0, 0]);
  });

  test.each<[string, object, number, unknown, number]>([
    ["is loaded, and goes with the last share", {}, 1, { loaded: false }, 1],
    ["is not needed where the policy says so itself", { newRange: "s0" }, 0, null, 0],
    ["is not needed without SELinux", { state: { ...host().state, enabled: false } }, 0, null, 0],
    ["was there before", { loaded: true, newRange: "s0" }, 0, { loaded: true }, 0],
  ])("%s", (_, more, steps, remembered, given) => {
    const found = hostSelinuxPolicy.remember({}, seen(more));
    expect(hostSelinuxPolicy.plan({}, seen(more), undefined, false).steps).toHaveLength(steps);
    expect(found).toEqual(remembered);
    const after = { ...seen(more), loaded: true, newRange: "s0" };
    expect(hostSelinuxPolicy.restore({}, found, after).steps).toHaveLength(given);
    expect(hostSelinuxPolicy.drift({}, seen(more)).state).toBe(steps === 1 ? "missing" : "ok");
  });
});

describe("facts", () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "virtio9p-selinux-"));
    for (const name of ["fs/booleans", "fs/class/file", "etc/targeted/contexts/files"])
      mkdirSync(join(folder, name), { recursive: true });
    put("fs/enforce", "1");
    put("fs/mls", "1");
    put("fs/class/file/index", "6");
    put("etc/config", "# one\nSELINUX=enforcing\n SELINUXTYPE = targeted # x\n");
    put("os-release", 'ID="rocky"\nID_LIKE="rhel centos fedora"\n');
  });
  afterEach(() => {
    rmSync(folder, { recursive: true });
  });
  const put = (name: string, text: string): void => {
    writeFileSync(join(folder, name), text);
  };
  const inFolder = (text: string): string =>
    text
      .replaceAll("/sys/fs/selinux", join(folder, "fs"))
      .replaceAll("/etc/selinux", join(folder, "etc"))
      .replaceAll("/etc/os-release", join(folder, "os-release"));

  test("say what is missing, and for which distribution", () => {
    const state = runFact(selinuxState, inFolder);
    expect(state).toMatchObject({
      enabled: true,
      ranges: true,
      distribution: ["rocky", "rhel", "centos", "fedora"],
    });
    expect(state.missing).toContain("semanage");
  });

  test("cost nothing without SELinux", () => {
    rmSync(join(folder, "fs"), { recursive: true });
    expect(runFact(selinuxState, inFolder)).toEqual({
      enabled: false,
      ranges: false,
      missing: [],
      distribution: [],
    });
    const empty = [
      localRules,
      labelsOf(folder),
      rulesAt("/a"),
      virtBooleans,
      rangeOfNewFiles,
      typeKnown("a_t"),
    ];
    expect(empty.map((fact) => runFact<unknown>(fact, inFolder))).toEqual([
      [],
      undefined,
      { exact: undefined, matching: [] },
      {},
      "",
      false,
    ]);
  });

  test("read the policy's files", () => {
    put("etc/targeted/contexts/files/file_contexts.local", `/srv/a(/.*)? ${image}\n`);
    put("etc/targeted/contexts/files/file_contexts.subs_dist", "/run /var/run\n");
    put("etc/targeted/contexts/files/file_contexts.subs", "/data /srv/data\n");
    put("fs/booleans/virt_use_nfs", "1 1");
    put("fs/booleans/virt_use_samba", "0 0");
    expect(runFact(localRules, inFolder)).toEqual([rule("/srv/a(/.*)?")]);
    expect(runFact(equivalences, inFolder)).toEqual({
      distribution: [{ from: "/run", to: "/var/run" }],
      local: [{ from: "/data", to: "/srv/data" }],
    });
    expect(runFact(virtBooleans, inFolder)).toEqual({ virt_use_nfs: true, virt_use_samba: false });
  });

  test("count the labels in a tree, and none of a link", () => {
    mkdirSync(join(folder, "tree/deep"), { recursive: true });
    expect(runFact(labelsOf(join(folder, "no")), inFolder)).toBeUndefined();
    expect(
      labelsOf("/x").parse(
        `${image}\n      7 f ${image} -\n      6 f ${context("var_t", "s0-s0:c0.c1023")} =3\n      5 d ${image} -\n      2 d ${image} ${context("etc_t")}\n`,
        Buffer.alloc(0),
      ),
    ).toEqual({
      own: image,
      inside: [
        { context: image, count: 12 },
        { context: context("var_t", "s0-s0:c0.c1023"), count: 6, ruled: 3 },
        { context: image, count: 2, ruled: context("etc_t") },
      ],
      links: false,
    });
    expect(labelsOf("/x").parse(`${image}\n      1 l ${image}\n`, Buffer.alloc(0))).toMatchObject({
      links: true,
    });
  });

  test("ask the kernel", () => {
    put("fs/create", "");
    runFact(rangeOfNewFiles, inFolder);
    expect(readFileSync(join(folder, "fs/create"), "utf8")).toBe(
      "system_u:system_r:svirt_t:s0:c1,c2 system_u:object_r:svirt_image_t:s0 6",
    );
    expect(rangeOfNewFiles.parse(`${context("svirt_image_t", "s0:c1,c2")}\0`, Buffer.alloc(0))).toBe(
      "s0:c1,c2",
    );
    put("fs/context", "");
    expect(runFact(typeKnown("a_t"), inFolder)).toBe(true);
    expect(readFileSync(join(folder, "fs/context"), "utf8")).toBe("system_u:object_r:a_t:s0");
    expect(existsSync(join(folder, "fs/context"))).toBe(true);
  });
});
