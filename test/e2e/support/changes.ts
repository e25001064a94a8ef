/** One argument, or several, changed in place. */
export interface Change {
  readonly what: string;
  /** Arguments over those of the test, before and after. */
  readonly from?: Readonly<Record<string, unknown>>;
  readonly to: Readonly<Record<string, unknown>>;
  /** Run in the guest before each look: what only use shows. What it makes is called `new`. */
  readonly probe?: string;
  /** Texts that the snapshot has before and not after, by its parts; and the other way round. */
  readonly before: Shows;
  readonly after: Shows;
}

export type Shows = Readonly<Record<string, readonly string[]>>;

export const source = "/srv/v9p-change";
export const otherSource = "/srv/v9p-change-other";

/** The arguments that every change begins with. */
export const base = { source, tag: "share", power: "restart", guest: { mountPoint: "/mnt/point" } };

/** What definition and running QEMU both have to have. */
const device = (...texts: readonly string[]): Shows => ({ declared: texts, live: texts });
const directory = (text: string): Shows => ({ [source]: [`directory ${text}\n`] });

const ofTheDevice: readonly Change[] = [
  {
    what: "source",
    to: { source: otherSource },
    before: {
      ...device(`<source dir='${source}'/>`),
      [source]: ["directory 64055:64055 755\n", "user.virtfs.uid=0x00000000"],
      [otherSource]: ["directory 1:1 700\n"],
      guest: ["/mnt/point directory 0:0 755\n"],
      records: [`"identity":"${source}"`],
    },
    after: {
      ...device(`<source dir='${otherSource}'/>`),
      [source]: ["directory 0:0 755\n"],
      [otherSource]: ["directory 64055:64055 700\n", "user.virtfs.uid=0x01000000"],
      guest: ["/mnt/point directory 1:1 700\n"],
      records: [`"identity":"${otherSource}"`],
    },
  },
  {
    what: "tag",
    to: { tag: "renamed" },
    before: {
      ...device("<target dir='share'/>"),
      guest: ["share    /mnt/point    9p", "share /mnt/point 9p"],
      records: ['"identity":"share"', '/share"'],
    },
    after: {
      ...device("<target dir='renamed'/>"),
      guest: ["renamed    /mnt/point    9p", "renamed /mnt/point 9p"],
      records: ['"identity":"renamed"', '/renamed"'],
    },
  },
  {
    what: "accessMode",
    to: { accessMode: "squash" },
    probe: "touch /mnt/point/new; chmod 640 /mnt/point/new",
    before: { ...device("accessmode='mapped'"), [source]: ["new 64055:64055 600"] },
    after: { ...device("accessmode='squash'"), [source]: ["new 64055:64055 640"] },
  },
  {
    what: "readOnly",
    to: { readOnly: true },
    // The guest's root may mount it writable: it is the export that refuses.
    probe:
      "mount -o remount,rw /mnt/point; touch /mnt/point/new; if grep -q ,ro, /etc/fstab; then mount -o remount,ro /mnt/point; fi; :",
    before: { [source]: ["new 64055:64055"], guest: ["share /mnt/point 9p rw,"] },
    after: {
      ...device("<readonly/>"),
      guest: ["share /mnt/point 9p ro,", ",nodev,ro,msize="],
    },
  },
  {
    what: "fileMode and directoryMode",
    to: { fileMode: "0640", directoryMode: "0750" },
    probe: "touch /mnt/point/new; mkdir /mnt/point/newer",
    before: { [source]: ["new 64055:64055 600", "newer 64055:64055 700"] },
    after: {
      ...device("fmode='0640'", "dmode='0750'"),
      [source]: ["new 64055:64055 640", "newer 64055:64055 750"],
    },
  },
  {
    what: "multidevs and model",
    to: { multidevs: "remap", model: "virtio-non-transitional" },
    before: {},
    after: device("multidevs='remap'", "model='virtio-non-transitional'"),
  },
];

const ofTheDirectory: readonly Change[] = [
  {
    what: "directory.owner",
    to: { directory: { owner: "root" } },
    before: directory("64055:64055 755"),
    after: directory("0:64055 755"),
  },
  {
    what: "directory.group",
    to: { directory: { group: "users" } },
    before: directory("64055:64055 755"),
    after: directory("64055:100 755"),
  },
  {
    what: "directory.mode",
    from: { directory: { mode: "0755" } },
    to: { directory: { mode: "2770" } },
    before: directory("64055:64055 755"),
    after: directory("64055:64055 2770"),
  },
];

const ofTheGuest: readonly Change[] = [
  {
    what: "guest, added and dropped",
    from: { guest: undefined },
    to: {},
    before: {},
    after: {
      guest: [
        "share    /mnt/point    9p",
        "share /mnt/point 9p",
        "/mnt/point directory 0:0 755",
        "/etc/modules-load.d/virtio9p.conf",
      ],
      records: ['"layer":"fstab"', '"layer":"mount"', '"layer":"modules"'],
    },
  },
  {
    what: "guest.mountPoint",
    to: { guest: { mountPoint: "/mnt/else/where" } },
    before: {
      guest: ["share    /mnt/point    9p", "share /mnt/point 9p", "/mnt/point directory"],
      records: ['"identity":"/mnt/point"'],
    },
    after: {
      guest: ["share    /mnt/else/where    9p", "share /mnt/else/where 9p", "/mnt/else directory"],
      records: ['"identity":"/mnt/else/where"'],
    },
  },
  {
    what: "guest.owner, guest.group and guest.mode",
    from: { guest: { ...base.guest, owner: "root", group: "root", mode: "0755" } },
    to: { guest: { ...base.guest, owner: "nobody", group: "100", mode: "0750" } },
    before: { guest: ["/mnt/point directory 0:0 755"], [source]: ["user.virtfs.mode=0xed410000"] },
    after: { guest: ["/mnt/point directory 65534:100 750"], [source]: ["user.virtfs.mode=0xe8410000"] },
  },
];

const together: readonly Change[] = [
  {
    what: "source, tag and guest.mountPoint at once",
    to: { source: otherSource, tag: "renamed", guest: { mountPoint: "/mnt/else" } },
    before: {
      ...device(`<source dir='${source}'/><target dir='share'/>`),
      [source]: ["directory 64055:64055 755\n", "user.virtfs"],
      [otherSource]: ["directory 1:1 700\n"],
      guest: ["share    /mnt/point    9p", "share /mnt/point 9p", "/mnt/point"],
      records: ['"identity":"share"', '/share"', `"identity":"${source}"`, '"identity":"/mnt/point"'],
    },
    after: {
      ...device(`<source dir='${otherSource}'/><target dir='renamed'/>`),
      [source]: ["directory 0:0 755\n"],
      [otherSource]: ["directory 64055:64055 700\n", "user.virtfs"],
      guest: ["renamed    /mnt/else    9p", "renamed /mnt/else 9p", "/mnt/else directory 1:1 700"],
      records: ['"identity":"renamed"', '/renamed"', `"${otherSource}"`, '"identity":"/mnt/else"'],
    },
  },
];

/** One row a change that the machine shows; what only the state shows, and what needs a story of its own, is in the test. */
export const changes: readonly Change[] = [...ofTheDevice, ...ofTheDirectory, ...ofTheGuest, ...together];
