import { attributesFor, parseOwner, type Wanted } from "../../../provider/cli/change";
import type { Listed } from "../../../provider/cli/entries";
import { formatJson, formatText } from "../../../provider/cli/inspect";

const u32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
};
const entry = (seen: { mode?: number; uid?: number; gid?: number } = {}): Listed => ({
  name: "./a",
  host: { type: "file", mode: 0o600, uid: 64055, gid: 64055 },
  sizeBytes: 12,
  modified: 1763877000,
  attributes: new Map(Object.entries(seen).map(([name, value]) => [`user.virtfs.${name}`, u32(value)])),
});
const written = (of: Listed, wanted: Wanted): Record<string, string> =>
  Object.fromEntries(
    [...attributesFor(of, wanted)].map(([name, value]) => [
      name.replace("user.virtfs.", ""),
      name.endsWith("mode") ? value.readUInt32LE().toString(8) : String(value.readUInt32LE()),
    ]),
  );

test.each([
  ["1000", { uid: 1000, gid: undefined }],
  ["1000:100", { uid: 1000, gid: 100 }],
  [":100", { uid: undefined, gid: 100 }],
  ["0:0", { uid: 0, gid: 0 }],
  ["4294967294", { uid: 4294967294, gid: undefined }],
  ["4294967295", undefined],
  ["", undefined],
  [":", undefined],
  ["alice", undefined],
  ["-1", undefined],
  ["1000:", undefined],
  ["1.5", undefined],
])("the owner %j", (text, wanted) => {
  expect(parseOwner(text)).toEqual(wanted);
});

test("what is so already is not written", () => {
  expect(written(entry({ uid: 5, mode: 0o100640 }), { uid: 5, gid: 64055 })).toEqual({});
  expect(written(entry({ mode: 0o100640 }), { mode: 0o640 })).toEqual({});
});

test("owner, group and mode are written each by itself, the mode with its type", () => {
  expect(written(entry(), { uid: 5 })).toEqual({ uid: "5" });
  expect(written(entry(), { gid: 6 })).toEqual({ gid: "6" });
  expect(written(entry(), { mode: 0o4755 })).toEqual({ mode: "104755" });
  const directory: Listed = { ...entry(), host: { ...entry().host, type: "directory" } };
  expect(written(directory, { mode: 0o2775 })).toEqual({ mode: "42775" });
  expect(written(entry({ mode: 0o010644 }), { mode: 0o600 })).toEqual({ mode: "10600" });
});

test("a link gets another owner, and no mode", () => {
  expect(written(entry({ mode: 0o120777 }), { uid: 5, mode: 0o600 })).toEqual({ uid: "5" });
});

test("a new owner takes the privileges of a file, as chown(2), and not those of a directory", () => {
  expect(written(entry({ mode: 0o106755 }), { uid: 5 })).toEqual({ uid: "5", mode: "100755" });
  expect(written(entry({ mode: 0o106745 }), { gid: 5 })).toEqual({ gid: "5", mode: "102745" });
  expect(written(entry({ mode: 0o104755 }), { uid: 64055 })).toEqual({});
  const directory: Listed = { ...entry({ mode: 0o042775 }), host: { ...entry().host, type: "directory" } };
  expect(written(directory, { uid: 5 })).toEqual({ uid: "5" });
});

test("what is damaged is written anew, with a type that the entry can have", () => {
  const short = (name: string): Listed => ({
    ...entry(),
    attributes: new Map([[`user.virtfs.${name}`, Buffer.alloc(2)]]),
  });
  expect(written(short("uid"), { uid: 64055 })).toEqual({ uid: "64055" });
  expect(written(short("mode"), { mode: 0o600 })).toEqual({ mode: "100600" });
  expect(written(entry({ mode: 0o040600 }), { mode: 0o640 })).toEqual({ mode: "100640" });
  expect(written(entry({ mode: 0o040600 }), { uid: 5 })).toEqual({ uid: "5" });
});

test("a mode is that of the access list too: owner, mask and others", () => {
  // u::rw- u:1000:rwx g::r-- m::rwx o::r--
  const list = "0200000001000600ffffffff02000700e803000004000400ffffffff10000700ffffffff20000400ffffffff";
  const name = "user.virtfs.system.posix_acl_access";
  const listed: Listed = { ...entry(), attributes: new Map([[name, Buffer.from(list, "hex")]]) };
  expect(attributesFor(listed, { mode: 0o640 }).get(name)?.toString("hex")).toBe(
    "0200000001000600ffffffff02000700e803000004000400ffffffff10000400ffffffff20000000ffffffff",
  );
  expect(attributesFor(listed, { uid: 5 }).has(name)).toBe(false);
  const minimal = "0200000001000600ffffffff04000400ffffffff20000400ffffffff";
  const short: Listed = { ...entry(), attributes: new Map([[name, Buffer.from(minimal, "hex")]]) };
  expect(attributesFor(short, { mode: 0o751 }).get(name)?.toString("hex")).toBe(
    "0200000001000700ffffffff04000500ffffffff20000100ffffffff",
  );
  const none: Listed = { ...entry(), attributes: new Map([[name, Buffer.from("0300", "hex")]]) };
  expect([...attributesFor(none, { mode: 0o751 }).keys()]).toEqual(["user.virtfs.mode"]);
  expect(formatText(none, "a")).toMatch(/damaged: user.virtfs.system.posix_acl_access is no access list/);
});

test("what may not be read is not guessed", () => {
  const unread: Listed = { ...entry(), attributes: undefined };
  expect(formatText(unread, "a")).toBe("??????????      ?     ?         12 2025-11-23 05:50 a");
  expect(JSON.parse(formatJson(unread, "a"))).toMatchObject({
    uid: null,
    mode: null,
    acl: null,
    attributes: null,
  });
});

test("as text, and as JSON", () => {
  const one = entry({ mode: 0o107654, uid: 1000 });
  expect(formatText(one, "t/a\nb")).toBe("-rwSr-sr-T   1000 64055         12 2025-11-23 05:50 t/a\\012b");
  expect(formatText({ ...one, attributes: new Map([["user.virtfs.uid", Buffer.alloc(2)]]) }, "a")).toBe(
    "-rw-------  64055 64055         12 2025-11-23 05:50 a  [damaged: user.virtfs.uid has 2 bytes, not 4]",
  );
  expect(JSON.parse(formatJson(one, "t/a\nb"))).toEqual({
    path: "t/a\\012b",
    type: "file",
    mode: "7654",
    uid: 1000,
    gid: 64055,
    size: 12,
    modified: 1763877000,
    acl: false,
    host: { type: "file", mode: "0600", uid: 64055, gid: 64055 },
    attributes: ["user.virtfs.mode", "user.virtfs.uid"],
    damage: [],
  });
});
