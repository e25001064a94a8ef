import { driftedByHand, type Drifted } from "./support/drifts";
import { Guest } from "./support/lab";
import { output } from "./support/run";
import { snapshot } from "./support/snapshot";
import { Stack } from "./support/stack";

/** What a program may ignore, and what is then done by hand. */
const ignoredChanges = [
  { share: "share", ignored: "directory", host: "chown root /srv/v9p-drift; chmod 0750 /srv/v9p-drift" },
  {
    share: "readonly",
    ignored: "accessMode",
    host: "redeclare readonly s/mapped/passthrough/; virsh -q shutdown $domain; until_off",
  },
] as const;

/** What changes behind the program's back is named, stored as it is, and repaired, one layer at a time. */
describe("drift", () => {
  const guest = new Guest("drift", "small");
  const stack = new Stack();
  const sources = ["/srv/v9p-drift", "/srv/v9p-drift-ro"];
  const common = { domain: guest.domain, power: "restart" };
  const shares = {
    share: {
      ...common,
      source: "/srv/v9p-drift",
      directory: { mode: "0770" },
      guest: { mountPoint: "/mnt/share", owner: "nobody", group: "nogroup", mode: "0750" },
    },
    readonly: {
      ...common,
      source: "/srv/v9p-drift-ro",
      readOnly: true,
      guest: { mountPoint: "/mnt/readonly" },
    },
  };
  /** Names the options of one share; undefined: none. */
  const declare = (name?: keyof typeof shares, options?: object): void => {
    stack.declare({ ...shares, ...(name ? { [name]: { ...shares[name], __options: options } } : {}) });
  };
  const machine = () => snapshot(guest, sources);
  const make = async ({ host, guest: inGuest }: Pick<Drifted, "host" | "guest">): Promise<void> => {
    if (host !== undefined) await output("sh", ["-euc", `domain=${guest.domain}\n${deviceTools}${host}`]);
    if (inGuest !== undefined) await guest.sh(inGuest);
    if (host?.includes("shutdown") === true) await guest.settle();
  };
  let untouched: Readonly<Record<string, string>>;

  beforeAll(async () => {
    await Promise.all([stack.open(), guest.boot()]);
    await output("rm", ["-rf", ...sources]);
    untouched = await machine();
  });

  // Every row begins with both shares active, whatever became of the one before.
  beforeEach(async () => {
    declare();
    await stack.must("up");
  });

  afterAll(async () => {
    await guest.remove();
    stack.close();
    await output("rm", ["-rf", ...sources]);
  });

  /** `up` repairs; afterwards nothing is to be done, and machine and outputs are as they were. */
  const repairs = async (before: Readonly<Record<string, string>>, outputs: unknown[]): Promise<void> => {
    await stack.must("up");
    await stack.must("preview", ["--refresh", "--expect-no-changes"]);
    expect(await machine()).toEqual(before);
    expect([await stack.share("share"), await stack.share("readonly")]).toEqual(outputs);
  };

  it.each(driftedByHand)("$what: named, stored, repaired", async (row) => {
    const before = await machine();
    const outputs = [await stack.share("share"), await stack.share("readonly")];
    expect(outputs).toMatchObject([{ status: "active" }, { status: "active" }]);
    await make(row);
    const preview = await stack.pulumi("preview", ["--refresh", "--expect-no-changes"]);
    expect(preview.code).toBe(7);
    for (const says of row.says) expect(preview.stdout).toMatch(says);
    await stack.must("refresh");
    const [statusReason] = Object.keys(row.layers);
    expect(await stack.share(row.share ?? "share")).toMatchObject({
      status: "drifted",
      statusReason,
      layers: row.layers,
      ...row.stored,
    });
    await repairs(before, outputs);
  });

  it("of two layers at once: both are named, stored and repaired, and refresh alone tells by exit code 7", async () => {
    const before = await machine();
    const outputs = [await stack.share("share"), await stack.share("readonly")];
    await make({
      host: "chmod 0700 /srv/v9p-drift",
      guest: "sed -i s/nofail,// /etc/fstab && umount /mnt/readonly",
    });
    const told = await stack.pulumi("refresh", ["--preview-only", "--expect-no-changes"]);
    expect(told.code).toBe(7);
    expect(told.stdout).toMatch(/warning: share: directory\.mode is "0700" \(directory\)/);
    expect(told.stdout).toMatch(/warning: share: the guest's fstab has "share .*_netdev,nodev/);
    expect(told.stdout).toMatch(/warning: readonly: \/mnt\/readonly is not mounted in the guest/);
    await stack.must("refresh");
    expect(await stack.share("share")).toMatchObject({
      status: "drifted",
      statusReason: "directory",
      layers: { directory: "differs", fstab: "differs", mount: "ok" },
    });
    expect(await stack.share("readonly")).toMatchObject({
      status: "pendingRemount",
      statusReason: "notMounted",
      layers: { fstab: "differs", mount: "missing" },
    });
    await repairs(before, outputs);
  });

  it("that is undone by hand needs no up", async () => {
    const outputs = await stack.share("share");
    await make({ host: "chmod 0700 /srv/v9p-drift", guest: "umount /mnt/share" });
    await stack.must("refresh");
    await make({ host: "chmod 0770 /srv/v9p-drift", guest: "mount /mnt/share" });
    await stack.must("refresh");
    await stack.must("refresh", ["--expect-no-changes"]);
    await stack.must("up", ["--expect-no-changes"]);
    expect(await stack.share("share")).toEqual(outputs);
  });

  it("of a protected share is repaired, and destroy leaves everything", async () => {
    declare("share", { protect: true });
    await stack.must("up");
    const before = await machine();
    const outputs = [await stack.share("share"), await stack.share("readonly")];
    await make({ host: "chown root:root /srv/v9p-drift" });
    await stack.must("refresh");
    await repairs(before, outputs);
    const destroy = await stack.pulumi("destroy", ["--target", await stack.urn("share")]);
    expect(destroy.code).not.toBe(0);
    expect(await machine()).toEqual(before);
  });

  it.each(ignoredChanges)(
    "of an ignored argument ($ignored) is taken over, and left alone",
    async ({ share, ignored, host }) => {
      declare(share, { ignoreChanges: [ignored] });
      await stack.must("up");
      await make({ host });
      const drifted = await machine();
      await stack.must("refresh");
      await stack.must("up");
      expect(await machine()).toEqual(drifted);
      await stack.must("up", ["--expect-no-changes"]);
      await stack.must("preview", ["--refresh", "--expect-no-changes"]);
      expect(await stack.share(share)).toMatchObject({ status: "active" });
    },
  );

  it("leaves nothing behind that destroy would not give back", async () => {
    await stack.must("destroy");
    expect(await machine()).toEqual(untouched);
  });
});

/** `redeclare TAG SED` takes a device out of the definition and puts it back, edited; `undeclare TAG` takes it out. */
const deviceTools = `virsh() { command virsh -q -c qemu:///system "$@"; }
element() { virsh dumpxml --inactive "$domain" --xpath "//filesystem[target/@dir='$1']"; }
undeclare() { element "$1" | virsh detach-device "$domain" /dev/stdin --config; }
redeclare() {
  edited=$(element "$1" | sed "$2")
  undeclare "$1"
  printf '%s\\n' "$edited" | virsh attach-device "$domain" /dev/stdin --config
}
until_off() {
  for try in $(seq 600); do
    if [ "$(virsh domstate "$domain")" = 'shut off' ]; then return; fi
    sleep 0.1
  done
  false
}
`;
