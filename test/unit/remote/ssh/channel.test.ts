import { PassThrough } from "node:stream";
import { Client } from "ssh2";
import { exec } from "../../../../provider/remote/ssh/channel";
import { Dialed } from "../../../../provider/remote/ssh/dial";

test("a client that is not connected any more leaves nothing behind", async () => {
  const client = new Client();
  const dialed = new Dialed(client, new PassThrough());
  const before = client.listenerCount("close");
  const where = { layer: "host", machine: "m" } as const;
  await expect(exec(dialed, "sh -s", { idleMs: 60_000 }, where)).rejects.toThrow("Not connected");
  expect(client.listenerCount("close")).toBe(before);
});
