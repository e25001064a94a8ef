import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { exportsNear, hostExports } from "../../../provider/concerns/second-writer";
import type { Fact } from "../../../provider/engine/concern";
import { lines, sh } from "../../../provider/formats/shell";
import { runScript } from "../shell-machine";

/** In a real shell, over the definitions that a `vsh` of the test prints. */

let folder: string;
beforeEach(() => {
  folder = realpathSync(mkdtempSync(join(tmpdir(), "virtio9p-exports-")));
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});

const uuid = (name: string): string => `1bc66943-7fd0-4114-bc1e-00000000000${name}`;
const filesystem = (source: string, tag: string): string => `    <filesystem type='mount' accessmode='mapped'>
      <source dir='${source}'/>
      <target dir='${tag}'/>
      <alias name='fs0'/>
      <address type='pci' domain='0x0000' bus='0x01' slot='0x00' function='0x0'/>
    </filesystem>
`;

/** A domain of one digit, with these devices. */
function define(name: string, devices: string, end = "</domain>\n"): void {
  const head = `<domain type='kvm'>\n  <name>web${name}</name>\n  <uuid>${uuid(name)}</uuid>\n  <devices>\n`;
  writeFileSync(join(folder, `${uuid(name)}.xml`), `${head}${devices}  </devices>\n${end}`);
}

/** What the fact reads, where libvirt says `list` of itself instead of all that is defined. */
function looked<T>(fact: Fact<T>, list = sh`ls | sed -n 's/\.xml$//p'`): T {
  const vsh = sh`cd ${folder}
vsh() {
  if [ "$1" = list ]; then ${list}; return; fi
  for word in $(printf %s "$1" | tr -d ';'); do [ ! -e "$word.xml" ] || cat "$word.xml"; done
}`;
  const gathered = fact.gathers
    ? sh`exports=$( ${fact.gathers.script}
)`
    : sh`:`;
  const bytes = runScript(lines([vsh, gathered, fact.script]));
  return fact.parse(bytes.toString("utf8"), bytes);
}

test("no domain: no exports, near or far", () => {
  expect([looked(hostExports), looked(exportsNear("/srv/a"))]).toEqual([[], ""]);
});

test("exports are told with where their source really leads, live and persistent ones once", () => {
  mkdirSync(join(folder, "it's <a> & b"));
  symlinkSync("it's <a> & b", join(folder, "link"));
  define("1", filesystem(`${folder}/link`, "one") + filesystem("/nowhere/ x", "two"));
  define("2", filesystem(`${folder}/it&apos;s &lt;a&gt; &amp; b`, "three"));
  expect(
    looked(hostExports).map(({ domain, tag, source, realPath }) => [domain, tag, source, realPath]),
  ).toEqual([
    ["web1", "two", "/nowhere/ x", "/nowhere/ x"],
    ["web1", "one", `${folder}/link`, `${folder}/it's <a> & b`],
    ["web2", "three", `${folder}/it's <a> & b`, `${folder}/it's <a> & b`],
  ]);
});

test("near a directory is what it holds, what holds it, and it itself; not its neighbours", () => {
  const sources = ["/srv", "/srv/a", "/srv/a/b", "/srv/ab", "/srv/b", "/"];
  define("1", sources.map((source, index) => filesystem(source, `t${index}`)).join(""));
  const found = looked(exportsNear("/srv/a"));
  expect(sources.filter((source) => found.includes(`dir='${source}'`))).toEqual([
    "/srv",
    "/srv/a",
    "/srv/a/b",
    "/",
  ]);
});

test.each([
  ["in a filesystem", "    <filesystem type='mount'>\n      <source dir='/a'/>\n", ""],
  ["behind one", filesystem("/a", "one"), ""],
])("a definition that was cut off is an error and not a short list: %s", (_, devices, end) => {
  define("1", devices, end);
  expect(() => looked(hostExports)).toThrow();
});

test("a domain that went while it was asked is no error", () => {
  define("1", filesystem("/a", "one"));
  const list = sh`echo ${uuid("1")}; [ -e later ] || echo ${uuid("2")}; : >later`;
  expect(looked(hostExports, list).map(({ tag }) => tag)).toEqual(["one"]);
});

test("a domain that is undefined and defined while it is asked is asked again", () => {
  define("1", filesystem("/a", "one"));
  define("2", filesystem("/b", "two"));
  const away = sh`mv ${`${uuid("2")}.xml`} away`;
  const list = sh`echo >>calls
case $(wc -l <calls) in 1) ${away};; 3) mv away ${`${uuid("2")}.xml`};; esac
echo ${uuid("1")}; echo ${uuid("2")}`;
  expect(looked(hostExports, list).map(({ tag }) => tag)).toEqual(["one", "two"]);
});

test.each([
  ["it says nothing of a domain that is there", sh`echo ${uuid("1")}; echo ${uuid("2")}`],
  ["it is gone afterwards", sh`[ ! -e later ] || return 1; : >later; echo ${uuid("1")}`],
  ["it cannot be asked at all", sh`return 1`],
])("a libvirt that fails between two domains is an error and not a short list: %s", (_, list) => {
  define("1", filesystem("/a", "one"));
  expect(() => looked(hostExports, list)).toThrow();
  expect(looked(exportsNear("/srv/b"), list)).not.toBe("");
});
