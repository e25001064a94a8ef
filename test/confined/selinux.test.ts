import { ConfinedHost } from "../e2e/support/confined-host";
import { Stack } from "../e2e/support/stack";

/**
 * The life of a share on a host with SELinux enforcing, whose QEMU is confined.
 *
 * Every commit is tested with it, so it boots one host, and in that one guest once, and nothing runs in the guest but
 * mount(8) and what is tried: emulated twice, a process takes half a second. Layers of the guest, the policy module of
 * new files and what takes more boots are in the other files.
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
      power: "start",
      timeouts: { bootMs: 900_000, commandMs: 300_000 },
      ...more,
    },
  });
  const labelled = (): Record<string, object> =>
    share({ directory: { recursive: true }, selinux: { newFiles: "ignore" } });
  const inGuest = (script: string): Promise<string> => host.guestSh("nested", script);

  /** What the layer may touch: the host's own rules in their order, every label of the tree, records and modules. */
  const touched = (): Promise<string> =>
    host.sh(`cat /etc/selinux/default/contexts/files/file_contexts.local
cmp /etc/selinux/default/contexts/files/file_contexts.local /var/lib/selinux/default/active/file_contexts.local
cd ${source} && find . -printf '%Z %p\\n' | sort; find /var/lib/virtio9p -type f 2>/dev/null | grep -v lock || :
ls /var/lib/selinux/default/active/modules/400`);
  let before = "";

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

  it("a tree that has other labels is refused, and so is what the guest could not use again", async () => {
    stack.declare(share());
    const refused = await stack.pulumi("up");
    expect(refused.stdout).toMatch(/: 5 of unconfined_u:object_r:etc_t:s0.* \[treeOfOthers\]/);
    expect(refused.stdout).toMatch(/\[newFilesUnusable\]/);
    expect(await touched()).toBe(before);
  });

  it("labelled, the guest reads and writes, and its QEMU is still confined", async () => {
    stack.declare(labelled());
    await stack.must("up");
    expect(await stack.share("shared")).toMatchObject({ layers: { selinux: "ok", device: "ok" } });
    await host.guestAnswers("nested");
    expect(
      await inGuest(`modprobe -a 9p 9pnet_virtio && mkdir /mnt/shared
mount -t 9p -o trans=virtio,version=9p2000.L shared /mnt/shared
cat /mnt/shared/deep/er/file && echo made > /mnt/shared/made`),
    ).toBe("secret\nstatus 0\n");
    expect(await host.sh(`stat -c %C ${source}/made; ps -eo label,args | grep [q]emu-system`)).toMatch(
      /^system_u:object_r:svirt_image_t:s0\S*\nsystem_u:system_r:svirt_t:s0:c\d+,c\d+ /,
    );
  });

  it("what has another label is refused to the guest", async () => {
    await host.sh(`chcon -t user_home_t ${source}/deep/er/file`);
    expect(await inGuest("cat /mnt/shared/deep/er/file")).toMatch(/Permission denied/);
    expect(await inGuest("rm /mnt/shared/made && umount /mnt/shared")).toBe("status 0\n");
  });

  it("destroy gives every label, rule and order back", async () => {
    await stack.must("destroy");
    expect(await touched()).toBe(before);
  });
});
