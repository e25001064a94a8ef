import { join } from "node:path";
import { nameOf, rememberedOnSameFileSystem } from "../../../../provider/layers/shared/inode-snapshot";
import { ScratchTree } from "../../scratch-tree";
import { runFact } from "../../shell-machine";

/** Which directories above have a snapshot, on real trees. */
const tree = new ScratchTree("mkdir -p tree/a/b records/owners");
const around = (path: string, directories: readonly string[]): readonly string[] =>
  runFact(rememberedOnSameFileSystem(path, directories), tree.records);

test("those that have one are told, in their order", () => {
  const [outer, a] = [tree.path, join(tree.path, "a")];
  expect(around(join(a, "b"), [a, outer])).toEqual([]);
  for (const path of [outer, a]) tree.bash(`touch records/owners/${nameOf(path)}`);
  expect(around(join(a, "b"), [a, outer])).toEqual([a, outer]);
});

test("what is not there is where it would be, and below a directory of the system nowhere", () => {
  tree.bash(`touch records/owners/${nameOf(tree.path)}`);
  expect(around(join(tree.path, "x/y"), [join(tree.path, "x"), tree.path])).toEqual([tree.path]);
  expect(around("/srv/v9p-none", [])).toEqual([]);
});
