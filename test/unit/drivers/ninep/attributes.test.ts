import { fileTypeOf, seenByGuest, type Status } from "../../../../provider/drivers/ninep/attributes";

const host: Status = { type: "file", mode: 0o600, uid: 64055, gid: 64055 };
const seen = (attributes: Record<string, string>, of: Status = host): object =>
  seenByGuest(
    of,
    new Map(
      Object.entries(attributes).map(([name, hex]) => [`user.virtfs.${name}`, Buffer.from(hex, "hex")]),
    ),
  );

test("without attributes it is what the host has", () => {
  expect(seen({})).toEqual({ status: host, acl: false, damage: [] });
});

test("each attribute counts by itself", () => {
  expect(seen({ uid: "e8030000" })).toMatchObject({ status: { ...host, uid: 1000 }, damage: [] });
  expect(seen({ gid: "64000000" })).toMatchObject({ status: { ...host, gid: 100 }, damage: [] });
  expect(seen({ mode: "ed890000" })).toMatchObject({ status: { ...host, mode: 0o4755 }, damage: [] });
  expect(seen({ "system.posix_acl_access": "02" })).toMatchObject({ acl: true });
});

test("the type is the attribute's, and a device has its number", () => {
  expect(seen({ mode: "ffa10000" })).toMatchObject({ status: { type: "link", mode: 0o777 }, damage: [] });
  expect(seen({ mode: "80610000", rdev: "1108000000000000" })).toMatchObject({
    status: { type: "block", mode: 0o600, device: { major: 8, minor: 17 } },
    damage: [],
  });
});

test("a device number in full", () => {
  const major = 0xabcdn;
  const minor = 0x12345n;
  const rdev =
    (minor & 0xffn) | ((major & 0xfffn) << 8n) | ((minor & ~0xffn) << 12n) | ((major & ~0xfffn) << 32n);
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(rdev);
  expect(seen({ mode: "80210000", rdev: bytes.toString("hex") })).toMatchObject({
    status: { device: { major: Number(major), minor: Number(minor) } },
  });
});

test.each([
  [{ uid: "0102" }, "user.virtfs.uid has 2 bytes, not 4"],
  [{ uid: "01" }, "user.virtfs.uid has 1 byte, not 4"],
  [{ gid: "" }, "user.virtfs.gid has 0 bytes, not 4"],
  [{ mode: "a48100000000" }, "user.virtfs.mode has 6 bytes, not 4"],
  [{ uid: "ffffffff" }, "user.virtfs.uid is 4294967295, which is no id"],
  [{ mode: "a4010000" }, "user.virtfs.mode is 0644, which has no type of a file"],
  [{ mode: "a4810100" }, "user.virtfs.mode is 0300644, which has no type of a file"],
  [{ mode: "ed410000" }, "user.virtfs.mode is 040755, a directory, and it is a file on the host"],
  [{ mode: "80610000" }, "user.virtfs.rdev is missing"],
])("%j is damaged", (attributes, damage) => {
  expect(seen(attributes)).toMatchObject({ damage: [damage] });
});

test("a directory that is to be a file is damaged too", () => {
  expect(seen({ mode: "a4810000" }, { ...host, type: "directory" })).toMatchObject({
    damage: ["user.virtfs.mode is 0100644, a file, and it is a directory on the host"],
  });
});

test("every type that stat(2) knows", () => {
  expect([0o010000, 0o020000, 0o040000, 0o060000, 0o100000, 0o120000, 0o140000, 0].map(fileTypeOf)).toEqual([
    "fifo",
    "character",
    "directory",
    "block",
    "file",
    "link",
    "socket",
    undefined,
  ]);
});
