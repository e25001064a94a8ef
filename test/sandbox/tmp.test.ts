import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import type { Outcome } from "../../provider/reconcile/reconcile";
import { box, status, undone, again } from "./bench";
import * as local from "../../provider/transport/local";

const scripts: string[] = []; let n = 0;
function forks() { return Number(/^processes (\d+)/m.exec(readFileSync("/proc/stat","utf8"))?.[1]); }
jest.mock("../../provider/transport/local", () => {
  const actual = jest.requireActual<typeof local>("../../provider/transport/local");
  return { ...actual, localTransport: (e: never) => {
    const t = actual.localTransport(e);
    return { ...t, machine: t.machine, run: async (script: string, limits: never) => {
      const begun = Date.now(); const p = forks();
      writeFileSync(`/tmp/script-${n}.sh`, script); const out = await t.run(n < 99 ? `exec strace -f -qq -s 200 -o /tmp/tr-${n} -e trace=execve,vfork,clone,clone3,fork,write /bin/sh /tmp/script-${n++}.sh` : script, limits);
      scripts.push(`${script.includes("seen_at()") ? "guest" : "host"} ${/step-/.test(script) ? "write" : "look"} ${script.length} bytes ${Date.now() - begun} ms ${forks() - p} forks`);  void (``);
      return out;
    } };
  } };
});
test.each([1, 10])("%d", async (n) => {
  for (let i = 0; i < n; i++) mkdirSync(box.path(`srv/s${i}`));
  const specs = Array.from({ length: n }, (_, i) => box.spec({ tag: `t${i}`, power: "never", guest: { mountPoint: box.path("guest/mnt", `m${i}`) } }, `s${i}`));
  const told: string[] = [];
  const show = (what: string) => { told.push(`${n} ${what}: ${scripts.length}\n  ${scripts.splice(0).join("\n  ")}`); };
  const before = box.snapshot();
  const created = await Promise.all(specs.map((spec) => box.run({ spec })));
  show("create");
  await Promise.all(specs.map((spec, i) => box.run(again(created[i] as Outcome, spec))));
  show("again");
  await Promise.all(specs.map((spec, i) => box.run(undone(created[i] as Outcome, spec))));
  show("destroy");
  console.log(told.join("\n"), status(created[0] as Outcome));
  expect(box.snapshot()).toEqual(before);
}, 600000);
