import { execFileSync, spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ShareError } from "../../provider/errors";
import { portableKey } from "../../provider/formats/private-key";
import { sshTransport } from "../../provider/remote/ssh/ssh";
import type { Connection } from "../../provider/remote/ssh/connection";
import { sshConnection } from "../../provider/remote/ssh/pool";
import { runnerFor } from "../../provider/remote/sudo";
import { maxOutputBytes, type Transport } from "../../provider/remote/transport";
import { whatScriptsPrint } from "../support/what-scripts-print";
import { Relay } from "./support/relay";
import { freePort, hostKeyKinds, makeKey, SshServer, Users } from "./support/ssh-server";

/** The SSH transport against OpenSSH's own server: what it takes, what it refuses, what it says. */

const [admin, asked, plain, secret] = ["v9p-admin", "v9p-asked", "v9p-plain", "v9p-secret"];
const password = 'p"a$s`s w\\örd';
const users = new Users();
const server = new SshServer();
let folder: string;
let key: { privateKey: string; publicKey: string };
let stranger: { privateKey: string; publicKey: string };

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "virtio9p-keys-"));
  key = await makeKey(folder, "own", ["-t", "ed25519"]);
  stranger = await makeKey(folder, "stranger", ["-t", "ed25519"]);
  await users.add(admin, { sudo: "free" });
  await users.add(asked, { sudo: "asks", password });
  await users.add(plain);
  await users.add(secret, { password });
  await server.start(["KbdInteractiveAuthentication no", "MaxAuthTries 20"]);
  for (const user of [admin, asked, plain, "root"]) server.authorize(user, key.publicKey);
});
afterAll(async () => {
  await server.close();
  await users.close();
  rmSync(folder, { recursive: true });
});

let count = 0;
/** A connection of its own for each test: what is shared in a process is shared by equal ways. */
function transportTo(
  connection: Connection,
  escalate: "auto" | "none" = "none",
  verifyHostKey = true,
): Transport {
  const where = { layer: "host", machine: `${connection.user}@host${count++}` } as const;
  const made = sshConnection({ connection, verifyHostKey, where });
  return sshTransport(made, runnerFor(escalate, connection.user === "root"), connection.user, where);
}

const withKey = (more: Partial<Connection> = {}, user = admin): Connection =>
  server.connection(user, { privateKey: key.privateKey, ...more });

async function whoAmI(connection: Connection, escalate: "auto" | "none" = "none"): Promise<string> {
  const { stdout } = await transportTo(connection, escalate).run("id -un", { idleMs: 10_000 });
  return stdout.toString().trim();
}

let agents = 0;
/** An agent that has one of the keys of the folder. */
async function startAgent(name: string): Promise<{ socket: string; stop: () => void }> {
  const socket = join(folder, `agent${agents++}`);
  const agent = spawn("ssh-agent", ["-D", "-a", socket], { stdio: "ignore" });
  for (let left = 100; left > 0 && !existsSync(socket); left--)
    await new Promise((resolve) => setTimeout(resolve, 50));
  execFileSync("ssh-add", ["-q", join(folder, name)], { env: { ...process.env, SSH_AUTH_SOCK: socket } });
  return { socket, stop: () => void agent.kill() };
}

function refusal(work: Promise<unknown>): Promise<ShareError> {
  return work.then(
    (value) => {
      throw new Error(`it was let in: ${JSON.stringify(value)}`);
    },
    (error: unknown) => error as ShareError,
  );
}

let admins: Transport;
beforeAll(() => {
  admins = transportTo(withKey());
});
whatScriptsPrint(() => admins);

describe("limits", () => {
  const run = async (script: string, idleMs = 10_000) => {
    const { status, stdout, stderr } = await admins.run(script, { idleMs });
    return { status, stdout: stdout.toString(), stderr: stderr.toString() };
  };

  test("silent for too long: ended, and what it started too", async () => {
    const mark = `/tmp/virtio9p-survived-${process.pid}`;
    const error = await refusal(run(`sleep 3; : > ${mark}`, 500));
    expect(error).toMatchObject({ code: "commandTimedOut" });
    await new Promise((resolve) => setTimeout(resolve, 4000));
    expect((await run(`[ ! -e ${mark} ] || { rm ${mark}; echo survived; }`)).stdout).toBe("");
  });

  test("too much: ended", async () => {
    const error = await refusal(run(`head -c ${maxOutputBytes + 1} /dev/zero; sleep 60`));
    expect(error).toMatchObject({ code: "outputTooLarge" });
  });

  test("ended by a signal", async () => {
    expect((await refusal(run("kill -KILL $$"))).message).toContain("a script was ended by SIGKILL");
  });
});

describe("authentication", () => {
  const kinds: [string, string[]][] = [
    ["ed25519", ["-t", "ed25519"]],
    ["ecdsa of 256 bits", ["-t", "ecdsa", "-b", "256"]],
    ["ecdsa of 384 bits", ["-t", "ecdsa", "-b", "384"]],
    ["ecdsa of 521 bits", ["-t", "ecdsa", "-b", "521"]],
    ["rsa", ["-t", "rsa", "-b", "3072"]],
    ["rsa in PEM", ["-t", "rsa", "-b", "2048", "-m", "PEM"]],
    ["ecdsa in PEM", ["-t", "ecdsa", "-m", "PEM"]],
    ["rsa in PKCS #8", ["-t", "rsa", "-b", "2048", "-m", "PKCS8"]],
    ["ecdsa in PKCS #8", ["-t", "ecdsa", "-m", "PKCS8"]],
  ];
  test.each(
    kinds.flatMap(([name, options]) => ["", "key password"].map((word) => ({ name, options, word }))),
  )("a key: $name, its password $word", async ({ name, options, word }) => {
    const made = await makeKey(folder, `${name}-${word}`, options, word);
    server.authorize(plain, made.publicKey);
    const own = { privateKey: made.privateKey, ...(word === "" ? {} : { privateKeyPassword: word }) };
    expect(await whoAmI(server.connection(plain, own))).toBe(plain);
    // As a configuration brings it along: other line ends, none at the end.
    const text = made.privateKey.trim().replaceAll("\n", "\r\n");
    expect(await whoAmI(server.connection(plain, { ...own, privateKey: text }))).toBe(plain);
  });

  test("an ed25519 key in PKCS #8, as a program's TLS provider makes it", async () => {
    const pem = join(folder, "pkcs8");
    execFileSync("openssl", ["genpkey", "-algorithm", "ed25519", "-out", pem]);
    const privateKey = execFileSync("cat", [pem], { encoding: "utf8" });
    const file = join(folder, "portable");
    writeFileSync(file, portableKey(privateKey, undefined), { mode: 0o600 });
    server.authorize(plain, execFileSync("ssh-keygen", ["-y", "-f", file], { encoding: "utf8" }).trim());
    expect(await whoAmI(server.connection(plain, { privateKey }))).toBe(plain);
  });

  test("an agent, by the connection", async () => {
    const agent = await startAgent("own");
    try {
      expect(await whoAmI(server.connection(admin, { agentSocketPath: agent.socket }))).toBe(admin);
      const wrong = { privateKey: stranger.privateKey, agentSocketPath: agent.socket };
      expect(await whoAmI(server.connection(admin, wrong))).toBe(admin);
    } finally {
      agent.stop();
    }
  });

  test("a password", async () => {
    expect(await whoAmI(server.connection(secret, { password }))).toBe(secret);
  });

  test("a password that is asked for by prompts alone", async () => {
    const other = new SshServer();
    await other.start(["UsePAM yes", "PasswordAuthentication no", "KbdInteractiveAuthentication yes"]);
    try {
      expect(await whoAmI(other.connection(secret, { password }))).toBe(secret);
      const error = await refusal(whoAmI(other.connection(secret, { password: "wrong" })));
      expect(error.message).toMatch(
        /tried: the password, the password by prompts\n.*it takes .*keyboard-interactive/,
      );
    } finally {
      await other.close();
    }
  });

  test.each(["publickey,password", "password,publickey"])(
    "all of %s, as the machine wants them",
    async (methods) => {
      const other = new SshServer();
      await other.start([`AuthenticationMethods ${methods}`]);
      const agent = await startAgent("own");
      try {
        other.authorize(secret, key.publicKey);
        expect(await whoAmI(other.connection(secret, { password, privateKey: key.privateKey }))).toBe(secret);
        expect(await whoAmI(other.connection(secret, { password, agentSocketPath: agent.socket }))).toBe(
          secret,
        );
        const wrong = { password, privateKey: stranger.privateKey, agentSocketPath: agent.socket };
        expect(await whoAmI(other.connection(secret, wrong))).toBe(secret);
        const one = await refusal(whoAmI(other.connection(secret, { privateKey: key.privateKey })));
        expect([one.code, one.message.includes("it takes password")]).toEqual(["authenticationFailed", true]);
      } finally {
        agent.stop();
        await other.close();
      }
    },
  );

  test("an agent that never answers is passed over", async () => {
    const socket = join(folder, "silent-agent");
    const silent = createServer();
    await new Promise<void>((resolve) => silent.listen(socket, resolve));
    try {
      expect(await whoAmI(server.connection(secret, { password, agentSocketPath: socket }))).toBe(secret);
      const error = await refusal(whoAmI(server.connection(secret, { agentSocketPath: socket })));
      expect(error.message).toContain("the agent did not answer within 5 s");
    } finally {
      silent.close();
    }
  });

  test("more than a machine lets one try: its own word, and nothing is tried again", async () => {
    const strict = new SshServer();
    await strict.start(["MaxAuthTries 1"]);
    try {
      const own = { privateKey: stranger.privateKey, password: "wrong", dialErrorLimit: 5 };
      const error = await refusal(whoAmI(strict.connection(secret, own)));
      expect([error.code, error.message.includes("Too many authentication failures")]).toEqual([
        "authenticationFailed",
        true,
      ]);
      expect(strict.log.match(/^Connection from/gm)).toHaveLength(1);
    } finally {
      await strict.close();
    }
  });

  test("a password that has expired", async () => {
    const late = "v9p-late";
    await users.add(late, { password });
    execFileSync("chage", ["-d", "0", late]);
    const other = new SshServer();
    await other.start(["UsePAM yes", "KbdInteractiveAuthentication no"]);
    try {
      const error = await refusal(
        transportTo(other.connection(late, { password }))
          .run("id -un", { idleMs: 10_000 })
          .then(({ status, stderr }) => {
            if (status !== 0) throw new Error(`${status} ${stderr.toString()}`);
          }),
      );
      expect(error.message).toMatch(/expired/);
    } finally {
      await other.close();
    }
  });

  test.each<[string, () => Partial<Connection>, string]>([
    ["another key", () => ({ privateKey: stranger.privateKey }), `${admin} is not let in`],
    ["another password", () => ({ password: "wrong" }), `${admin} is not let in`],
    ["nothing", () => ({}), `there is nothing to log in with as ${admin}`],
    ["no key at all", () => ({ privateKey: "no key" }), "privateKey cannot be used"],
    [
      "the public key",
      () => ({ privateKey: stranger.publicKey }),
      "privateKey cannot be used: it is a public key",
    ],
    ["an agent that is not there", () => ({ agentSocketPath: "/nowhere/agent" }), `${admin} is not let in`],
  ])("%s is refused, and nothing secret is said", async (_, own, what) => {
    const error = await refusal(whoAmI(server.connection(admin, own())));
    expect([error.code, error.message.includes(what)]).toEqual(["authenticationFailed", true]);
    for (const word of ["wrong", "BEGIN", stranger.privateKey.split("\n")[1] ?? "-"])
      expect(error.message).not.toContain(word);
  });

  test.each([
    ["openssh", ["-t", "ed25519"]],
    ["PEM", ["-t", "rsa", "-m", "PEM"]],
    ["PKCS8", ["-t", "rsa", "-m", "PKCS8"]],
  ])("an encrypted key (%s) without its password, and with another", async (name, options) => {
    const made = await makeKey(folder, `locked-${name}`, options, "right");
    for (const privateKeyPassword of [undefined, "other"]) {
      const own = { privateKey: made.privateKey, privateKeyPassword };
      const error = await refusal(whoAmI(server.connection(plain, own)));
      expect(error.message).toMatch(/privateKey cannot be used: .*\[authenticationFailed\]/);
    }
  });
});

describe("the machine's own key", () => {
  const attempts = (): number => server.log.match(/userauth-request for user/g)?.length ?? 0;

  test.each(hostKeyKinds)("the right %s key lets us on", async (kind) => {
    expect(await whoAmI(withKey({ hostKey: server.hostKey(kind) }))).toBe(admin);
  });

  test("another one: nobody tries to log in", async () => {
    const before = attempts();
    const error = await refusal(whoAmI(withKey({ hostKey: stranger.publicKey, password })));
    expect(error.code).toBe("hostKeyMismatch");
    expect(error.message).toContain(`hostKey is "${server.hostKey().split(" ").slice(0, 2).join(" ")}"`);
    expect(attempts()).toBe(before);
  });

  test("unknown: the error has the fingerprint and the value, and nobody tries to log in", async () => {
    const before = attempts();
    const error = await refusal(whoAmI(withKey({ hostKey: undefined })));
    const shown = execFileSync("ssh-keygen", ["-lf", join(server.folder, "host_ed25519.pub")], {
      encoding: "utf8",
    }).split(" ")[1];
    expect(error.code).toBe("hostKeyUnknown");
    expect(error.message).toContain(shown);
    expect(error.message).toContain(`set hostKey to "${server.hostKey().split(" ").slice(0, 2).join(" ")}"`);
    expect(attempts()).toBe(before);
  });

  test("switched off: any will do where none is given", async () => {
    const transport = transportTo(withKey({ hostKey: undefined }), "none", false);
    expect((await transport.run("id -un", { idleMs: 5000 })).stdout.toString()).toBe(`${admin}\n`);
    const given = transportTo(withKey({ hostKey: stranger.publicKey }), "none", false);
    expect((await refusal(given.run("id -un", { idleMs: 5000 }))).code).toBe("hostKeyMismatch");
  });
});

describe("who runs it", () => {
  test("root by sudo, where no password is asked", async () => {
    expect(await whoAmI(withKey(), "auto")).toBe("root");
  });

  test.each([asked, plain])("%s: the error has the sudoers line", async (user) => {
    server.authorize(plain, key.publicKey);
    const error = await refusal(whoAmI(withKey({}, user), "auto"));
    expect(error.code).toBe("sudoNeedsPassword");
    expect(error.message).toContain(`add the line "${user} ALL=(root) NOPASSWD: ALL"`);
  });

  test("an answer that comes at once, with its status, is none that was lost", async () => {
    server.authorize(plain, key.publicKey);
    // Between two looks at what came, the machine has said all that it will.
    const busy = setInterval(() => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 300), 0);
    const error = await refusal(whoAmI(withKey({}, plain), "auto")).finally(() => {
      clearInterval(busy);
    });
    expect(error.code).toBe("sudoNeedsPassword");
  });

  test("a banner, a noisy profile and another shell", async () => {
    const noisy = new SshServer();
    const banner = join(folder, "banner");
    writeFileSync(banner, "Authorised users only.\n");
    await noisy.start([`Banner ${banner}`]);
    try {
      noisy.authorize(admin, key.publicKey);
      writeFileSync(`/home/${admin}/.bashrc`, "echo hello from the profile; echo and errors >&2\n");
      const transport = transportTo(noisy.connection(admin, { privateKey: key.privateKey }), "auto");
      const { stdout } = await transport.run("echo; id -un", { idleMs: 5000 });
      expect(stdout.toString()).toBe("hello from the profile\n\nroot\n");
    } finally {
      rmSync(`/home/${admin}/.bashrc`, { force: true });
      await noisy.close();
    }
  });
});

describe("one connection", () => {
  test("twenty scripts at once, one login, no more than sshd's ten sessions", async () => {
    const before = server.logins;
    const transport = transportTo(withKey());
    const all = Array.from({ length: 20 }, (_, index) =>
      transport.run(`sleep 0.3; echo ${index}`, { idleMs: 9000 }),
    );
    const said = (await Promise.all(all)).map(({ stdout }) => Number(stdout.toString()));
    expect([said, server.logins - before]).toEqual([Array.from({ length: 20 }, (_, index) => index), 1]);
  });

  test("a server that lets three sessions in", async () => {
    const narrow = new SshServer();
    await narrow.start(["MaxSessions 3"]);
    try {
      narrow.authorize(admin, key.publicKey);
      const transport = transportTo(narrow.connection(admin, { privateKey: key.privateKey }));
      const all = Array.from({ length: 10 }, (_, index) =>
        transport.run(`sleep 0.3; echo ${index}`, { idleMs: 9000 }),
      );
      expect((await Promise.all(all)).map(({ status }) => status)).toEqual(Array(10).fill(0));
      expect(narrow.logins).toBe(1);
    } finally {
      await narrow.close();
    }
  });

  test("dropped between two scripts, it is made once more", async () => {
    await Relay.during(server.port, async (relay) => {
      const transport = transportTo(withKey({ port: relay.port }));
      await transport.run(":", { idleMs: 5000 });
      relay.cut();
      await new Promise((resolve) => setTimeout(resolve, 300));
      expect((await transport.run("echo again", { idleMs: 5000 })).stdout.toString()).toBe("again\n");
      expect(relay.accepted).toBe(2);
    });
  });

  test("dropped while several scripts begin, it is made once more for all", async () => {
    await Relay.during(server.port, async (relay) => {
      const transport = transportTo(withKey({ port: relay.port }));
      await transport.run(":", { idleMs: 5000 });
      relay.silence();
      const all = Array.from({ length: 5 }, (_, index) => transport.run(`echo ${index}`, { idleMs: 9000 }));
      setTimeout(() => {
        relay.silence(false);
        relay.cut();
      }, 300);
      const said = (await Promise.all(all)).map(({ stdout }) => stdout.toString().trim());
      expect([said, relay.accepted]).toEqual([["0", "1", "2", "3", "4"], 2]);
    });
  });

  test("a machine that begins no script in time: an error, and then another connection", async () => {
    await Relay.during(server.port, async (relay) => {
      const transport = transportTo(withKey({ port: relay.port }));
      await transport.run(":", { idleMs: 5000 });
      relay.silence();
      expect((await refusal(transport.run(":", { idleMs: 500 }))).code).toBe("commandTimedOut");
      relay.silence(false);
      expect((await transport.run("echo again", { idleMs: 5000 })).stdout.toString()).toBe("again\n");
    });
  });

  test("a machine that boots: one wait for all, whatever was said before, and no longer than it may be", async () => {
    const late = new SshServer();
    await late.start();
    late.authorize(admin, key.publicKey);
    await late.stop();
    const where = { layer: "guest", machine: "guest late" } as const;
    const connection = late.connection(admin, { privateKey: key.privateKey, perDialTimeout: 0 });
    const made = sshConnection({ connection, verifyHostKey: true, where });
    const transport = sshTransport(made, runnerFor("none", false), admin, where);
    try {
      expect((await refusal(transport.run(":", { idleMs: 5000 }))).code).toBe("guestUnreachable");
      const began = Date.now();
      expect((await refusal(made.ready(1500))).message).toContain("does not answer");
      expect(Date.now() - began).toBeLessThan(4000);
      const ready = [made.ready(20_000), made.ready(20_000)];
      // Another share comes meanwhile: what was said of the machine before it had booted is no answer.
      await new Promise((resolve) => setTimeout(resolve, 1500));
      const other = transport.run("id -un", { idleMs: 5000 });
      await late.resume();
      await Promise.all(ready);
      expect((await other).stdout.toString()).toBe(`${admin}\n`);
      expect(late.logins).toBe(1);
    } finally {
      await late.close();
    }
  });

  test("a machine that takes calls and never says a word does not hold up who waits for it", async () => {
    const mute = createServer();
    await new Promise<void>((resolve) => mute.listen(0, "127.0.0.1", resolve));
    const { port } = mute.address() as { port: number };
    const where = { layer: "guest", machine: "guest mute" } as const;
    const connection = withKey({ port, perDialTimeout: 0 });
    try {
      const began = Date.now();
      const made = sshConnection({ connection, verifyHostKey: true, where });
      expect((await refusal(made.ready(2000))).message).toContain("no answer within");
      expect(Date.now() - began).toBeLessThan(5000);
    } finally {
      mute.close();
    }
  });

  test("dropped in the middle of a script, the error says what may have been done", async () => {
    await Relay.during(server.port, async (relay) => {
      const transport = transportTo(withKey({ port: relay.port }));
      const running = refusal(
        transport.run("echo begun >&2; sleep 20", {
          idleMs: 30_000,
          onProgress: () => {
            relay.cut();
          },
        }),
      );
      const error = await running;
      expect(error.code).toBe("connectionLost");
      expect(error.message).toContain("it may have been carried out in part");
      expect((await transport.run("echo again", { idleMs: 5000 })).stdout.toString()).toBe("again\n");
    });
  });

  test("a machine that does not listen: all fail at once, with one error, after as many attempts as are allowed", async () => {
    const transport = transportTo(withKey({ port: await freePort(), dialErrorLimit: 1 }));
    const errors = await Promise.all(
      Array.from({ length: 5 }, () => refusal(transport.run(":", { idleMs: 5000 }))),
    );
    expect(errors.map(({ code }) => code)).toEqual(Array(5).fill("hostUnreachable"));
    expect(errors[0]?.message).toContain("does not answer (tried 2 times)");
    const began = Date.now();
    await refusal(transport.run(":", { idleMs: 5000 }));
    expect(Date.now() - began).toBeLessThan(100);
  });

  test.each<[string, (server: Server) => void, string]>([
    ["never answers", () => undefined, "no answer within 1 s"],
    ["closes at once", (one) => one.on("connection", (socket) => socket.destroy()), ""],
    [
      "is no SSH server",
      (one) => one.on("connection", (socket) => socket.end("HTTP/1.1 400 Bad\r\n\r\n")),
      "",
    ],
  ])("a machine that %s", async (_, behave, said) => {
    const strange = createServer();
    behave(strange);
    await new Promise<void>((resolve) => strange.listen(0, "127.0.0.1", resolve));
    const { port } = strange.address() as { port: number };
    try {
      const error = await refusal(whoAmI(withKey({ port, perDialTimeout: 1 })));
      expect([error.code, error.message.includes(said)]).toEqual(["hostUnreachable", true]);
    } finally {
      strange.close();
    }
  });

  test("a name that is none", async () => {
    const error = await refusal(whoAmI(withKey({ host: "no-such-host.invalid" })));
    expect([error.code, error.message.includes("no-such-host.invalid")]).toEqual(["hostUnreachable", true]);
  });
});

describe("through another machine", () => {
  const bastion = new SshServer();
  let gate: { privateKey: string; publicKey: string };
  beforeAll(async () => {
    gate = await makeKey(folder, "gate", ["-t", "ecdsa"]);
    await bastion.start(["PermitOpen any"]);
    bastion.authorize(plain, gate.publicKey);
  });
  afterAll(() => bastion.close());

  const proxied = (more: object = {}): Connection =>
    withKey({ proxy: { ...bastion.connection(plain, { privateKey: gate.privateKey }), ...more } });

  test("with keys of its own", async () => {
    const before = bastion.logins;
    expect(await whoAmI(proxied())).toBe(admin);
    expect(bastion.logins - before).toBe(1);
  });

  test("that has gone silent: the next attempt goes by a new connection to it", async () => {
    await Relay.during(bastion.port, async (relay) => {
      const gateway = { ...bastion.connection(plain, { privateKey: gate.privateKey }), port: relay.port };
      expect(await whoAmI(withKey({ proxy: gateway }))).toBe(admin);
      relay.silence();
      setTimeout(() => {
        relay.silence(false);
      }, 500);
      const again = withKey({ proxy: gateway, perDialTimeout: 2, dialErrorLimit: 1 });
      expect([await whoAmI(again), relay.accepted]).toEqual([admin, 2]);
    });
  });

  test("its key is looked at too", async () => {
    const error = await refusal(whoAmI(proxied({ hostKey: stranger.publicKey })));
    expect([error.code, error.message.includes(plain)]).toEqual(["hostKeyMismatch", true]);
  });

  test("the machine behind it is looked at as ever", async () => {
    const error = await refusal(whoAmI({ ...proxied(), hostKey: stranger.publicKey }));
    expect([error.code, error.message.includes(admin)]).toEqual(["hostKeyMismatch", true]);
  });

  test("what it does not reach", async () => {
    const error = await refusal(whoAmI({ ...proxied(), port: await freePort() }));
    expect(error.code).toBe("hostUnreachable");
    expect(error.message).toContain("does not reach 127.0.0.1 port");
  });
});

test("a script is three round trips, and the connection is made once", async () => {
  const oneWayMs = 50;
  await Relay.during(
    server.port,
    async (relay) => {
      const transport = transportTo(withKey({ port: relay.port }));
      await transport.run(":", { idleMs: 5000 });
      const [before, scripts] = [relay.trips, 5];
      for (let index = 0; index < scripts; index++) await transport.run(":", { idleMs: 5000 });
      const trips = (relay.trips - before) / scripts;
      process.stderr.write(`ssh-transport: ${trips} round trips a script\n`);
      expect(trips).toBeLessThanOrEqual(3);
      expect(relay.accepted).toBe(1);
    },
    oneWayMs,
  );
});
