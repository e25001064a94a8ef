// Pure logic, the real provider process, and everything on the lab's real machines.
const project = (name, more = {}) => ({
  displayName: name,
  testMatch: [`<rootDir>/test/${name}/**/*.test.ts`],
  testEnvironment: "node",
  transform: { "^.+\\.ts$": ["ts-jest", { tsconfig: { noEmit: false } }] },
  modulePathIgnorePatterns: ["<rootDir>/dist"],
  ...more,
});
const withLimit = (kind) => ({ setupFilesAfterEnv: [`<rootDir>/test/${kind}/support/time-limit.ts`] });
const lifeUnderSELinux = ["selinux", "selinux-guest"].map((name) => `test/confined/${name}.test.ts`);
module.exports = {
  testSequencer: "<rootDir>/test/sequencer.js",
  projects: [
    project("unit", withLimit("unit")),
    project("host", withLimit("unit")),
    project("e2e", withLimit("e2e")),
    // Hosts and guests under SELinux and AppArmor: each a VM with guests emulated inside it, so minutes a test.
    project("confined", { ...withLimit("e2e"), testPathIgnorePatterns: lifeUnderSELinux }),
    // Those of them that every run takes: a share's whole life there.
    {
      ...project("confined", withLimit("e2e")),
      displayName: "SELinux",
      testMatch: lifeUnderSELinux.map((file) => `<rootDir>/${file}`),
    },
    // The same life of a share by the other way to the machines; every suite by VIRTIO9P_VIA.
    {
      ...project("e2e", withLimit("e2e")),
      displayName: "over SSH",
      testMatch: ["<rootDir>/test/e2e/first-light.test.ts"],
      setupFiles: ["<rootDir>/test/e2e/support/via-both.ts"],
    },
  ],
};
