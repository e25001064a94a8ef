import { parseDomainExports } from "../../../provider/formats/domain-exports";

const domain = (name: string, devices: string): string => `<domain>
  <name>${name}</name>
  <uuid>1bc66943-7fd0-4114-bc1e-3f6e6a962a47</uuid>
${devices}</domain>
`;
const filesystem = (inside: string, attributes = ""): string => `    <filesystem type='mount'${attributes}>
${inside}
    </filesystem>
`;
const of = (more: object) => ({
  domain: "web1",
  uuid: "1bc66943-7fd0-4114-bc1e-3f6e6a962a47",
  driver: "9p",
  source: "/a",
  tag: "t",
  readOnly: false,
  accessMode: "passthrough",
  live: false,
  ...more,
});

test.each<[string, string, object[]]>([
  ["none", domain("web1", ""), []],
  ["9p", domain("web1", filesystem("<source dir='/a'/><target dir='t'/>")), [of({})]],
  [
    "mapped",
    domain("web1", filesystem("<source dir='/a'/><target dir='t'/>", " accessmode='mapped'")),
    [of({ accessMode: "mapped" })],
  ],
  [
    "read-only, with a driver said",
    domain("web1", filesystem("<driver type='path'/><source dir='/a'/><target dir='t'/><readonly/>")),
    [of({ readOnly: true })],
  ],
  [
    "virtiofs, a name with references",
    domain("a&amp;b", filesystem("<driver type='virtiofs'/><source dir='/a &lt;b&gt;'/><target dir='t'/>")),
    [of({ domain: "a&b", driver: "virtiofs", source: "/a <b>" })],
  ],
  [
    "of a running domain",
    domain("web1", filesystem("<source dir='/a'/><target dir='t'/>")).replace(
      "<domain>",
      '<domain id="live">',
    ),
    [of({ live: true })],
  ],
  ["no domain", "", []],
  [
    "what has no directory",
    domain("web1", filesystem("<driver type='virtiofs'/><source socket='/s'/><target dir='t'/>")),
    [],
  ],
])("%s", (_, text, expected) => {
  expect(parseDomainExports(text)).toEqual(expected);
});

test("what is cut off is an error and not a short list", () => {
  expect(() => parseDomainExports(domain("web1", "    <filesystem type='mount'>\n"))).toThrow();
});
