import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { CountedShell } from "./support/counted-shell";
import { Guest } from "./support/lab";
import { Stack } from "./support/stack";
import { guestBySsh, guestName, hostName } from "./support/via";

/** A line of the engine's event log, as far as it is looked at. */
interface Event {
  readonly diagnosticEvent?: {
    readonly urn?: string;
    readonly message: string;
    readonly severity: string;
    readonly ephemeral?: boolean;
  };
}

/** What a person sees of a share while it is worked on, by the real engine. */
describe("progress", () => {
  const guest = new Guest("progress", "small");
  const stack = new Stack();
  const shell = new CountedShell();
  const source = "/srv/v9p-progress";
  const off = "share: v9p-progress is off";
  const declare = (more: object = {}, others: Record<string, object> = {}): void => {
    const share = { source, domain: guest.domain, guest: { mountPoint: "/mnt/share" }, ...more };
    stack.declare({ share, ...others });
  };
  /** What the engine was told of the share in one operation. */
  const told = async (command: string): Promise<Event["diagnosticEvent"][]> => {
    const log = join(stack.folder, "events");
    rmSync(log, { force: true });
    await stack.must(command, ["--event-log", log], { env: { PULUMI_DEBUG_COMMANDS: "true" } });
    const events = readFileSync(log, "utf8").split("\n").slice(0, -1);
    const urn = await stack.urn("share");
    return events
      .map((line) => (JSON.parse(line) as Event).diagnosticEvent)
      .filter((event) => event !== undefined && event.severity !== "debug")
      .map((event) => (event?.urn === urn ? { ...event, urn: "the share's" } : event));
  };
  /** A `sh` for the provider's scripts alone that finds no libvirt. */
  const withoutLibvirt = (): string => {
    const folder = join(stack.folder, "without-libvirt");
    mkdirSync(folder, { recursive: true });
    const text = `#!/bin/sh
if [ "$*" != -s ]; then exec /bin/sh "$@"; fi
# Over SSH the input is left open: an exit ends the script.
sed -u -e 's|qemu:///system|qemu+unix:///system?socket=/nowhere|g' -e '/^exit$/q' | /bin/sh -s
`;
    writeFileSync(join(folder, "sh"), text, { mode: 0o755 });
    return folder;
  };
  /** An operation that fails: its diagnostics. */
  const failing = async (command: string, path?: string): Promise<string> => {
    const ended = await stack.pulumi(command, [], path === undefined ? {} : { path });
    expect(ended.code).not.toBe(0);
    const [, diagnostics = ""] = (ended.stdout + ended.stderr).split("Diagnostics:");
    expect(diagnostics).not.toMatch(/^\s*at .*[:(]|\.(js|ts):\d+/m);
    return diagnostics;
  };
  const once = (text: string, part: string): void => {
    expect([part, text.split(part).length - 1]).toEqual([part, 1]);
  };

  beforeAll(async () => {
    await stack.open();
    await guest.define();
  });

  afterAll(async () => {
    await guest.remove();
    stack.close();
    shell.remove();
    rmSync(source, { recursive: true, force: true });
  });

  it("on a terminal, each step stands in the share's own row", async () => {
    declare();
    const screen = await stack.terminal("up");
    expect(screen).toMatch(
      /Virtio9pShare +share +creating \(\d+s\)[ .]* +declare share \(\/srv\/v9p-progress, mapped\)/,
    );
    expect(screen).toMatch(/Virtio9pShare +share +created \([\d.]+s\) +1 warning/);
  });

  it("steps are the share's and pass, warnings are the share's and stay", async () => {
    declare({ readOnly: true });
    const events = await told("up");
    const steps = events.filter((event) => event?.ephemeral === true);
    expect(steps.map((event) => event?.message)).toContain(
      "declare share (/srv/v9p-progress, mapped, read-only) in the domain\n",
    );
    expect([...new Set(steps.map((event) => `${event?.severity} ${event?.urn}`))]).toEqual([
      "info the share's",
    ]);
    const staying = events.filter((event) => event?.ephemeral !== true);
    expect([...new Set(staying.map((event) => `${event?.severity} ${event?.urn}`))]).toEqual([
      "warning the share's",
    ]);
    // The first warning is of this libvirt and this QEMU.
    expect(staying.map((event) => event?.message)).toEqual([
      expect.stringContaining("complains of what this libvirt writes for a read-only share"),
      `${off}\n`,
    ]);
    const [refreshed] = await told("refresh");
    expect(refreshed).toMatchObject({ urn: "the share's", severity: "warning", message: `${off}\n` });
  });

  it("a state that was made without the URN has nothing to do", async () => {
    const file = join(stack.folder, "state.json");
    await stack.must("stack", ["export", "--file", file]);
    const text = readFileSync(file, "utf8");
    const older = text.replace(/"__logUrn": "[^"]*",?/g, "");
    expect(older.length).toBeLessThan(text.length - 100);
    writeFileSync(file, older);
    await stack.must("stack", ["import", "--file", file]);
    await stack.must("preview", ["--expect-no-changes"]);
    // Without the URN the warning is a line, and says whose it is.
    const refresh = await stack.must("refresh", ["--expect-no-changes"]);
    expect(refresh.stdout).toContain("share: warning: v9p-progress is off");
    await stack.must("up", ["--expect-no-changes"]);
    await stack.must("preview", ["--refresh", "--expect-no-changes"]);
    declare();
    await stack.must("up");
    expect(await stack.share("share")).toMatchObject({ __logUrn: await stack.urn("share") });
  });

  it("a failed create, read and delete say it once, without a stack", async () => {
    const other = { source: "/srv/v9p-progress-other", domain: "v9p-nowhere" };
    declare({}, { other });
    once(await failing("up"), "[unknownDomain]");
    declare();
    const folder = withoutLibvirt();
    const refresh = await failing("refresh", folder);
    once(refresh, "[libvirtUnreachable]");
    expect(refresh).not.toContain("state delete");
    const destroy = await failing("destroy", folder);
    once(destroy, "[libvirtUnreachable]");
    once(
      destroy,
      `to give it up without touching the host: pulumi state delete '${await stack.urn("share")}'`,
    );
  });

  it("VIRTIO9P_LOG=scripts prints every remote command, and how each of its parts ended", async () => {
    declare({ power: "start" });
    shell.reset();
    const { stdout } = await stack.must("up", [], { path: shell.folder, env: { VIRTIO9P_LOG: "scripts" } });
    const [, printed = ""] = stdout.split("Diagnostics:");
    const begun = [...printed.matchAll(/^ *share: script (\d+) on (.*):$/gm)];
    // What goes to a guest over SSH passes no shell of this machine.
    const counted = begun.filter(([, , machine]) => !guestBySsh || machine === hostName());
    expect(counted).toHaveLength(shell.count());
    expect(new Set(begun.map((match) => match[2]))).toEqual(new Set([hostName(), guestName(guest.domain)]));
    for (const [, number = "", machine = ""] of begun) {
      once(printed, `share: script ${number} on ${machine}: status 0 after `);
    }
    expect(printed).toMatch(
      /share: +status 0 after \d+\.\d{3} s: declare share|share: +status 0 after .* start the domain/,
    );
    // The agent tells of a script when it has ended, so its parts have no seconds.
    const mounted = guestBySsh ? /share: +status 0 after \d+\.\d{3} s: mount/ : /share: +status 0: mount/;
    expect(printed).toMatch(mounted);
    expect(printed).not.toContain("input-data");
  });

  it("an update that fails after its first change says it once, without a stack", async () => {
    await guest.sh(
      "rm -f /sbin/shutdown; printf '#!/bin/sh\\nexit 0\\n' > /sbin/shutdown; chmod +x /sbin/shutdown",
    );
    declare({ power: "restart", readOnly: true, timeouts: { shutdownMs: 3000 } });
    once(await failing("up"), "[shutdownTimedOut]");
    declare({ power: "force", timeouts: { shutdownMs: 3000 } });
    await stack.must("up");
    await stack.must("destroy");
  });
});
