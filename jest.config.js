// Pure logic, the real provider process, and everything on the lab's real machines.
const project = (name, more = {}) => ({
  displayName: name,
  testMatch: [`<rootDir>/test/${name}/**/*.test.ts`],
  testEnvironment: "node",
  transform: { "^.+\\.ts$": ["ts-jest", { tsconfig: { noEmit: false } }] },
  modulePathIgnorePatterns: ["<rootDir>/dist"],
  ...more,
});
module.exports = {
  projects: [
    project("unit", { setupFilesAfterEnv: ["<rootDir>/test/unit/support/time-limit.ts"] }),
    project("host", { setupFilesAfterEnv: ["<rootDir>/test/unit/support/time-limit.ts"] }),
    project("e2e", { setupFilesAfterEnv: ["<rootDir>/test/e2e/support/time-limit.ts"] }),
    // Hosts and guests under SELinux and AppArmor: each a VM with guests emulated inside it, so minutes a test.
    project("confined", { setupFilesAfterEnv: ["<rootDir>/test/e2e/support/time-limit.ts"] }),
    // The same life of a share by the other way to the machines; every suite by VIRTIO9P_VIA.
    {
      ...project("e2e", { setupFilesAfterEnv: ["<rootDir>/test/e2e/support/time-limit.ts"] }),
      displayName: "over SSH",
      testMatch: ["<rootDir>/test/e2e/first-light.test.ts"],
      setupFiles: ["<rootDir>/test/e2e/support/via-both.ts"],
    },
  ],
};
