import { mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { denialsAt } from "../../../../provider/layers/shared/denials";
import { runFact } from "../../shell-machine";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "virtio9p-denials-"));
  mkdirSync(join(folder, "bar/deep"), { recursive: true });
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});

const found = (log: string, audit = ""): readonly string[] => {
  writeFileSync(join(folder, "log"), log);
  writeFileSync(join(folder, "audit"), audit);
  return runFact(denialsAt(join(folder, "bar")), (text) =>
    text
      .replace("dmesg", `cat ${join(folder, "log")}`)
      .replace("/var/log/audit/audit.log", join(folder, "audit")),
  );
};
/** The kernel's mark of a message, of so many seconds ago. */
const at = (ago = 60): string => `audit(${Math.floor(Date.now() / 1000) - ago}.123:45):`;
const avc = (more: string, domain = "svirt_t"): string =>
  `avc:  denied  { write } for  pid=812 comm="qemu-system-x86" ${more} scontext=system_u:system_r:${domain}:s0:c1,c2 tcontext=system_u:object_r:etc_t:s0 tclass=dir permissive=0`;
const deep = (): string => `name="deep" dev="vda" ino=${statSync(join(folder, "bar/deep")).ino}`;
const hex = (text: string): string => Buffer.from(text).toString("hex").toUpperCase();
const inode = (): string => `name="bar" dev="vda" ino=${statSync(join(folder, "bar")).ino}`;

test.each<[string, () => string, boolean]>([
  ["the directory, by its inode", () => avc(inode()), true],
  ["one of a kind of QEMU that is emulated", () => avc(inode(), "svirt_tcg_t"), true],
  ["what is deep in it, by its inode", () => avc(deep()), true],
  ["what is in it, by its path", () => avc(`path="${folder}/bar/x"`), true],
  ["another inode", () => avc('name="bar" dev="vda" ino=1'), false],
  ["a directory of a name that begins alike", () => avc(`path="${folder}/barn/x"`), false],
  ["another program's", () => avc(inode(), "httpd_t"), false],
  [
    "AppArmor's",
    () => `apparmor="DENIED" operation="open" profile="libvirt-1" name="${folder}/bar/x" pid=1`,
    true,
  ],
  ["AppArmor's of elsewhere", () => `apparmor="DENIED" operation="open" name="/etc/shadow" pid=1`, false],
])("%s", (_, line, here) => {
  expect(found(`[   12.5] audit: type=1400 ${at()} ${line()}\n`)).toEqual(here ? [line()] : []);
  expect(found("", `type=AVC msg=${at()} ${line()}\n`)).toEqual(here ? [line()] : []);
});

test.each<[string, (folder: string) => string, boolean]>([
  ["in it", (bar) => `${bar}/a b`, true],
  ["the directory", (bar) => bar, true],
  ["one of a name that begins alike", (bar) => `${bar}n/a b`, false],
])("a name in hexadecimal, %s, is shown as text", (_, name, here) => {
  const path = name(join(folder, "bar"));
  const line = (shown: string) => `apparmor="DENIED" operation="open" name=${shown} pid=1`;
  expect(found(`[1.0] audit: ${at()} ${line(hex(path))}\n`)).toEqual(
    here ? [line(JSON.stringify(path))] : [],
  );
});

test("the last three", () => {
  const lines = [1, 2, 3, 4].map((pid) => avc(`${inode()} x=${pid}`));
  expect(found(lines.map((line) => `[1.0] ${at()} ${line}\n`).join(""))).toEqual(lines.slice(1));
});

test("none of what is older than an hour", () => {
  const [old, young] = [avc(`${inode()} x=old`), avc(`${inode()} x=young`)];
  expect(found(`[1.0] ${at(3700)} ${old}\n[2.0] ${at(3500)} ${young}\n`)).toEqual([young]);
});
