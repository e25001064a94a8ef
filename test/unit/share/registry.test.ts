import { claimedTwice } from "../../../provider/share/registry";
import { unknownValue } from "../../../provider/spec/spec";

const urn = (name: string, parent = ""): string =>
  `urn:pulumi:s::p::${parent}t$virtio9p:Virtio9pShare::${name}`;
/** Each case has a domain of its own, for a process remembers all that it has checked. */
let count = 0;
let domain: string;
beforeEach(() => {
  count += 1;
  domain = `web${count}`;
});
const args = (more: object = {}): Record<string, unknown> => ({
  source: "/a",
  domain,
  tag: "a",
  host: {},
  ...more,
});

test("the same resource, checked again, claims nothing twice", () => {
  expect([claimedTwice(urn("a"), args()), claimedTwice(urn("a"), args())]).toEqual([[], []]);
});

test("a second one with the same tag in the domain is refused, and names the first", () => {
  claimedTwice(urn("a"), args());
  expect(claimedTwice(urn("b"), args({ source: "/b" }))).toEqual([
    {
      property: "tag",
      reason: "is that of the share a in the same domain: two resources cannot be one share",
    },
  ]);
});

test("so is one with the same mount point", () => {
  claimedTwice(urn("a"), args({ guest: { mountPoint: "/mnt/a" } }));
  expect(claimedTwice(urn("b"), args({ tag: "b", guest: { mountPoint: "/mnt/a" } }))).toEqual([
    { property: "guest.mountPoint", reason: "is where the share a of the same domain is mounted" },
  ]);
});

test("of two with one name the whole URN is said", () => {
  claimedTwice(urn("a"), args());
  expect(claimedTwice(urn("a", "parent$"), args())[0]?.reason).toContain(urn("a"));
});

test.each<[string, object]>([
  ["another domain", { domain: "elsewhere" }],
  ["another tag", { tag: "b" }],
  ["another libvirt", { host: { libvirtUri: "qemu:///session" } }],
  ["another host", { host: { connection: { host: "kvm2" } } }],
  ["a tag that is not known yet", { tag: unknownValue }],
  ["a mount point that is not known yet", { tag: "b", guest: { mountPoint: unknownValue } }],
])("%s is no claim of the same", (_, more) => {
  claimedTwice(urn("a"), args({ guest: { mountPoint: "/mnt/a" } }));
  expect(claimedTwice(urn("b"), args(more))).toEqual([]);
});
