// Lets node run a bench that is TypeScript and uses what helps the tests: node -r ./test/bench/with-typescript FILE.ts
const { readFileSync } = require("node:fs");
const { transpileModule, ModuleKind, ScriptTarget } = require("typescript");

const compilerOptions = { module: ModuleKind.CommonJS, target: ScriptTarget.ES2022 };
require.extensions[".ts"] = (module, file) => {
  module._compile(transpileModule(readFileSync(file, "utf8"), { compilerOptions }).outputText, file);
};
// What is asked for as by a test file is here for the whole run.
globalThis.beforeAll = globalThis.afterAll = () => undefined;
