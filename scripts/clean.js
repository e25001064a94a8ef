// Empties dist/, so that a file that was renamed does not stay behind in the package.
require("node:fs").rmSync(`${__dirname}/../dist`, { recursive: true, force: true });
