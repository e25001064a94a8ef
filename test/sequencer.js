const { default: Sequencer } = require("@jest/test-sequencer");

/** Files that run between two that have a VM: two of these at once take each twice as long. */
const between = 10;

/** The files with a VM early, for each takes longest, and apart from each other; the rest by size, as jest has it. */
module.exports = class extends Sequencer {
  sort(tests) {
    const hasVm = ({ path }) => path.includes("/test/confined/");
    const sorted = super.sort(tests);
    const order = sorted.filter((test) => !hasVm(test));
    for (const [index, test] of sorted.filter(hasVm).entries()) order.splice(index * (between + 1), 0, test);
    return order;
  }
};
