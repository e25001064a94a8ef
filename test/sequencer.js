const { default: Sequencer } = require("@jest/test-sequencer");

/** Files with a VM first and those with guests next, for they take longest: the rest runs beside them. */
const rank = ({ path }) => (path.includes("/test/confined/") ? 0 : path.includes("/test/e2e/") ? 1 : 2);

/** Within a kind of file the order is jest's. */
module.exports = class extends Sequencer {
  sort(tests) {
    return super.sort(tests).sort((a, b) => rank(a) - rank(b));
  }
};
