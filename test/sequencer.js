const { default: Sequencer } = require("@jest/test-sequencer");

/** The longest first, so that the rest runs beside them: files with a VM, then those with guests. */
const longest = ["/test/confined/", "/test/e2e/"];

/** By how long a kind of file takes; within a kind as jest has it. */
module.exports = class extends Sequencer {
  sort(tests) {
    const rank = ({ path }) => longest.findIndex((folder) => path.includes(folder)) >>> 0;
    return super.sort(tests).sort((a, b) => rank(a) - rank(b));
  }
};
