// Some tests run several real shells; a machine that is busy with guests must not fail them.
jest.setTimeout(180_000);
