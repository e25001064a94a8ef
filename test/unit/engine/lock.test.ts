import { inSight } from "../../../provider/engine/lock";
import { sh } from "../../../provider/remote/shell/sh";
import { runScript } from "../shell-machine";

const run = (script: string): string => runScript({ text: `mark=m lock=; exec 7>&1\n${script}` }).toString();

test("a program that works is in sight, one that stands still is not, and its status is its own", () => {
  const busy = sh`end=$(($(date +%s) + 3)); while [ "$(date +%s)" -lt "$end" ]; do :; done`.text;
  expect(run(`${inSight(1).text}\nwork() { ${busy}; }\nin_sight work; echo ended`)).toMatch(
    /^(\nm on\n)+ended\n$/,
  );
  // What a program does to start is work, too, and a busy machine takes its time for it: so a few signs of eight.
  const still = run(`${inSight(1).text}\nin_sight sleep 8; in_sight false || echo $?`);
  expect(still).toMatch(/^(\nm on\n){0,3}1\n$/);
});
