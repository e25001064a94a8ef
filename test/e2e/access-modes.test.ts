import { mkdirSync, rmSync } from "node:fs";
import { Guest } from "./support/lab";
import { output } from "./support/run";

/** What a guest may do in each access mode, and what is on the host: the tables of docs/access-modes.md. */
describe.each([
  { qemu: "64055", root: false },
  { qemu: "0", root: true },
])("a QEMU that runs as $qemu", ({ qemu, root }) => {
  const guest = new Guest(`modes-${qemu}`, "small");
  const base = `/srv/v9p-modes-${qemu}`;
  const modes = ["mapped", "passthrough", "squash"] as const;
  let inGuest: Record<string, string>;
  let onHost: Record<string, string>;

  /** Lines `KEY VALUE`, by key. */
  const table = (text: string): Record<string, string> =>
    Object.fromEntries(
      text
        .trimEnd()
        .split("\n")
        .map((line) => [line.slice(0, line.indexOf(" ")), line.slice(line.indexOf(" ") + 1)]),
    );

  beforeAll(async () => {
    rmSync(base, { recursive: true, force: true });
    await guest.define();
    if (root) {
      const seclabel =
        "<seclabel type='static' model='dac' relabel='no'><label>+0:+0</label></seclabel></domain>";
      const xml = (await guest.virsh("dumpxml", "--inactive")).replace("</domain>", seclabel);
      await output("sh", ["-c", "cat | virsh -q -c qemu:///system define /dev/stdin"], { input: xml });
    }
    for (const mode of modes) {
      mkdirSync(`${base}/${mode}`, { recursive: true });
      await output("sh", [
        "-ec",
        'cd "$1"; chown "$2:$2" .; touch of-host; chown 1234:1234 of-host; chmod 644 of-host',
        "sh",
        `${base}/${mode}`,
        qemu,
      ]);
      await guest.attach(
        `<filesystem type='mount' accessmode='${mode}'><source dir='${base}/${mode}'/><target dir='${mode}'/></filesystem>`,
        "--config",
      );
    }
    await guest.bootDefined();
    inGuest = table(
      await guest.sh(`echo 'u1000:x:1000:1000::/:/bin/sh' >> /etc/passwd
for mode in ${modes.join(" ")}; do
mkdir -p /mnt/$mode; mount -t 9p -o trans=virtio,version=9p2000.L $mode /mnt/$mode; cd /mnt/$mode; chmod 1777 .
can() { what=$1; shift; if "$@" >/dev/null 2>&1; then echo "$mode:$what yes"; else echo "$mode:$what no"; fi; }
can makes touch by-root
can user-makes su u1000 -c "touch /mnt/$mode/by-user"
can user-makes-directory su u1000 -c "mkdir /mnt/$mode/of-user"
can chowns sh -c "touch given; chown 1000:1000 given"
can user-chowns su u1000 -c "chown 1001 /mnt/$mode/by-user"
can chowns-of-host chown 7:7 of-host
can chmods-of-host chmod 600 of-host
can writes-of-host sh -c "echo x >> of-host"
can setuid sh -c "touch suid; chmod 4755 suid"
can user-writes su u1000 -c "echo x >> /mnt/$mode/by-root"
can link ln -s target link
can fifo mkfifo fifo
can device mknod device c 1 3
for one in *; do echo "$mode:seen:$one $(stat -c '%A %u' $one)"; done
cd /; umount /mnt/$mode; done`),
    );
    onHost = table(
      await output("sh", ["-c", 'cd "$1"; for one in */*; do stat -c "%n %A %u" "$one"; done', "sh", base]),
    );
  });
  afterAll(async () => {
    await guest.remove();
    rmSync(base, { recursive: true, force: true });
  });

  const able = ["makes", "user-makes", "user-makes-directory", "setuid", "link"];
  const others = ["chowns-of-host", "chmods-of-host", "writes-of-host"];
  const special = ["fifo", "device"];

  it.each<[(typeof modes)[number], string[]]>([
    ["mapped", [...able, "chowns", ...special, ...(root ? others : [])]],
    ["squash", [...able, ...(root ? ["chowns", ...others] : [])]],
    ["passthrough", root ? [...able, "chowns", ...others] : []],
  ])("%s: what the guest can do", (mode, expected) => {
    const could = Object.entries(inGuest)
      .filter(([key, value]) => key.startsWith(`${mode}:`) && value === "yes")
      .map(([key]) => key.slice(mode.length + 1));
    expect(could.sort()).toEqual([...expected].sort());
  });

  it("what it made is seen there and on the host as the docs say", () => {
    const own = root ? "0" : "64055";
    expect(inGuest).toMatchObject({
      "mapped:seen:by-root": "-rw-r--r-- 0",
      "mapped:seen:by-user": "-rw-r--r-- 1000",
      "mapped:seen:suid": "-rwsr-xr-x 0",
      "mapped:seen:link": "lrwxrwxrwx 0",
      "squash:seen:by-root": `-rw-r--r-- ${own}`,
      "squash:seen:by-user": `-rw-r--r-- ${root ? "1000" : own}`,
      "squash:seen:suid": `-rwsr-xr-x ${own}`,
    });
    expect(onHost).toMatchObject({
      "mapped/by-root": `-rw------- ${own}`,
      "mapped/by-user": `-rw------- ${own}`,
      "mapped/suid": `-rw------- ${own}`,
      "mapped/link": `-rw------- ${own}`,
      "squash/by-root": `-rw-r--r-- ${own}`,
      "squash/by-user": `-rw-r--r-- ${root ? "1000" : own}`,
      "squash/suid": `-rwsr-xr-x ${own}`,
      "squash/link": `lrwxrwxrwx ${own}`,
      ...(root ? { "passthrough/by-user": "-rw-r--r-- 1000", "passthrough/suid": "-rwsr-xr-x 0" } : {}),
    });
    if (!root) expect(Object.keys(onHost).filter((key) => key.startsWith("passthrough/"))).toHaveLength(1);
  });
});
