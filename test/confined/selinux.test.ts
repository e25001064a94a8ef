import { ConfinedHost } from "../e2e/support/confined-host";
import { testSome } from "../e2e/support/sample";
import { Stack } from "../e2e/support/stack";

/**
 * A share of a host with SELinux enforcing, whose QEMU is confined: what it may not do without us, and with us.
 *
 * One host for all, in the order in which a person would come through it.
 */
describe("a host with SELinux enforcing", () => {
  const host = new ConfinedHost("selinux", "selinux");
  const stack = new Stack();
  const source = "/srv/shared";
  const share = (more: object = {}): Record<string, object> => ({
    shared: {
      source,
      domain: "nested",
      host: { connection: host.connection },
      power: "restart",
      otherWriters: "allow",
      timeouts: { bootMs: 900_000, commandMs: 300_000 },
      guest: { mountPoint: "/mnt/shared" },
      ...more,
    },
  });
  const recursive = { directory: { recursive: true }, selinux: { newFiles: "inherit" } };

  /** What the layer may touch: the host's own rules in their order, and every label of the tree. */
  const touched = (): Promise<string> =>
    host.sh(`semanage export 2>/dev/null | grep -v '^boolean -D' | grep -E 'fcontext'
cd ${source} && find . -printf '%Z %p\\n' | sort; find /var/lib/virtio9p -type f 2>/dev/null | grep -v lock || :
ls /var/lib/selinux/default/active/modules/400`);
  const labelOf = async (path: string): Promise<string> => (await host.sh(`stat -c %C ${path}`)).trim();
  const inGuest = (script: string): Promise<string> => host.guestSh("nested", script);
  let before = "";

  const confined = /system_u:system_r:svirt_t:s0:c\d+,c\d+/;
  const qemu = (): Promise<string> => host.sh("ps -eo label,args | grep [q]emu-system");
  const rule = "'/srv/shared(/.*)?'";

  beforeAll(async () => {
    await Promise.all([stack.open(), host.boot()]);
    await host.defineGuest("nested");
    await host.sh(`set -e
mkdir -p ${source}/deep/er ${source}/web
echo secret > ${source}/deep/er/file
echo page > ${source}/web/page
ln ${source}/deep/er/file ${source}/hard
ln -s /etc/passwd ${source}/link
chcon -R -h -t etc_t ${source}
chcon -R -t httpd_sys_content_t ${source}/web
chcon -l s0:c5,c7 ${source}/web/page
chown -R libvirt-qemu:libvirt-qemu ${source}
semanage import <<'RULES'
fcontext -a -f a -s system_u -t httpd_sys_content_t -r s0 '/srv/shared/web/logs(/.*)?'
fcontext -a -f d -s system_u -t var_log_t -r s0 '/srv/other'
RULES`);
    before = await touched();
  });

  afterAll(async () => {
    await host.remove();
    stack.close();
  });

  testSome("selinux, without us", 1, {
    "what the guest could not use again is refused, and so is a tree that has other labels": async () => {
      stack.declare(share());
      const refused = await stack.pulumi("up");
      expect(refused.stdout).toMatch(/: 5 of unconfined_u:object_r:etc_t:s0 \[treeOfOthers\]/);
      expect(refused.stdout).toMatch(/\[newFilesUnusable\]/);
      expect(await touched()).toBe(before);
    },

    "without our label the confined QEMU is denied": async () => {
      stack.declare(
        share({ selinux: { manage: "never" }, guest: { mountPoint: "/mnt/shared", owner: 1000 } }),
      );
      const denied = await stack.pulumi("up");
      expect(denied.stdout).toMatch(
        /\[stepFailed\][^]*avc: +denied +\{ [a-z_ ]+ \}.*scontext=system_u:system_r:svirt_t:.*tcontext=\S*:etc_t:[^]*take selinux.manage: never out/,
      );
      expect(await qemu()).toMatch(confined);
      const mount = "mount -t 9p -o trans=virtio,version=9p2000.L shared /mnt/shared";
      expect(await inGuest(`${mount} && echo try > /mnt/shared/made`)).toMatch(/Permission denied/);
      await inGuest("umount /mnt/shared");
    },
  });

  it("with it the guest reads and writes, still confined, and at once", async () => {
    stack.declare(share(recursive));
    await stack.must("up");
    expect(await stack.share("shared")).toMatchObject({ status: "active", layers: { selinux: "ok" } });
    expect(await inGuest("cat /mnt/shared/deep/er/file")).toBe("secret\nstatus 0\n");
    expect(
      await inGuest("echo made > /mnt/shared/made && mkdir /mnt/shared/dir && echo x > /mnt/shared/dir/file"),
    ).toBe("status 0\n");
    expect(await qemu()).toMatch(confined);
    expect(await labelOf(`${source}/made`)).toBe("system_u:object_r:svirt_image_t:s0");
    await stack.must("preview", ["--refresh", "--expect-no-changes"]);
  });

  it("refresh sees what somebody changed, and up repairs it", async () => {
    await host.sh(`semanage fcontext -m -t var_t ${rule}
chcon -t user_home_t ${source}/deep/er/file`);
    const differs = (await stack.must("refresh")).stdout;
    expect(differs).toMatch(/the rule \/srv\/shared\(\/\.\*\)\? says var_t, wanted is svirt_image_t/);
    expect(differs).toMatch(/2 of \S*:user_home_t:s0/);
    await stack.must("up");
    expect(await labelOf(`${source}/deep/er/file`)).toMatch(/:svirt_image_t:s0$/);
    await host.sh(`semanage fcontext -d ${rule}`);
    expect((await stack.must("refresh")).stdout).toMatch(/no file-context rule says what \/srv\/shared is/);
    await stack.must("up");
    expect(await stack.share("shared")).toMatchObject({ layers: { selinux: "ok" } });
    expect(await host.sh(`matchpathcon -n ${source}/x ${source}/web/logs/x`)).toMatch(
      /:svirt_image_t:s0\n.*:httpd_sys_content_t:s0/,
    );
  });

  it("destroy gives every label, rule and order back", async () => {
    await host.shutDownGuest("nested");
    await host.sh(`rm -rf ${source}/made ${source}/dir`);
    stack.declare({});
    await stack.must("up");
    expect(await touched()).toBe(before);
  });
});
