import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { treeIn } from "../../../../../provider/layers/directory/tree/probe";
import { runFact } from "../../../shell-machine";

/** On a real tree, as root. */
let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "virtio9p-scan-"));
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});
const scan = (script: string, more = "") => {
  execFileSync("bash", ["-ec", `mkdir tree; cd tree\n${script}`], { cwd: folder });
  return runFact(treeIn(join(folder, "tree")), (text) => `mark=m\n${more}${text}`);
};
const none = { count: 0, names: [] };

test("nothing where the directory is not there, and in an empty one", () => {
  expect(runFact(treeIn(join(folder, "no"))).entries).toEqual([]);
  expect(scan(":")).toEqual({
    entries: [],
    privileged: none,
    linkedOut: none,
    otherFileSystems: none,
    unreadable: none,
  });
});

test("counts by owner, group, kind, and whether their owner can use them", () => {
  const { entries } =
    scan(`touch a b; chmod 600 a; chmod 400 b; mkdir -m 700 c; mkdir -m 500 d; ln -s /x l; mkfifo f
touch x; chmod 655 x; touch y; chmod 0 y; touch z; chmod 755 z; chown -h 77:88 l a
touch n; chown 1:1 n`);
  const sorted = entries
    .map(({ count, kind, uid, gid, user, open }) => [kind, uid, gid, user, open, count].join(" "))
    .sort();
  expect(sorted).toEqual([
    "directory 0 0 root false 1",
    "directory 0 0 root true 1",
    "file 0 0 root false 3",
    "file 0 0 root true 1",
    "file 1 1 daemon true 1",
    "file 77 88  true 1",
    "link 77 88  true 1",
    "special 0 0 root true 1",
  ]);
});

test("names what matters, five at most, whatever they are called", () => {
  const found = scan(`for name in 1 2 3 4 5 6; do touch s$name; chmod 4755 s$name; done
mkdir -m 2775 setgid; mkdir -m 1777 sticky; touch plain; chmod 1644 plain
touch $'new\\nline' 'back\\slash'; ln $'new\\nline' ../outside; ln 'back\\slash' ../other; touch in; ln in in2`);
  expect(found.privileged.count).toBe(6);
  expect(found.privileged.names).toHaveLength(5);
  expect(found.linkedOut.count).toBe(2);
  expect([...found.linkedOut.names].sort()).toEqual(["back\\slash", "new\nline"]);
});

/** What the helper does first when it looks at an entry for the first time. */
const meanwhile = (code: string) => (text: string) => {
  const call = "        path = directory.path[2:]";
  expect(text).toContain(call);
  return `mark=m\n${text.replace(call, `        ${code}\n${call}`)}`;
};

test("what goes while it is walked is left out of the count", () => {
  execFileSync("bash", ["-ec", "mkdir tree; cd tree; for i in $(seq 50); do touch $i; done"], {
    cwd: folder,
  });
  const remove = `[os.unlink(one) for one in os.listdir(".") if os.fsencode(one) != name]`;
  const { entries } = runFact(treeIn(join(folder, "tree")), meanwhile(remove));
  expect(entries).toMatchObject([{ count: 1 }]);
});

test("what cannot be looked into is told of, and the rest is counted", () => {
  execFileSync(
    "bash",
    ["-ec", "mkdir -p tree/shut tree/open; chmod 0 tree/shut; touch tree/open/a; chmod 755 ."],
    {
      cwd: folder,
    },
  );
  const { entries, unreadable } = runFact(
    treeIn(join(folder, "tree")),
    (text) =>
      `mark=m\n${text.replaceAll("python3 ", "setpriv --reuid 65534 --clear-groups /usr/bin/python3 ")}`,
  );
  expect(unreadable).toEqual({ count: 1, names: ["'./shut': Permission denied"] });
  expect(entries.map(({ kind, count }) => `${kind} ${count}`).sort()).toEqual([
    "directory 1",
    "directory 1",
    "file 1",
  ]);
});
