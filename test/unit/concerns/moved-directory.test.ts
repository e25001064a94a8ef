import { join } from "node:path";
import { nameOf } from "../../../provider/concerns/ledger";
import { movedDirectory } from "../../../provider/concerns/moved-directory";
import { lineOf } from "../../../provider/engine/record";
import { ScratchTree } from "../scratch-tree";
import { runFact } from "../shell-machine";

/** In real trees. */
const tree = new ScratchTree("mkdir -p tree/a/inner records/owners records/host");
const inner = (): string => join(tree.path, "a/inner");
const identity = (path = "tree/a/inner"): string => tree.bash(`stat -c %i:%.9W ${path}`).trim();
const moved = () => runFact(movedDirectory(inner(), [join(tree.path, "a"), tree.path]), tree.records);
const record = (text: string): void => {
  const [inode = "", born = ""] = text.split(":");
  const before = { created: false, uid: 0, gid: 0, mode: "0755", inode, born, attributes: {} };
  const line = JSON.stringify({ version: 2, layer: "directory", identity: inner(), before });
  const file = /"\$records\/host"\/(\S+)/.exec(lineOf("directory", inner()).text)?.[1] ?? "";
  tree.bash(`cat > records/host/${file} <<'EOF'\n${line}\nEOF
touch records/owners/${nameOf({ of: "owners", path: tree.path })}`);
};

test("where it was moved to by somebody who may, it is found", () => {
  record(identity());
  expect(moved()).toEqual([]);
  tree.bash("mkdir tree/b; mv tree/a/inner tree/b/else; mkdir tree/a/inner");
  expect(moved()).toEqual([{ outer: tree.path, identity: identity("tree/b/else") }]);
});

test("so it is by a record of an earlier release, whose births are whole seconds", () => {
  record(identity().replace(/\.\d+$/, ""));
  expect(moved()).toEqual([]);
  tree.bash("mv tree/a/inner tree/else");
  expect(moved()).toEqual([{ outer: tree.path, identity: identity("tree/else") }]);
});

test("where its disk is away it is nowhere, though its path is in the larger tree", () => {
  tree.bash("mount -t tmpfs tmpfs tree/a/inner");
  record(identity());
  expect(moved()).toEqual([]);
  tree.bash("umount tree/a/inner");
  expect(moved()).toEqual([]);
});

test("without a record nothing is looked for", () => {
  tree.bash("rmdir tree/a/inner");
  expect(moved()).toEqual([]);
});
