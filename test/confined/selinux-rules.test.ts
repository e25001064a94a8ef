import { ConfinedHost } from "../e2e/support/confined-host";
import { Stack } from "../e2e/support/stack";

/** Rules and labels of many shares of a host with SELinux, whose domain stays off. */
describe("file-context rules", () => {
  const host = new ConfinedHost("rules", "selinux");
  const [stack, other] = [new Stack(), new Stack()];
  const names = ["a b", "a.b", "a[b]", "a+b", "it's", '"q"', "ä", "(x){y}", "a$b^c", "-d?*|"] as const;
  const share = (path: string, tag: string, more: object = {}): object => ({
    source: path,
    domain: "odd",
    tag,
    host: { connection: host.connection },
    selinux: { newFiles: "ignore" },
    timeouts: { commandMs: 300_000 },
    ...more,
  });
  const many = (): Record<string, object> =>
    Object.fromEntries(names.map((name, index) => [`s${index}`, share(`/srv/odd/${name}`, `s${index}`)]));

  /** The host's own rules in their order, and what the provider keeps. */
  const touched = (): Promise<string> =>
    host.sh(`semanage export 2>/dev/null | grep fcontext
find /srv/odd -printf '%Z %p\\n' | sort
find /var/lib/virtio9p -type f 2>/dev/null | grep -v lock || :`);
  const labelOf = async (path: string): Promise<string> =>
    (await host.sh(`matchpathcon -n -- '${path.replaceAll("'", `'\\''`)}'`)).trim();
  /** How often semanage has been started. */
  const transactions = async (): Promise<number> =>
    Number((await host.sh("wc -l < /run/semanage.log")).trim());
  let before = "";

  beforeAll(async () => {
    await Promise.all([stack.open(), other.open(), host.boot()]);
    await host.defineGuest("odd");
    await host.sh(`set -e
mkdir -p /srv/odd /srv/real/x
: > /run/semanage.log
cat > /usr/local/sbin/semanage <<'SEMANAGE'
#!/bin/sh
echo "$*" >> /run/semanage.log
exec /usr/sbin/semanage "$@"
SEMANAGE
chmod +x /usr/local/sbin/semanage
/usr/sbin/semanage import <<'RULES'
fcontext -a -f a -s system_u -t var_t -r s0 '/srv/odd(/.*)?'
fcontext -a -f a -s system_u -t var_log_t -r s0 '/srv/odd/[^/]*(/.*)?/my-data(/.*)?'
fcontext -a -f a -s system_u -t etc_t -r s0 '/srv/odd/a\\x20b/inner(/.*)?'
fcontext -a -f d -s system_u -t var_log_t -r s0 '/srv/other'
fcontext -a -e /srv/real /data
RULES`);
    before = await touched();
  });

  afterAll(async () => {
    await host.remove();
    stack.close();
    other.close();
  });

  it("ten at once, of any name, are made in a transaction for each wave of them, and taken out so", async () => {
    // One on an idle machine; on a busy one the engine may hand them in in two waves, or in three.
    const most = 3;
    const [at, began] = [await transactions(), performance.now()];
    stack.declare(many());
    await stack.must("up", ["--parallel", "64"]);
    const up = performance.now() - began;
    const made = await transactions();
    expect(made - at).toBeLessThanOrEqual(most);
    for (const name of names) {
      expect([name, await labelOf(`/srv/odd/${name}`)]).toEqual([name, "system_u:object_r:svirt_image_t:s0"]);
      expect(await labelOf(`/srv/odd/${name}/in it/deep`)).toMatch(/:svirt_image_t:/);
    }
    for (const sibling of ["a  b", "aXb", "a\\b", "aab", "a", "x", "q", "its", "acb", "-d", "a bc"])
      expect([sibling, await labelOf(`/srv/odd/${sibling}`)]).toEqual([
        sibling,
        expect.stringMatching(/:var_t:/),
      ]);
    expect(await labelOf("/srv/odd/a b/inner/x")).toMatch(/:etc_t:/);
    expect(await labelOf("/srv/odd/a.b/x/my-data/y")).toMatch(/:var_log_t:/);
    await stack.must("preview", ["--refresh", "--expect-no-changes"]);

    const single = performance.now();
    await host.sh("/usr/sbin/semanage fcontext -a -t var_log_t /srv/single");
    const ten = 10 * (performance.now() - single);
    await host.sh("/usr/sbin/semanage fcontext -d /srv/single");
    console.log(`ten shares: pulumi up takes ${(up / ten).toFixed(2)} of what ten semanage fcontext -a take`);

    stack.declare({});
    await stack.must("up", ["--parallel", "64"]);
    expect((await transactions()) - made).toBeLessThanOrEqual(most);
    expect(await touched()).toBe(before);
  });

  it("two ups of two stacks at the same moment both succeed, and both rules are there", async () => {
    stack.declare({ one: share("/srv/odd/one", "one") });
    other.declare({ two: share("/srv/odd/two", "two") });
    await Promise.all([stack.must("up"), other.must("up")]);
    expect(await Promise.all(["one", "two"].map((name) => labelOf(`/srv/odd/${name}`)))).toEqual(
      Array(2).fill("system_u:object_r:svirt_image_t:s0"),
    );
    stack.declare({});
    other.declare({});
    await Promise.all([stack.must("up"), other.must("up")]);
    expect(await touched()).toBe(before);
  });

  it("a path under an equivalence has its rule under the path that it stands for", async () => {
    await host.sh("mkdir -p /data && mount --bind /srv/real /data");
    stack.declare({ one: share("/data/x", "one") });
    await stack.must("up");
    expect(await host.sh("semanage export 2>/dev/null")).toContain("'/srv/real/x(/.*)?'");
    expect(await host.sh("stat -c %C /data/x")).toMatch(/:svirt_image_t:/);
    stack.declare({});
    await stack.must("up");
    await host.sh("umount /data");
    expect(await touched()).toBe(before);
  });

  it("what cannot be labelled is refused before anything is changed, and says what to do", async () => {
    await host.sh(`mkdir -p /srv/context && mount -t tmpfs -o context=system_u:object_r:etc_t:s0 none /srv/context
mv /usr/sbin/semanage /usr/sbin/semanage.off; mv /usr/local/sbin/semanage /usr/local/sbin/semanage.off`);
    stack.declare({ one: share("/srv/odd/one", "one") });
    expect((await stack.pulumi("up")).stdout).toMatch(
      /semanage is not installed \[toolMissing\][^]*package policycoreutils-python-utils/,
    );
    await host.sh(
      "mv /usr/sbin/semanage.off /usr/sbin/semanage; mv /usr/local/sbin/semanage.off /usr/local/sbin/semanage",
    );
    stack.declare({ one: share("/srv/context/a", "one", { accessMode: "passthrough" }) });
    expect((await stack.pulumi("up")).stdout).toMatch(
      /mounted with context=system_u:object_r:etc_t:s0[^]*\[notRelabelable\][^]*context=system_u:object_r:svirt_image_t:s0/,
    );
    stack.declare({ one: share("/srv/odd/one", "one", { selinux: { type: "no_such_t" } }) });
    expect((await stack.pulumi("up")).stdout).toMatch(/no type no_such_t \[seLinuxTypeUnknown\]/);
    await host.sh("umount /srv/context");
    expect(await touched()).toBe(before);
  });
});
