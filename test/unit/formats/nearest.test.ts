import { nearest } from "../../../provider/formats/nearest";

test.each([
  ["soruce", ["source", "domain"], "source"],
  ["SOURCE", ["source", "domain"], "source"],
  ["xy", ["source", "domain"], undefined],
  ["mount_point", ["mountPoint"], "mountPoint"],
  ["", [], undefined],
  ["msize", ["mode", "msizeBytes"], "msizeBytes"],
  ["msizeKiB", ["cache", "msizeBytes"], "msizeBytes"],
  ["boot", ["shutdownMs", "bootMs"], "bootMs"],
  ["bootSeconds", ["shutdownMs", "bootMs"], "bootMs"],
  ["shutdownTimeout", ["bootMs", "shutdownMs"], "shutdownMs"],
  ["sourceDirectory", ["domain", "source"], "source"],
  ["ms", ["bootMs", "shutdownMs"], undefined],
  ["tags", ["tag"], "tag"],
  ["x".repeat(1_000_000), ["source"], undefined],
])("nearest to %j of %j is %j", (name, known, expected) => {
  expect(nearest(name, known)).toBe(expected);
});
