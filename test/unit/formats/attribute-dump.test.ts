import fc from "fast-check";
import { type Dumped, formatDumped, parseDump } from "../../../provider/formats/attribute-dump";
import { run } from "../../e2e/support/run";

async function all(text: string): Promise<Dumped[]> {
  const found = [];
  for await (const one of parseDump(text.split("\n"))) found.push(one);
  return found;
}

const read = async (text: string): Promise<object[]> =>
  (await all(text)).map(({ name, attributes, line }) => [
    line,
    name,
    ...[...attributes].map(([attribute, value]) => `${attribute}=${value.toString("latin1")}`),
  ]);

test("a part for each entry, whatever stands between them", async () => {
  expect(
    await read("# file: a b\\012c\nuser.a=0x6162\nuser.b=0sYWI=\n\n\n# owner: x\n# file: ./d\nuser.e"),
  ).toEqual([
    [1, "a b\nc", "user.a=ab", "user.b=ab"],
    [7, "./d", "user.e="],
  ]);
});

test.each([
  ['"ab"', "ab"],
  ['"\\000\\350\\"\\\\"', '\0\xe8"\\'],
  ['""', ""],
  ["0x", ""],
  ["0XAb", "\xab"],
  ["0s", ""],
])("the value %s", async (text, value) => {
  expect(await read(`# file: a\nuser.a=${text}\n`)).toEqual([[1, "a", `user.a=${value}`]]);
});

test.each([
  ["user.a=0x6\n", "line 1: it belongs to no file: user.a=0x6"],
  ["# file: a\n\nuser.a=0x61\n", "line 3: it belongs to no file: user.a=0x61"],
  ["# file: a\nuser.a=0x6\n", "line 2: its value cannot be read: user.a=0x6"],
  ['# file: a\nuser.a="b\n', 'line 2: its value cannot be read: user.a="b'],
  ["# file: a\nuser.a=b\n", "line 2: its value cannot be read: user.a=b"],
  ["# file: a\nuser.a=0sYW\n", "line 2: its value cannot be read: user.a=0sYW"],
])("%j is none", async (text, message) => {
  await expect(all(text)).rejects.toThrow(message);
});

test("what is written is read again, and names have a line each", async () => {
  const name = fc
    .array(fc.integer({ min: 1, max: 255 }), { minLength: 1, maxLength: 20 })
    .map((bytes) => Buffer.from(bytes).toString("latin1"));
  await fc.assert(
    fc.asyncProperty(name, fc.uint8Array({ maxLength: 20 }), async (file, bytes) => {
      const value = Buffer.from(bytes);
      const text = formatDumped(file, new Map([["user.a", value]]));
      expect(text.split("\n")).toHaveLength(4);
      expect(await all(text)).toEqual([{ name: file, line: 1, attributes: new Map([["user.a", value]]) }]);
    }),
  );
});

test("what getfattr of this machine writes is read, in each of its forms", async () => {
  const { code, stdout, stderr } = await run("bash", [
    "-ec",
    `t=$(mktemp -d); trap 'rm -r "$t"' EXIT; cd "$t"
touch $'a\\\\ b\\nc\\rd\\xff'; setfattr -n user.x -v 0x00e8225c0a0d61 -- *
for form in text hex base64; do getfattr -d -e $form -- * | base64 -w 0; echo; done`,
  ]);
  expect([code, stderr]).toEqual([0, ""]);
  const dumps = stdout.trimEnd().split("\n");
  expect(dumps).toHaveLength(3);
  for (const dump of dumps) {
    const [one] = await all(Buffer.from(dump, "base64").toString("latin1"));
    expect(one?.name).toBe("a\\ b\nc\rd\xff");
    expect(one?.attributes.get("user.x")?.toString("hex")).toBe("00e8225c0a0d61");
  }
});
