/** One change of `guest.options`, and what a person would see of it in the guest. */
export interface OptionChange {
  readonly options: Readonly<Record<string, unknown>>;
  /** What the line in fstab has in the place of {@link baseText}. */
  readonly text: string;
  /** What mountinfo then shows, beyond what it showed before, and what no more. */
  readonly shows: readonly string[];
  readonly hides: readonly string[];
  /** `remount`: also while somebody uses the mount; `mount`: after an unmount; `boot`: by the next boot alone. */
  readonly by: "remount" | "mount" | "boot";
}

/** The options of a share that says nothing of them. */
export const baseText = "trans=virtio,version=9p2000.L,_netdev,nofail,nodev,msize=131072";

const seed = "trans=virtio,version=9p2000.L";

/** Each argument once, as Linux 6.1 shows it; `msize=131072` is its own, of which it shows nothing. */
export const optionChanges: readonly OptionChange[] = [
  {
    options: { msizeBytes: 8192 },
    text: `${seed},_netdev,nofail,nodev,msize=8192`,
    ...{ shows: ["msize=8192"], hides: [], by: "mount" },
  },
  {
    options: { msizeBytes: 512_000 },
    text: `${seed},_netdev,nofail,nodev,msize=512000`,
    ...{ shows: ["msize=512000"], hides: [], by: "mount" },
  },
  {
    options: { msizeBytes: 0 },
    text: `${seed},_netdev,nofail,nodev`,
    ...{ shows: [], hides: [], by: "boot" },
  },
  {
    options: { cache: "loose" },
    text: `${baseText},cache=loose`,
    ...{ shows: ["loose"], hides: ["sync"], by: "mount" },
  },
  {
    options: { cache: "mmap" },
    text: `${baseText},cache=mmap`,
    ...{ shows: ["mmap"], hides: ["sync"], by: "mount" },
  },
  {
    options: { access: "1000" },
    text: `${baseText},access=1000`,
    ...{ shows: ["access=1000"], hides: ["access=client"], by: "mount" },
  },
  {
    options: { noexec: true },
    text: `${seed},_netdev,nofail,nodev,noexec,msize=131072`,
    ...{ shows: ["noexec"], hides: [], by: "remount" },
  },
  {
    options: { nosuid: true },
    text: `${seed},_netdev,nofail,nodev,nosuid,msize=131072`,
    ...{ shows: ["nosuid"], hides: [], by: "remount" },
  },
  {
    options: { nodev: false },
    text: `${seed},_netdev,nofail,msize=131072`,
    ...{ shows: [], hides: ["nodev"], by: "remount" },
  },
  {
    options: { extra: ["noatime"] },
    text: `${baseText},noatime`,
    ...{ shows: [], hides: [], by: "boot" },
  },
  {
    options: { extra: ["strictatime", "nodiratime"] },
    text: `${baseText},strictatime,nodiratime`,
    ...{ shows: [], hides: [], by: "boot" },
  },
  {
    options: { nofail: false },
    text: `${seed},_netdev,nodev,msize=131072`,
    ...{ shows: [], hides: [], by: "boot" },
  },
  {
    options: { netdev: false },
    text: `${seed},nofail,nodev,msize=131072`,
    ...{ shows: [], hides: [], by: "boot" },
  },
];
