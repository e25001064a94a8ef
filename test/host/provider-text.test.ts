import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { providerText } from "../../provider/pulumi/resource";
import { packedInstall } from "../packed-install";
import { checkout } from "./provider-process";

/** Every state that was ever written holds these bytes: a change here is a change of the state's format. */
const frozen =
  'exports.handler=()=>{const d=process.cwd(),n="pulumi-virtio9p";try{return require("node:module").createRequire(d+"/")(n+"/dynamic")}catch(e){if(e.code!="MODULE_NOT_FOUND")throw e;throw Object.assign(Error(e.message.split("\\n")[0]+": npm install "+n+" in "+d),{stack:""})}}';

let folder: string;
beforeAll(async () => {
  folder = await packedInstall();
}, 120_000);
afterAll(() => {
  rmSync(folder, { recursive: true });
});

test("the provider's text is the frozen one, and short", () => {
  expect(providerText).toBe(frozen);
  expect(Buffer.byteLength(providerText)).toBeLessThan(300);
});

/** What releases before it stored: such states are read and destroyed by this one. */
const earlier = `exports.handler=()=>require("node:module").createRequire(process.cwd()+"/")("pulumi-virtio9p/dynamic")`;

test("a text of an earlier release and the one of today find the same code", () => {
  const load = `for (const text of ${JSON.stringify([earlier, providerText])}) {
    const found = {}; new Function("exports", "require", text)(found, require);
    console.log(Object.keys(found.handler()).sort().join());
  }`;
  const printed = execFileSync(process.execPath, ["-e", load], { cwd: folder, encoding: "utf8" }).trim();
  expect(printed.split("\n")).toEqual(Array(2).fill("check,create,delete,diff,read,remove,update"));
});

test("where the package is not, or one that it needs, the text says so without a stack", () => {
  const empty = mkdtempSync(join(tmpdir(), "virtio9p-empty-"));
  const load = `const found = {}; new Function("exports", "require", ${JSON.stringify(providerText)})(found, require);
    try { found.handler(); } catch (error) { console.log(JSON.stringify([error.message, error.stack])); }`;
  const printed = execFileSync(process.execPath, ["-e", load], { cwd: empty, encoding: "utf8" });
  rmSync(empty, { recursive: true });
  expect(JSON.parse(printed)).toEqual([
    `Cannot find module 'pulumi-virtio9p/dynamic': npm install pulumi-virtio9p in ${empty}`,
    "",
  ]);
});

/** What a program registers, printed as JSON; plain Node, for Jest has a module registry of its own. */
const body = `
const registered = [];
pulumi.runtime.setMocks({
  newResource: (args) => { registered.push({ type: args.type, name: args.name, inputs: args.inputs }); return { id: "x", state: args.inputs }; },
  call: (args) => args.inputs,
});
const make = async () => {
  const share = new Virtio9pShare("foobar", {
    source: "/foo/bar",
    domain: "web1",
    host: { connection: { host: "kvm1", password: "geheim" } },
    guest: { mountPoint: "/mnt/foobar" },
  });
  const plain = new Virtio9pShare("tagged", { source: "/foo/bar", domain: "web1", tag: "other" });
  const secret = await pulumi.isSecret(pulumi.output(share["host"]).apply((host) => host.connection.password));
  const group = new pulumi.ComponentResource("my:group:Group", "group");
  const args = { source: "/foo/bar", domain: "web1" };
  const inner = new Virtio9pShare("inner", args, { parent: group });
  const sibling = new Virtio9pShare("sibling", args, { parent: group, dependsOn: [inner] });
  const urns = await new Promise((resolve) =>
    pulumi.all([inner.urn, sibling.urn, plain.urn, share.urn]).apply(resolve));
  console.log(JSON.stringify({ registered, secret, urns }));
};
void make();
`;
const programs = {
  "plain JavaScript": [
    "program.js",
    `const pulumi = require("@pulumi/pulumi");\nconst { Virtio9pShare } = require("pulumi-virtio9p");\n${body}`,
  ],
  TypeScript: [
    "program.ts",
    `import * as pulumi from "@pulumi/pulumi";\nimport { Virtio9pShare } from "pulumi-virtio9p";\n${body
      .replace("const registered = []", "const registered: unknown[] = []")
      .replaceAll("(args)", "(args: any)")
      .replace('share["host"]', '(share as any)["host"]')
      .replace("(host)", "(host: any)")}`,
  ],
} as const;

test.each(Object.entries(programs))(
  "a program in %s registers the same bytes, and a connection is a secret",
  (language, [file, text]) => {
    writeFileSync(join(folder, file), text);
    if (language === "TypeScript") {
      const tsc = join(checkout, "node_modules/typescript/bin/tsc");
      const options =
        "--strict --skipLibCheck --target es2022 --module node20 --moduleResolution node16 --types node --outDir out";
      execFileSync(process.execPath, [tsc, ...options.split(" "), "--rootDir", ".", file], { cwd: folder });
    }
    const script = language === "TypeScript" ? join(folder, "out/program.js") : join(folder, file);
    const output = execFileSync(process.execPath, [script], { cwd: folder, encoding: "utf8" });
    const { registered, secret, urns } = JSON.parse(output) as {
      registered: { type: string; name: string; inputs: Record<string, unknown> }[];
      secret: boolean;
      urns: string[];
    };
    expect(secret).toBe(true);
    registered.splice(0, Infinity, ...registered.filter(({ type }) => type.endsWith("Virtio9pShare")));
    registered.sort((a, b) => (a.name < b.name ? -1 : 1));
    expect(
      registered.map(({ type, name, inputs }) => [type, name, inputs["__provider"], inputs["tag"]]),
    ).toEqual([
      ["pulumi-nodejs:dynamic/virtio9p:Virtio9pShare", "foobar", frozen, "foobar"],
      ["pulumi-nodejs:dynamic/virtio9p:Virtio9pShare", "inner", frozen, "inner"],
      ["pulumi-nodejs:dynamic/virtio9p:Virtio9pShare", "sibling", frozen, "sibling"],
      ["pulumi-nodejs:dynamic/virtio9p:Virtio9pShare", "tagged", frozen, "other"],
    ]);
    // Each is told its own URN, in a component too.
    expect(new Set(registered.map(({ inputs }) => inputs["__logUrn"]))).toEqual(new Set(urns));
  },
  60_000,
);
