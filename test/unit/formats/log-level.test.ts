import { parseLogLevel } from "../../../provider/formats/log-level";

test.each([
  [undefined, false, false, undefined],
  ["", false, false, undefined],
  ["steps", true, false, undefined],
  ["scripts", true, true, undefined],
  [
    "stepps",
    false,
    false,
    'VIRTIO9P_LOG is "stepps", and must be one of steps, scripts: did you mean steps?',
  ],
  [
    "SCRIPTS",
    false,
    false,
    'VIRTIO9P_LOG is "SCRIPTS", and must be one of steps, scripts: did you mean scripts?',
  ],
  ["1", false, false, 'VIRTIO9P_LOG is "1", and must be one of steps, scripts'],
  ["\x1b[2J", false, false, 'VIRTIO9P_LOG is "\\u001b[2J", and must be one of steps, scripts'],
])("%j: steps %s, scripts %s, %j", (value, steps, scripts, problem) => {
  expect(parseLogLevel(value)).toEqual({ steps, scripts, problem });
});
