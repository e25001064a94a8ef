import {
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  exportsNear,
  hostExports,
  type HostExports,
} from "../../../../provider/layers/shared/exclusive-access";
import type { Fact } from "../../../../provider/engine/layer";
import { comment, lines, sh } from "../../../../provider/remote/shell/sh";
import { escapeAttribute } from "../../../../provider/formats/xml-element";
import { runScript } from "../../shell-machine";

/** In a real shell, over the definitions that a `vsh` of the test prints. */

let folder: string;
beforeEach(() => {
  folder = realpathSync(mkdtempSync(join(tmpdir(), "virtio9p-exports-")));
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});

const uuid = (name: string): string => `1bc66943-7fd0-4114-bc1e-${name.padStart(12, "0")}`;
const filesystem = (source: string, tag: string): string => `    <filesystem type='mount' accessmode='mapped'>
      <source dir='${source}'/>
      <target dir='${tag}'/>
      <alias name='fs0'/>
      <address type='pci' domain='0x0000' bus='0x01' slot='0x00' function='0x0'/>
    </filesystem>
`;

/** A domain of one digit, with these devices. */
function define(name: string, devices: string, more = "", end = "</domain>\n"): void {
  const head = `<domain type='kvm'>\n  <name>web${name}</name>\n  <uuid>${uuid(name)}</uuid>\n${more}  <devices>\n`;
  writeFileSync(join(folder, `${uuid(name)}.xml`), `${head}${devices}  </devices>\n${end}`);
}

const commandLine = (...words: readonly string[]): string =>
  `  <qemu:commandline>\n${words.map((word) => `    <qemu:arg value='${word}'/>\n`).join("")}  </qemu:commandline>\n`;

/** All that is defined, each called `a webN`. */
const named = sh`ls | sed -n 's/\.xml$//p' | sed 's/.*\(.\)$/& a web\1/'`;

/** What the fact reads, where libvirt says `list` of itself instead of all that is defined; `virsh -q` ends an echo without a line end. */
function looked<T>(fact: Fact<T>, list = sh`ls | sed -n 's/\.xml$//p'`): T {
  const vsh = sh`cd ${folder}
mark=virtio9p-0123456789abcdef01234567
vsh() {
  case $1 in
    list) ${list}; return;;
    *';'*) printf '%s\n' "$1" | tr ';' '\n' | while read -r command; do [ -z "$command" ] || vsh $command || :; done; return;;
    echo) shift; printf %s "$*"; return;;
  esac
  for word in "$@"; do [ ! -e "$word.xml" ] || { cat "$word.xml"; return; }; done
  ${comment("defined anew as soon as it was asked for in vain")}
  [ ! -e away ] || mv away "$word.xml"
  echo 'error: failed to get domain' >&2; return 1
}
listed=0
listing=$(vsh list --all --uuid --name) || listed=$?`;
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

test("exports are told with where their source really leads, of the persistent definition and of the live one", () => {
  mkdirSync(join(folder, "it's <a> & b"));
  symlinkSync("it's <a> & b", join(folder, "link"));
  define("1", filesystem(`${folder}/link`, "one") + filesystem("/nowhere/ x", "two"));
  define("2", filesystem(`${folder}/it&apos;s &lt;a&gt; &amp; b`, "three"));
  define(
    "3",
    "",
    commandLine(
      "-fsdev",
      `local,id=f,path=${folder}/link,security_model=none`,
      "-device",
      "virtio-9p-pci,fsdev=f,mount_tag=four",
    ),
  );
  const found = looked(hostExports).map(({ domain, tag, source, realPath }) => [
    domain,
    tag,
    source,
    realPath,
  ]);
  const once = [
    ["web1", "one", `${folder}/link`, `${folder}/it's <a> & b`],
    ["web1", "two", "/nowhere/ x", "/nowhere/ x"],
    ["web2", "three", `${folder}/it's <a> & b`, `${folder}/it's <a> & b`],
    ["web3", "four", `${folder}/link`, `${folder}/it's <a> & b`],
  ];
  expect(found).toEqual([...once, ...once]);
});

test("near a directory is what it holds, what holds it, and it itself; not its neighbours", () => {
  const sources = ["/srv", "/srv/a", "/srv/a/b", "/srv/ab", "/srv/b", "/"];
  sources.forEach((source, index) => {
    define(String(index), filesystem(source, "t"));
  });
  define("6", "", commandLine("-virtfs", "local,path=/srv/a/,,x,mount_tag=t"));
  const found = looked(exportsNear("/srv/a"));
  const near = sources.filter((_, index) => found.includes(uuid(String(index))));
  expect(near).toEqual(["/srv", "/srv/a", "/srv/a/b", "/"]);
  expect(found).toContain("/srv/a/,x");
});

test("whether a domain runs changes nothing of what is near; what it may do with it does", () => {
  define("1", filesystem("/srv/a", "one"));
  const before = looked(exportsNear("/srv/a"));
  expect(looked(exportsNear("/srv/a"), sh`[ $# = 2 ] || ls | sed -n 's/\.xml$//p'`)).toBe(before);
  define("1", filesystem("/srv/a", "one").replace("<alias", "<readonly/><alias"));
  expect(looked(exportsNear("/srv/a"))).not.toBe(before);
});

describe("another domain that cannot be read is named, and the others are read", () => {
  const broken = (found: HostExports) => found.unreadable?.map(({ domain, uuid }) => [domain, uuid]);

  test.each([
    ["cut off in a filesystem", "    <filesystem type='mount'>\n      <source dir='/a'/>\n", ""],
    ["cut off behind one", filesystem("/a", "one"), ""],
    ["cut off without one", "", ""],
    ["no XML", "", "</domain><<<"],
  ])("%s", (_, devices, end) => {
    define("1", devices, "", end);
    define("2", filesystem("/b", "two"));
    const found = looked(hostExports, named);
    expect(new Set(found.map(({ tag }) => tag))).toEqual(new Set(["two"]));
    expect(broken(found)).toEqual([["a web1", uuid("1")]]);
    expect(found.unreadable?.[0]?.why).toMatch(/tag|name/);
  });

  test("libvirt gives nothing of it", () => {
    define("1", filesystem("/a", "one"));
    const found = looked(hostExports, sh`${named}; echo ${`${uuid("2")} web2`}`);
    expect(new Set(found.map(({ tag }) => tag))).toEqual(new Set(["one"]));
    expect(found.unreadable).toEqual([
      { domain: "web2", uuid: uuid("2"), why: "error: failed to get domain" },
    ]);
    expect(looked(exportsNear("/a"), sh`${named}; echo ${uuid("2")}`)).toBe(looked(exportsNear("/a")));
  });

  test("it calls itself by what is no UUID", () => {
    define("1", filesystem("/a", "one"));
    writeFileSync(join(folder, `${uuid("1")}.xml`), "error: nothing\n");
    expect(broken(looked(hostExports, named))).toEqual([["a web1", uuid("1")]]);
  });
});

test("a domain that went while it was asked is no error", () => {
  define("1", filesystem("/a", "one"));
  const list = sh`echo ${uuid("1")}; [ -e later ] || echo ${uuid("2")}; [ $# = 3 ] || : >later`;
  const found = looked(hostExports, list);
  expect(found.map(({ tag }) => tag)).toEqual(["one", "one"]);
  expect(found.unreadable).toBeUndefined();
});

test("a domain that is undefined and defined while it is asked is asked again", () => {
  define("1", filesystem("/a", "one"));
  define("2", filesystem("/b", "two"));
  renameSync(join(folder, `${uuid("2")}.xml`), join(folder, "away"));
  const list = sh`echo ${uuid("1")}; echo ${uuid("2")}`;
  const found = looked(hostExports, list);
  expect(found.unreadable).toBeUndefined();
  expect(new Set(found.map(({ tag }) => tag))).toEqual(new Set(["one", "two"]));
});

test.each([
  [
    "it is gone afterwards",
    sh`[ ! -e later ] || return 1; echo ${uuid("1")}; echo ${uuid("2")}; [ $# = 3 ] || : >later`,
  ],
  ["it cannot be asked at all", sh`return 1`],
])("a libvirt that stops answering is an error and not a short list: %s", (_, list) => {
  define("1", filesystem("/a", "one"));
  expect(() => looked(hostExports, list)).toThrow("libvirt stopped answering");
});

test.each([0, 1, 17, 300])("%i domains", (count) => {
  const path = join(folder, "all");
  const one = (index: number): string => {
    const id = uuid(String(index));
    return `<domain type='kvm'>\n  <name>web${index}</name>\n  <uuid>${id}</uuid>\n  <devices>\n${filesystem(`/srv/${index}`, "t")}  </devices>\n</domain>\n`;
  };
  for (let index = 0; index < count; index += 1)
    writeFileSync(join(folder, `${uuid(String(index))}.xml`), one(index));
  writeFileSync(
    path,
    Array.from({ length: count }, (_, index) => `${uuid(String(index))} web${index}\n`).join(""),
  );
  const found = looked(hostExports, sh`[ $# = 2 ] || cat ${path}`);
  expect(found.map(({ domain, realPath }) => [domain, realPath])).toEqual(
    Array.from({ length: count }, (_, index) => [`web${index}`, `/srv/${index}`]),
  );
});

test.each(["<cut off>", "-x", "a  b", "web1 (9p)", "12", "\u{1f4be}", "$(touch /x)", "a;b"])(
  "a domain called %j",
  (name) => {
    define("1", filesystem("/srv/a", "one"));
    const file = join(folder, `${uuid("1")}.xml`);
    writeFileSync(
      file,
      readFileSync(file, "utf8").replace("web1", () => escapeAttribute(name)),
    );
    define("2", "", "", "");
    const listed = sh`printf '%s\n' ${`${uuid("1")} ${name}`} ${`${uuid("2")} other ${name}`}`;
    const found = looked(hostExports, listed);
    expect(found.map(({ domain, source }) => [domain, source])).toEqual([
      [name, "/srv/a"],
      [name, "/srv/a"],
    ]);
    expect(found.unreadable?.map(({ domain }) => domain)).toEqual([`other ${name}`]);
  },
);

describe("what a domain's metadata says is nobody's export", () => {
  const pasted = `<domain type='kvm'><name>inner</name><uuid>${uuid("9")}</uuid>
  <devices>
    <filesystem type='mount'>
      <source dir='/pasted'/>
      <target dir='pasted'/>
    </filesystem>
  </devices>
</domain>`;

  test.each([
    ["elements", pasted],
    ["CDATA", `<note><![CDATA[${pasted}]]></note>`],
    ["a comment", `<note/><!-- ${pasted} -->`],
    ["an instruction", `<?note it's ${pasted.replaceAll("?", "")}?>`],
    ["text between elements", `<note>text\n  <name>inner</name>\n  <uuid>${uuid("9")}</uuid> more</note>`],
    [
      "a mark of another script",
      `<note>\nvirtio9p-ffffffffffffffffffffffff persistent ${uuid("9")} .\n</note>`,
    ],
    ["names that JavaScript has", "<constructor/><prototype/><__proto__ __proto__='x'/><toString/>"],
    ["names beyond the BMP", "<\u{10400} \u{20000}='x'/>"],
    ["a namespace", "<x:a xmlns:x='urn:x'><x:filesystem/></x:a>"],
    ...[0, 1, 17, 300, 5000].map((levels): [string, string] => [
      `${levels} levels`,
      `${"<a>".repeat(levels)}${"</a>".repeat(levels)}`,
    ]),
    ["a long value", `<a x='${"v".repeat(1 << 20)}'/>`],
  ])("%s", (_, metadata) => {
    define("1", filesystem("/srv/a", "one"), `  <metadata>\n    ${metadata}\n  </metadata>\n`);
    define("2", filesystem("/srv/b", "two"));
    const found = looked(hostExports);
    expect(found.unreadable).toBeUndefined();
    expect(found.map(({ domain, realPath }) => [domain, realPath])).toEqual([
      ["web1", "/srv/a"],
      ["web2", "/srv/b"],
      ["web1", "/srv/a"],
      ["web2", "/srv/b"],
    ]);
  });
});
