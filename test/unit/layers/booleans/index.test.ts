import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { guestBooleans } from "../../../../provider/layers/booleans/index";
import { does, runFact } from "../../shell-machine";
import { specOf } from "../../sample";

const seen = (values?: Record<string, boolean>, settable = true) => ({
  policy: values && { values: new Map(Object.entries(values)), settable },
});
const policy = { httpd_use_nfs: false, samba_share_nfs: true };

test("each that is asked for is one of its own", () => {
  const guest = {
    mountPoint: "/mnt/a",
    selinuxBooleans: ["httpd_use_nfs", "samba_share_nfs", "httpd_use_nfs"],
  };
  expect(guestBooleans.wants(specOf({ guest }))).toEqual(["httpd_use_nfs", "samba_share_nfs"]);
  expect(guestBooleans.wants(specOf())).toEqual([]);
});

test.each([
  [
    "httpd_use_nfs",
    ["set httpd_use_nfs on in the guest"],
    { on: false },
    ["set httpd_use_nfs off in the guest"],
  ],
  ["samba_share_nfs", [], { on: true }, []],
])("%s is set where it is off, and given back", (name, set, before, back) => {
  expect(does(guestBooleans.plan(name, seen(policy), undefined, false))).toEqual(set);
  expect(guestBooleans.remember(name, seen(policy))).toEqual(before);
  expect(does(guestBooleans.restore(name, before, seen({ ...policy, [name]: true })))).toEqual(back);
  expect(does(guestBooleans.restore(name, before, seen({ ...policy, [name]: false })))).toEqual([]);
});

test.each([
  ["no such boolean", seen(policy), "unknownBoolean", "did you mean httpd_use_nfs?"],
  ["none like it", seen({ other: true }), "unknownBoolean", "see which there are: getsebool -a in the guest"],
  [
    "several like it",
    seen({ https_use_nfs: true, ...policy }),
    "unknownBoolean",
    "did you mean https_use_nfs, or httpd_use_nfs?",
  ],
  ["no SELinux", seen(), "seLinuxNotAvailable", "leave guest.selinuxBooleans out"],
])("%s is refused", (_, found, code, remedy) => {
  expect(guestBooleans.plan("http_use_nfs", found, undefined, false).refuse).toMatchObject([
    { code, remedy },
  ]);
  expect(guestBooleans.drift("http_use_nfs", found).state).toBe("missing");
  expect(guestBooleans.remember("http_use_nfs", found)).toBeNull();
});

test("drift", () => {
  expect(guestBooleans.drift("samba_share_nfs", seen(policy))).toMatchObject({ state: "ok" });
  expect(guestBooleans.drift("httpd_use_nfs", seen(policy))).toMatchObject({
    state: "differs",
    notes: ["httpd_use_nfs is off in the guest"],
  });
});

test("the values are the kernel's", () => {
  const folder = mkdtempSync(join(tmpdir(), "virtio9p-booleans-"));
  mkdirSync(join(folder, "booleans"));
  writeFileSync(join(folder, "enforce"), "1");
  writeFileSync(join(folder, "booleans/a"), "1 1");
  writeFileSync(join(folder, "booleans/b"), "0 0");
  const fact = guestBooleans.facts("a").policy;
  const look = (setsebool: string): unknown =>
    runFact(fact, (text) => text.replaceAll("/sys/fs/selinux", folder).replace("setsebool", setsebool));
  const values = new Map([
    ["a", true],
    ["b", false],
  ]);
  expect(look("sh")).toEqual({ values, settable: true });
  expect(look("no-such-program")).toEqual({ values, settable: false });
  rmSync(folder, { recursive: true });
  expect(look("sh")).toBeUndefined();
});

test("setsebool is needed only where there is something to set", () => {
  expect(guestBooleans.plan("httpd_use_nfs", seen(policy, false), undefined, false).refuse).toMatchObject([
    { code: "toolMissing", remedy: "install the package policycoreutils in the guest" },
  ]);
  expect(guestBooleans.plan("samba_share_nfs", seen(policy, false), undefined, false)).toEqual({ steps: [] });
});

test("what fails behind it puts a boolean on again that was given back, and leaves one on that was set", () => {
  const policy = (on: boolean) => ({ policy: { values: new Map([["httpd_use_nfs", on]]), settable: true } });
  const [back] = guestBooleans.restore("httpd_use_nfs", { on: false }, policy(true)).steps;
  const [set] = guestBooleans.plan("httpd_use_nfs", policy(false), undefined, false).steps;
  expect(back?.undo?.text).toContain("setsebool -P 'httpd_use_nfs=1'");
  expect(set?.undo).toBeUndefined();
});
