// Pure logic and single scripts; whole lives of a share in a real shell; the real provider process; everything on the
// lab's real machines; and hosts and guests under SELinux and AppArmor: each of those a VM with guests emulated inside
// it, so minutes a test.
const project = (name, kindOfLimit) => ({
  displayName: name,
  testMatch: [`<rootDir>/test/${name}/**/*.test.ts`],
  testEnvironment: "node",
  transform: { "^.+\\.ts$": ["ts-jest", { tsconfig: { noEmit: false } }] },
  modulePathIgnorePatterns: ["<rootDir>/dist"],
  setupFilesAfterEnv: [`<rootDir>/test/${kindOfLimit}/support/time-limit.ts`],
});
module.exports = {
  testSequencer: "<rootDir>/test/sequencer.js",
  projects: [
    project("unit", "unit"),
    project("sandbox", "unit"),
    project("host", "unit"),
    project("e2e", "e2e"),
    project("confined", "e2e"),
  ],
};
