import { mkdirSync, rmSync } from "node:fs";
import { Guest } from "./support/lab";
import { minimalDomain } from "./support/minimal-domain";
import { everythingIn } from "./support/populate";
import { output } from "./support/run";
import { Stack } from "./support/stack";

/**
 * A guest with root, and with an export of the tree in which it makes real links, swaps a directory for a link out of
 * the share, again and again, while the tree is taken over and given back.
 */
describe("a guest that swaps directories for links", () => {
  const guest = new Guest("ownattack", "small");
  const other = minimalDomain("v9p-ownattack-other");
  const stack = new Stack();
  const base = "/srv/v9p-ownattack";
  const source = `${base}/tree`;
  const outside = `${base}/outside`;
  const share = {
    source,
    domain: "v9p-ownattack-other",
    directory: { recursive: true },
    otherWriters: "allow",
  };

  beforeAll(async () => {
    rmSync(base, { recursive: true, force: true });
    mkdirSync(source, { recursive: true });
    // The same names and modes on both sides, owned by others; the guest's QEMU may rename in the tree.
    await output("bash", [
      "-ec",
      `for place in "$1/keep" "$2"; do mkdir -p "$place/sub"; (cd "$place"; seq 400 | sed 's/^/f/' | xargs touch
seq 400 | sed 's|^|sub/f|' | xargs touch; chown -R 1234:5678 .; chmod 640 f*; setfacl -m u:77:r f1 sub/f2); done
mv "$1/keep" "$1/swapped"; chown 64055 "$1"; mkdir "$1/rest"; cd "$1/rest"; seq 20000 | xargs touch; chown -R 4321 .`,
      "bash",
      source,
      outside,
    ]);
    await Promise.all([stack.open(), other.define(""), guest.define()]);
    await guest.attach(
      `<filesystem type='mount' accessmode='squash'><source dir='${source}'/><target dir='hand'/></filesystem>`,
      "--config",
    );
    await guest.bootDefined();
    await guest.sh(`mkdir -p /mnt/hand; mount -t 9p -o trans=virtio,version=9p2000.L hand /mnt/hand
cd /mnt/hand; ln -s ${outside} link; [ "$(readlink link)" = ${outside} ]
cat > /swap <<'EOF'
cd /mnt/hand; n=0
while [ ! -e /stop ]; do
  mv swapped kept && mv link swapped && mv swapped link && mv kept swapped && n=$((n + 1)); echo $n > /turns
done
EOF`);
  });
  afterAll(async () => {
    await guest.remove();
    await other.remove();
    stack.close();
    rmSync(base, { recursive: true, force: true });
  });

  it("changes nothing outside, and everything inside comes back", async () => {
    const [out, inside] = [await everythingIn(outside), await owners()];
    await guest.sh("(sh /swap >/dev/null 2>&1 </dev/null &)");
    const began = Date.now();
    for (let turns = 0; Date.now() - began < 60_000 || turns < 3;) {
      turns += 1;
      stack.declare({ share });
      // It may say that the tree does not hold still; it may never touch what is outside.
      // A destroy that failed has given some back, which only a refresh sees.
      const { stdout } = await stack.pulumi("up", ["--refresh"]);
      expect(await everythingIn(outside)).toBe(out);
      expect([await ownerOfRest(), stdout]).toEqual(["64055", stdout]);
      const back = await stack.pulumi("destroy");
      expect(await everythingIn(outside)).toBe(out);
      expect([await ownerOfRest(), back.stdout]).toEqual(["4321", back.stdout]);
    }
    await guest.sh("touch /stop; sleep 2; cd /mnt/hand; [ -d kept ] && mv kept swapped; rm -f link; sync");
    expect(Number(await guest.sh("cat /turns"))).toBeGreaterThan(100);
    stack.declare({ share });
    await stack.must("up", ["--refresh"]);
    await stack.must("destroy");
    expect(await everythingIn(outside)).toBe(out);
    expect(await owners()).toBe(inside);
  });

  async function ownerOfRest(): Promise<string> {
    return (await output("stat", ["-c", "%u", `${source}/rest/1`])).trim();
  }

  /** Without times: the guest renames. */
  function owners(): Promise<string> {
    return output("bash", [
      "-c",
      `cd "$1"; find . ! -name link ! -path . -printf '%P|%y|%U:%G|%m\\n' | LC_ALL=C sort; getfacl -R -n swapped`,
      "bash",
      source,
    ]);
  }
});
