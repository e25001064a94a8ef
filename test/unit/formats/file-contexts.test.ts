import {
  equivalentOf,
  escapePath,
  isTreeRule,
  literalOf,
  mayMatchInside,
  parseContext,
  parseEquivalences,
  parseFileContexts,
  treePattern,
} from "../../../provider/formats/file-contexts";

const rule = (pattern: string, kind = "") => ({ pattern, kind, context: "system_u:object_r:var_t:s0" });

test("rules are read in their order, comments and what is no rule left out", () => {
  const text = `# made by somebody
/srv/a(/.*)?    system_u:object_r:svirt_image_t:s0
/srv/b\t-d\tsystem_u:object_r:var_t:s0-s0:c0.c1023

/srv/c          <<none>>
half
one two three four
`;
  expect(parseFileContexts(text)).toEqual([
    { pattern: "/srv/a(/.*)?", kind: "", context: "system_u:object_r:svirt_image_t:s0" },
    { pattern: "/srv/b", kind: "-d", context: "system_u:object_r:var_t:s0-s0:c0.c1023" },
    { pattern: "/srv/c", kind: "", context: "<<none>>" },
  ]);
});

test.each([
  ["/srv/a", "/srv/a"],
  ["/srv/my-share_1,2", "/srv/my-share_1,2"],
  ["/srv/a.b+c", "/srv/a\\.b\\+c"],
  ["/srv/a b", "/srv/a\\x20b"],
  ["/srv/-d", "/srv/\\x2dd"],
  ["/srv/[x](y){z}", "/srv/\\[x\\]\\(y\\)\\{z\\}"],
  ['/srv/it\'s "q"', "/srv/it\\x27s\\x20\\x22q\\x22"],
  ["/srv/ä", "/srv/\\xc3\\xa4"],
  ["/srv/a\\b", "/srv/a\\\\b"],
  ["/srv/^$?*|", "/srv/\\^\\$\\?\\*\\|"],
  ["/srv/#x", "/srv/\\x23x"],
])("%p is matched by %p and by nothing else", (path, pattern) => {
  expect(escapePath(path)).toBe(pattern);
  expect(literalOf(pattern)).toEqual({ path, tree: false });
  expect(literalOf(treePattern(path))).toEqual({ path, tree: true });
  // PCRE takes bytes: so does this one, of one character a byte.
  const expression = new RegExp(`^${treePattern(path)}$`);
  const bytes = Buffer.from(path, "utf8").toString("latin1");
  expect(
    [bytes, `${bytes}/x`, `${bytes}x`, bytes.replace(/.(?=[^/]*$)/, "~")].map((one) => expression.test(one)),
  ).toEqual([true, true, false, false]);
});

test.each(["/srv/.*", "/srv/[ab]", "/srv/a?", "/srv/a|b", "/srv/\\d", "/srv/(a)"])(
  "%p has no literal",
  (pattern) => {
    expect(literalOf(pattern)).toBeUndefined();
  },
);

test("a rule of a tree is known however it is written", () => {
  const trees = [
    rule("/srv/a\\.b(/.*)?"),
    rule("/srv/a\\x2eb(/.*)?"),
    rule("/srv/a.b(/.*)?"),
    rule("/srv/a\\.b(/.*)?", "-d"),
  ];
  expect(trees.map((one) => isTreeRule(one, "/srv/a.b"))).toEqual([true, true, false, false]);
});

test.each([
  ["/srv/a/b(/.*)?", true],
  ["/srv/a/.*\\.log", true],
  ["/srv/a/[^/]*", true],
  ["/srv/a(/.*)?", true],
  ["/srv/ab/c", false],
  ["/srv/ab?/c", true],
  ["/srv/.*", true],
  ["/srv/[b-z].*", true],
  ["/srv/b/(x|y)/.*", false],
  ["/srv/b/x|/srv/a/y", true],
  ["/srv/b/[|]", true],
  ["/srv/b(/.*)?", false],
  ["/srv", false],
  ["/srv/a\\x20/b", false],
])("%p may match inside /srv/a: %p", (pattern, inside) => {
  expect(mayMatchInside(pattern, "/srv/a")).toBe(inside);
});

test.each([
  ["/run/x", "/var/run/x"],
  ["/running", "/running"],
  ["/data/a", "/srv/data/a"],
  ["/far/a", "/data/far/a"],
  ["/twice", "/second"],
  ["/web/x", "/var/run/x"],
  ["/whole/x", "/x"],
  ["/whole", "/"],
  ["/slash/x", "/slash/x"],
  ["/to-slash/x", "/srv//x"],
])("%p is labelled as %p", (path, expected) => {
  const distribution = parseEquivalences(
    "# dist\n/run /var/run\n/far /data/far\n/twice /first\n/twice /second\n",
  );
  const local = parseEquivalences("/data /srv/data\n/web /run\n/whole /\n/slash/ /srv\n/to-slash /srv/\n");
  expect(equivalentOf(path, { distribution, local })).toBe(expected);
});

test.each([
  ["system_u:object_r:svirt_image_t:s0", { type: "svirt_image_t", range: "s0" }],
  ["u:r:t:s0-s0:c0.c1023", { type: "t", range: "s0-s0:c0.c1023" }],
  ["u:r:t", { type: "t", range: "" }],
  ["<<none>>", { type: "", range: "" }],
])("%p", (text, expected) => {
  expect(parseContext(text)).toMatchObject(expected);
});
