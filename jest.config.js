// Three projects: pure logic, the real provider process, and everything on the lab's real machines.
const common = {
  testEnvironment: "node",
  transform: { "^.+\\.ts$": ["ts-jest", { tsconfig: { noEmit: false } }] },
  modulePathIgnorePatterns: ["<rootDir>/dist"],
};
module.exports = {
  projects: ["unit", "host", "e2e"].map((name) => ({
    ...common,
    displayName: name,
    testMatch: [`<rootDir>/test/${name}/**/*.test.ts`],
  })),
};
