import { ConfinedHost } from "../e2e/support/confined-host";
import { Stack } from "../e2e/support/stack";

/** A host with SELinux enforcing: what a confined QEMU may not do without us, and what somebody changes of ours. */
describe("labels and rules of a host with SELinux enforcing", () => {
  const host = new ConfinedHost("selinux-drift", "selinux");
  const stack = new Stack();
  const source = "/srv/shared";
  const rule = "'/srv/shared(/.*)?'";
  const declare = (more: object): void => {
    stack.declare({
      shared: {
        source,
        domain: "nested",
        host: { connection: host.connection },
        power: "start",
        timeouts: { bootMs: 900_000, commandMs: 300_000 },
        guest: { mountPoint: "/mnt/shared" },
        ...more,
      },
    });
  };
  const labels = (): Promise<string> => host.sh(`cd ${source} && find . -printf '%Z %p\\n' | sort`);
  const inGuest = (script: string): Promise<string> => host.guestSh("nested", script);
  let before = "";

  beforeAll(async () => {
    await Promise.all([stack.open(), host.boot()]);
    await host.defineGuest("nested");
    await host.sh(`set -e
mkdir -p ${source}/web/logs
echo secret > ${source}/file
chcon -R -t etc_t ${source}
chcon -t httpd_sys_content_t ${source}/web/logs
chown -R libvirt-qemu:libvirt-qemu ${source}
semanage fcontext -a -t httpd_sys_content_t '/srv/shared/web/logs(/.*)?'`);
    before = await labels();
  });

  afterAll(async () => {
    await host.remove();
    stack.close();
  });

  it("without our label the confined QEMU is denied, and the error shows the denial", async () => {
    declare({ selinux: { manage: "never" }, guest: { mountPoint: "/mnt/shared", owner: 1000 } });
    const denied = await stack.pulumi("up");
    expect(denied.stdout).toMatch(
      /\[stepFailed\][^]*avc: +denied +\{ [a-z_ ]+ \}.*scontext=system_u:system_r:svirt_t:.*tcontext=\S*:etc_t:[^]*take selinux.manage: never out/,
    );
    const mount = "mount -t 9p -o trans=virtio,version=9p2000.L shared /mnt/shared";
    expect(await inGuest(`${mount} && echo try > /mnt/shared/made`)).toMatch(/Permission denied/);
    await inGuest("umount /mnt/shared");
  });

  it("with it the guest reads at once", async () => {
    declare({ directory: { recursive: true }, selinux: { newFiles: "inherit" } });
    await stack.must("up");
    expect(await inGuest("cat /mnt/shared/file")).toBe("secret\nstatus 0\n");
  });

  it("a label that somebody changed is refused to the guest, named, and repaired", async () => {
    await host.sh(`chcon -t user_home_t ${source}/file`);
    expect(await inGuest("cat /mnt/shared/file")).toMatch(/Permission denied/);
    expect((await stack.must("up", ["--refresh"])).stdout).toMatch(/1 of \S*:user_home_t:s0/);
    expect(await inGuest("cat /mnt/shared/file")).toBe("secret\nstatus 0\n");
  });

  it("refresh sees a rule that was changed or taken out, and up repairs it", async () => {
    await host.sh(`semanage fcontext -m -t var_t ${rule}`);
    expect((await stack.must("refresh")).stdout).toMatch(
      /the rule \/srv\/shared\(\/\.\*\)\? says var_t, wanted is svirt_image_t/,
    );
    await stack.must("up");
    await host.sh(`semanage fcontext -d ${rule}`);
    expect((await stack.must("refresh")).stdout).toMatch(/no file-context rule says what \/srv\/shared is/);
    await stack.must("up");
    expect(await stack.share("shared")).toMatchObject({ layers: { selinux: "ok" } });
    expect(await host.sh(`matchpathcon -n ${source}/x ${source}/web/logs/x`)).toMatch(
      /:svirt_image_t:s0\n.*:httpd_sys_content_t:s0/,
    );
  });

  it("a guest that was shut down: destroy gives the labels back", async () => {
    await host.shutDownGuest("nested");
    await stack.must("destroy");
    expect(await labels()).toBe(before);
  });
});
