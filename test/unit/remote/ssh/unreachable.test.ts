import { createServer } from "node:net";
import { once } from "node:events";
import { ShareError } from "../../../../provider/errors";
import { SshConnection } from "../../../../provider/remote/ssh/connection";

/** A port of this machine on which nobody listens. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  return typeof address === "object" && address ? address.port : 0;
}

test.each<[string, (name: string) => string, (name: string) => string]>([
  ["the machine itself is not named twice", (name) => name, (name) => `host on ${name}: it does not answer `],
  ["one on the way is named", () => "root@kvm1", (name) => `host on root@kvm1: ${name} does not answer `],
])("%s", async (_, machineOf, says) => {
  const port = await freePort();
  const name = `deploy@127.0.0.1:${port}`;
  const where = { layer: "host", machine: machineOf(name) } as const;
  const connection = {
    host: "127.0.0.1",
    port,
    user: "deploy",
    password: "word",
    perDialTimeout: 5,
    dialErrorLimit: 0,
  };
  const made = new SshConnection("key", connection, false, undefined, where);
  const error: unknown = await made.run("sh -s", ":", { idleMs: 5000 }, where).catch((one: unknown) => one);
  expect(error).toBeInstanceOf(ShareError);
  expect((error as ShareError).message).toContain(says(name));
});
