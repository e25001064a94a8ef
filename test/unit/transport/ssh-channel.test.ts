import { EventEmitter } from "node:events";
import { exec } from "../../../provider/transport/ssh-channel";
import type { Dialed } from "../../../provider/transport/ssh-dial";

test("a connection that was closed a moment ago leaves nothing behind", async () => {
  const client = Object.assign(new EventEmitter(), {
    exec: () => {
      throw new Error("Not connected");
    },
  });
  const begun = exec(
    { client } as unknown as Dialed,
    "sh -s",
    { idleMs: 60_000 },
    { layer: "host", machine: "m" },
  );
  await expect(begun).rejects.toThrow("Not connected");
  expect(client.listenerCount("close")).toBe(0);
});
