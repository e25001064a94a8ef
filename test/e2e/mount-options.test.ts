import { rmSync } from "node:fs";
import { Guest } from "./support/lab";
import { baseText, optionChanges } from "./support/option-changes";
import { Stack } from "./support/stack";

/** `guest.options` in place: what a change does to the line and to the mount, and how drift of them shows. */

/** A share in a guest of its own, and what a person would look at in that guest. */
class Bench {
  readonly guest: Guest;
  readonly stack = new Stack();
  readonly source: string;
  /** What a share may touch in the guest, before it did. */
  untouched = "";
  #holder = "";

  constructor(name: string, kind: "small" | "systemd") {
    this.guest = new Guest(name, kind);
    this.source = `/srv/v9p-${name}`;
  }

  async open(): Promise<void> {
    await Promise.all([this.stack.open(), this.guest.boot()]);
    this.untouched = await this.guest.touched();
    this.declare();
    await this.stack.must("up");
  }

  /** What a failed test has left is given back too: the records are the host's. */
  async close(): Promise<void> {
    await this.letGo();
    await this.stack.must("destroy");
    await this.guest.remove();
    this.stack.close();
    rmSync(this.source, { recursive: true, force: true });
  }

  declare(guest: Readonly<Record<string, unknown>> = {}, more: Readonly<Record<string, unknown>> = {}): void {
    const { source } = this;
    const args = { source, domain: this.guest.domain, power: "restart", ...more };
    this.stack.declare({ share: { ...args, guest: { mountPoint: "/mnt/share", ...guest } } });
  }

  async line(): Promise<string> {
    return (await this.guest.sh("awk '$2 == \"/mnt/share\" { print $4 }' /etc/fstab")).trim();
  }

  /** Options of the mount and of the file system, as mountinfo has them; none where nothing is mounted. */
  async mounted(type = "9p"): Promise<string[]> {
    const script = `awk '$5 == "/mnt/share" && / - ${type} / { print $6 "," $NF }' /proc/self/mountinfo`;
    const text = (await this.guest.sh(script)).trim();
    return text === "" ? [] : [...new Set(text.split(","))].sort();
  }

  /** Starts a process that works in the share, with a file open for writing where that is asked. */
  async hold(writing = false): Promise<void> {
    const open = writing ? "> held" : "> /dev/null";
    const script = `cd /mnt/share && { sleep 3000 < /dev/null ${open} 2> /dev/null & echo $!; }`;
    this.#holder = (await this.guest.sh(script)).trim();
  }

  /** Where it works: by a lazy unmount it would be cut off. */
  async heldAt(): Promise<string> {
    return (await this.guest.sh(`readlink /proc/${this.#holder}/cwd`)).trim();
  }

  async letGo(): Promise<void> {
    if (this.#holder === "") return;
    const script = `kill ${this.#holder}; while kill -0 ${this.#holder}; do sleep 0.1; done 2> /dev/null`;
    await this.guest.sh(script);
    this.#holder = "";
  }

  status(): Promise<Record<string, unknown>> {
    return this.stack.share("share");
  }
}

const asDeclared = { status: "active", statusReason: "asDeclared", layers: { fstab: "ok", mount: "ok" } };
const busy = {
  status: "pendingRemount",
  statusReason: "mountBusy",
  layers: { fstab: "ok", mount: "differs" },
};

describe("in a guest with busybox", () => {
  const bench = new Bench("options", "small");
  let base: string[];

  beforeAll(async () => {
    await bench.open();
    base = await bench.mounted();
  });

  afterAll(() => bench.close());

  /** Back to the options by default, for the next test, whatever this one has left. */
  afterEach(async () => {
    await bench.letGo();
    bench.declare();
    if ((await bench.line()) === baseText && String(await bench.mounted()) === String(base)) return;
    await bench.stack.must("up", ["--refresh"]);
  });

  it.each(optionChanges)("$options by $by, and back", async ({ options, text, shows, hides, by }) => {
    if (by !== "mount") await bench.hold();
    bench.declare({ options });
    await bench.stack.must("up");
    expect(await bench.line()).toBe(text);
    const expected = [...base.filter((option) => !hides.includes(option)), ...shows].sort();
    expect(await bench.mounted()).toEqual(expected);
    expect(await bench.status()).toMatchObject(asDeclared);
    bench.declare();
    await bench.stack.must("up");
    expect([await bench.line(), await bench.mounted()]).toEqual([baseText, base]);
    if (by !== "mount") expect(await bench.heldAt()).toBe("/mnt/share");
    if (by !== "mount") await bench.letGo();
  });

  it("in use: the line and the flags change, the rest waits for the next up after it is free", async () => {
    await bench.hold();
    bench.declare({ options: { msizeBytes: 8192, noexec: true } });
    const up = await bench.stack.must("up");
    expect(up.stdout + up.stderr).toMatch(
      /\/mnt\/share keeps msize=131072 until nobody uses it, wanted is msize=8192: in use by sleep \(\d+\)/,
    );
    expect(await bench.line()).toBe(baseText.replace("nodev,msize=131072", "nodev,noexec,msize=8192"));
    expect(await bench.mounted()).toEqual([...base, "noexec"].sort());
    expect(await bench.status()).toMatchObject(busy);
    await bench.stack.must("up", ["--expect-no-changes"]);
    await bench.stack.must("refresh", ["--expect-no-changes"]);
    expect(await bench.status()).toMatchObject({
      ...busy,
      inputs: { guest: { options: { msizeBytes: 131_072, noexec: true } } },
    });
    await bench.letGo();
    await bench.stack.must("up", ["--refresh"]);
    expect(await bench.mounted()).toEqual([...base, "noexec", "msize=8192"].sort());
    expect(await bench.status()).toMatchObject(asDeclared);
  });

  it("in use by another mount of it: waits too, and is not taken away by a destroy", async () => {
    await bench.guest.sh("mkdir -p /mnt/bound && mount --bind /mnt/share /mnt/bound");
    bench.declare({ options: { msizeBytes: 8192 } });
    const up = await bench.stack.must("up");
    expect(up.stdout + up.stderr).toMatch(
      /until nobody uses it, wanted is msize=8192: in use by \S+ \(\d+\), which has it at \/mnt\/bound/,
    );
    expect(await bench.mounted()).toEqual(base);
    expect(await bench.status()).toMatchObject(busy);
    const destroy = await bench.stack.pulumi("destroy");
    expect(destroy.code).not.toBe(0);
    expect(destroy.stdout).toMatch(/is in use in the guest by .* at \/mnt\/bound \[mountBusy\]/);
    expect(await bench.mounted()).toEqual(base);
    await bench.guest.sh("umount /mnt/bound && rmdir /mnt/bound");
    await bench.stack.must("up", ["--refresh"]);
    expect(await bench.mounted()).toEqual([...base, "msize=8192"].sort());
  });

  it("a mount point behind a link is refused by its real path, before anything was changed", async () => {
    await bench.guest.sh("mkdir /tmp/elsewhere && ln -s /tmp/elsewhere /mnt/link");
    bench.declare({ mountPoint: "/mnt/link/share" });
    const up = await bench.stack.pulumi("up");
    await bench.guest.sh("rmdir /tmp/elsewhere && rm /mnt/link");
    expect(up.code).not.toBe(0);
    expect(up.stdout).toMatch(
      /\/mnt\/link\/share leads through a link to \/tmp\/elsewhere\/share in the guest.*\[mountPointIsLink\]/,
    );
    expect([await bench.line(), await bench.mounted()]).toEqual([baseText, base]);
  });

  it("a line edited by hand shows by argument, and is repaired", async () => {
    await bench.guest.sh(
      "sed -i 's/nofail,nodev,msize=131072/nodev,nosuid,msize=65536,cache=loose,noatime,noatme/' /etc/fstab",
    );
    const refresh = await bench.stack.must("refresh");
    for (const said of [
      'has "share    /mnt/share    9p   trans=virtio,version=9p2000.L,_netdev,nodev,nosuid,msize=65536,cache=loose',
      "guest.options.nofail is false (fstab)",
      "guest.options.msizeBytes is 65536 (fstab)",
    ]) {
      expect(refresh.stdout + refresh.stderr).toContain(said);
    }
    const options = { nofail: false, nosuid: true, msizeBytes: 65_536, cache: "loose", extra: ["noatime"] };
    expect(await bench.status()).toMatchObject({
      status: "drifted",
      statusReason: "fstab",
      layers: { fstab: "differs", mount: "ok" },
      inputs: { guest: { options } },
    });
    await bench.stack.must("up");
    expect([await bench.line(), (await bench.status())["status"]]).toEqual([baseText, "active"]);
  });

  it("a mount changed by hand shows by argument, and is repaired while it is in use", async () => {
    await bench.hold(true);
    await bench.guest.sh("mount -o remount,bind,noexec share /mnt/share");
    await bench.stack.must("refresh");
    expect(await bench.status()).toMatchObject({
      status: "pendingRemount",
      statusReason: "mountDiffers",
      inputs: { guest: { options: { nodev: false, noexec: true } } },
    });
    await bench.stack.must("up");
    expect([await bench.mounted(), await bench.heldAt()]).toEqual([base, "/mnt/share"]);
    await bench.letGo();
  });

  it("a file system that was made read-only by hand is writable again, in use or not", async () => {
    await bench.hold();
    await bench.guest.sh("mount -o remount,ro,nodev,sync share /mnt/share");
    await bench.stack.must("up", ["--refresh"]);
    expect([await bench.mounted(), await bench.heldAt()]).toEqual([base, "/mnt/share"]);
    await bench.letGo();
  });

  it("ignoreChanges keeps what was edited by hand, but for what no argument takes", async () => {
    const edited = baseText.replace("nofail,", "").replace("msize=131072", "msize=65536");
    await bench.guest.sh(`sed -i 's/${baseText}/${edited},noatme/' /etc/fstab`);
    bench.declare({}, { __options: { ignoreChanges: ["guest.options"] } });
    await bench.stack.must("up", ["--refresh"]);
    expect(await bench.line()).toBe(edited);
    expect(await bench.mounted()).toEqual([...base, "msize=65536"].sort());
    await bench.stack.must("up", ["--refresh", "--expect-no-changes"]);
  });

  it("an option that the kernel refuses leaves line and mount as they were", async () => {
    // Linux 6.1 knows no cache=readahead.
    bench.declare({ options: { cache: "readahead" } });
    const up = await bench.stack.pulumi("up");
    expect(up.code).not.toBe(0);
    expect(up.stdout + up.stderr).toContain("mountFailed");
    expect([await bench.line(), await bench.mounted()]).toEqual([baseText, base]);
  });

  it("guest.mount boot leaves the mount alone, now brings it up to date", async () => {
    bench.declare({ mount: "boot", options: { msizeBytes: 8192 } });
    await bench.stack.must("up");
    expect([await bench.line(), await bench.mounted()]).toEqual([baseText.replace("131072", "8192"), base]);
    expect(await bench.status()).toMatchObject({ status: "active", layers: { mount: "unmanaged" } });
    bench.declare({ mount: "now", options: { msizeBytes: 8192 } });
    await bench.stack.must("up");
    expect(await bench.mounted()).toEqual([...base, "msize=8192"].sort());
  });
});

describe("in a guest with systemd", () => {
  const bench = new Bench("automount", "systemd");
  const automount = { options: { automount: true } };
  const unit = () => bench.guest.sh("systemctl is-active mnt-share.automount; :").then((text) => text.trim());
  /** Declares an automount, and uses it. */
  const automounted = async (): Promise<void> => {
    bench.declare({ ...automount });
    await bench.stack.must("up");
    await bench.guest.sh("ls /mnt/share");
  };
  let base: string[];

  beforeAll(async () => {
    await bench.open();
    base = await bench.mounted();
  });

  afterAll(() => bench.close());

  afterEach(async () => {
    await bench.letGo();
    bench.declare();
    await bench.stack.must("up", ["--refresh"]);
  });

  it("flags change while it is in use", async () => {
    await bench.hold(true);
    bench.declare({ options: { noexec: true, nosuid: true } });
    await bench.stack.must("up");
    expect(await bench.mounted()).toEqual([...base, "noexec", "nosuid"].sort());
    bench.declare();
    await bench.stack.must("up");
    expect([await bench.mounted(), await bench.heldAt()]).toEqual([base, "/mnt/share"]);
    await bench.letGo();
  });

  it("an automount waits for somebody to use it, once the mount is free", async () => {
    await bench.hold();
    bench.declare({ ...automount });
    await bench.stack.must("up");
    expect(await bench.status()).toMatchObject(busy);
    expect(await unit()).toBe("inactive");
    await bench.letGo();
    await bench.stack.must("up", ["--refresh"]);
    expect([await unit(), await bench.mounted()]).toEqual(["active", []]);
    expect(await bench.status()).toMatchObject(asDeclared);
    await bench.guest.sh("ls /mnt/share");
    expect(await bench.mounted()).toEqual(base);
    await bench.stack.must("up", ["--refresh", "--expect-no-changes"]);
  });

  it("with an owner of its root: it is the share's that is set, and one that waits is no drift", async () => {
    bench.declare({ ...automount, owner: 12, mode: "0751" });
    await bench.stack.must("up");
    await bench.guest.sh("ls /mnt/share && umount /mnt/share");
    expect([await unit(), await bench.mounted()]).toEqual(["active", []]);
    await bench.stack.must("up", ["--refresh", "--expect-no-changes"]);
    expect((await bench.guest.sh("stat -c '%u %a' /mnt/share/.")).trim()).toBe("12 751");
    await bench.stack.must("up", ["--refresh", "--expect-no-changes"]);
  });

  it("what it mounted is mounted anew with other options", async () => {
    await automounted();
    bench.declare({ options: { automount: true, msizeBytes: 8192 } });
    await bench.stack.must("up");
    await bench.guest.sh("ls /mnt/share");
    expect([await unit(), await bench.mounted()]).toEqual(["active", [...base, "msize=8192"].sort()]);
  });

  it("switched off, it is stopped when the mount is free, and never takes the mount from who uses it", async () => {
    await automounted();
    await bench.hold();
    bench.declare();
    await bench.stack.must("up");
    expect(await bench.status()).toMatchObject(busy);
    expect([await unit(), await bench.heldAt()]).toEqual(["active", "/mnt/share"]);
    await bench.letGo();
    await bench.stack.must("up", ["--refresh"]);
    expect([await unit(), await bench.mounted("autofs"), await bench.mounted()]).toEqual([
      "inactive",
      [],
      base,
    ]);
    expect(await bench.status()).toMatchObject(asDeclared);
  });

  it("a destroy takes an automount with it", async () => {
    await automounted();
    await bench.stack.must("destroy");
    expect(await bench.guest.touched()).toBe(bench.untouched);
    expect(await bench.mounted("autofs")).toEqual([]);
  });
});
