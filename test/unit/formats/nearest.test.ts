import { nearest } from "../../../provider/formats/nearest";

test.each([
  ["soruce", ["source", "domain"], "source"],
  ["SOURCE", ["source", "domain"], "source"],
  ["xy", ["source", "domain"], undefined],
  ["mount_point", ["mountPoint"], "mountPoint"],
  ["", [], undefined],
])("nearest to %j of %j is %j", (name, known, expected) => {
  expect(nearest(name, known)).toBe(expected);
});
