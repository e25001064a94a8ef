// Fails where the docs lack what the code has, or have what the code has not: layers and their states, arguments with
// their values and defaults, outputs, statuses, reasons and error codes. `check-docs.js DIR` reads the docs of DIR.
const { readFileSync } = require("node:fs");
const { join } = require("node:path");
const ts = require("typescript");

const root = join(__dirname, "..");

// The sources as they are, not a build that may be older.
require.extensions[".ts"] = (module, file) => {
  const compilerOptions = {
    module: ts.ModuleKind.CommonJS,
    target: ts.ScriptTarget.ES2022,
    esModuleInterop: true,
  };
  module._compile(ts.transpileModule(readFileSync(file, "utf8"), { compilerOptions }).outputText, file);
};
const { layerNames, layerStates } = require("../provider/engine/layer.ts");
const { errorCodes } = require("../provider/errors.ts");
const { statuses, statusReasons } = require("../provider/share/status.ts");
const schema = require("../provider/spec/schema.ts");
const { ownOutputs } = require("../provider/pulumi/state.ts");

/** A schema without what makes it optional, and its default. */
function unwrapped(entry) {
  return entry.type === "optional" ? { inner: entry.wrapped, default: entry.default } : { inner: entry };
}

/** All arguments below a schema of an object, by dotted path; connections are the same everywhere, and described once. */
function argumentsOf(object, prefix = "") {
  return Object.entries(object.entries).flatMap(([name, entry]) => {
    const { inner, default: value } = unwrapped(entry);
    const own = {
      path: prefix + name,
      values: inner.type === "picklist" ? inner.options : undefined,
      default: value,
    };
    return name === "connection" || name === "proxy" || inner.type !== "strict_object"
      ? [own]
      : [own, ...argumentsOf(inner, `${prefix + name}.`)];
  });
}
const connection = unwrapped(unwrapped(schema.share.entries.host).inner.entries.connection).inner;
const known = [...argumentsOf(schema.share), ...argumentsOf(connection, "connection.")];

/** What stands between backticks. Sample: "`owner`, `group`" is owner and group. */
function quoted(cell) {
  return [...cell.matchAll(/`([^`]+)`/g)].map(([, name]) => name);
}

/** The rows of all tables whose first column has this title, each with the heading above it. */
function rowsOf(text, title) {
  const rows = [];
  let heading = "";
  let titleHere;
  for (const line of text.split("\n")) {
    if (line.startsWith("#")) heading = line.replace(/^#+ /, "");
    const cells = line.startsWith("|")
      ? line
          .split(/(?<!\\)\|/)
          .slice(1, -1)
          .map((cell) => cell.trim())
      : undefined;
    if (cells && titleHere === title) rows.push({ heading, cells });
    titleHere = cells && (titleHere ?? cells[0].replaceAll("`", ""));
  }
  return rows;
}

/** The path before the names of a section's table: "`guest.options`" is guest.options, "Connections" connection, "Share" none. */
function prefixOf(heading) {
  const [section] = quoted(heading);
  return section !== undefined ? `${section}.` : heading === "Connections" ? "connection." : "";
}

function check(directory) {
  const faults = [];
  const read = (file) => readFileSync(join(directory, file), "utf8");
  const compare = (what, file, documented, inCode) => {
    for (const name of inCode)
      if (!documented.includes(name)) faults.push(`${file} lacks the ${what} ${name}`);
    for (const name of documented)
      if (!inCode.includes(name)) faults.push(`${file} has the ${what} ${name}, the code has not`);
  };
  const names = (file, title) => rowsOf(read(file), title).flatMap(({ cells }) => quoted(cells[0]));
  for (const file of ["README.md", "docs/outputs.md"]) {
    compare("layer", file, names(file, "layer"), layerNames);
    compare("status", file, names(file, "status"), statuses);
  }
  compare("layer state", "docs/outputs.md", names("docs/outputs.md", "state"), layerStates);
  compare("statusReason", "docs/outputs.md", names("docs/outputs.md", "statusReason"), statusReasons);
  compare("output", "docs/outputs.md", names("docs/outputs.md", "output"), ownOutputs);
  compare("error code", "docs/errors.md", names("docs/errors.md", "code"), errorCodes);

  const file = "docs/arguments.md";
  const text = read(file);
  const rows = rowsOf(text, "argument").flatMap(({ heading, cells: [argument, values, ...rest] }) =>
    quoted(argument).map((name) => ({ path: prefixOf(heading) + name, values, default: rest[0] ?? "" })),
  );
  // A group of arguments has a section of its own.
  const sections = [...text.matchAll(/^## `(.+)`$/gm)].map(([, section]) => section);
  compare(
    "argument",
    file,
    [
      ...rows.map(({ path }) => path),
      ...sections.filter((section) => !rows.some(({ path }) => path === section)),
    ],
    known.map(({ path }) => path),
  );
  for (const row of rows) {
    const argument = known.find(({ path }) => path === row.path);
    if (argument?.values !== undefined)
      compare(`value of ${row.path}`, file, quoted(row.values), argument.values);
    const scalar = ["string", "number", "boolean"].includes(typeof argument?.default);
    if (scalar && row.default.replaceAll("`", "") !== String(argument.default)) {
      faults.push(
        `${file} says that the default of ${row.path} is ${row.default || "none"}, in the code it is ${argument.default}`,
      );
    }
  }
  return faults;
}

const faults = check(process.argv[2] ?? root);
for (const fault of faults) console.error(fault);
process.exitCode = faults.length > 0 ? 1 : 0;
