import { createRequire } from "node:module";
import type { types } from "@pulumi/command";
import * as pulumi from "@pulumi/pulumi";
import type { LayerName, LayerState } from "../engine/layer";
import type { Status } from "../share/status";

/** How to reach a machine over SSH: `@pulumi/command`'s own type, so that objects you have go in as they are. */
export type ConnectionArgs = types.input.remote.ConnectionArgs;

/** Arguments of a {@link Virtio9pShare}; every one may be an output of another resource. */
export interface Virtio9pShareArgs {
  /** The host's directory: absolute, without links in it. System directories are refused. Sample: `/foo/bar`. */
  source: pulumi.Input<string>;
  /** The libvirt domain, by its exact name or its UUID; it must be persistent. */
  domain: pulumi.Input<string>;
  /**
   * What the guest mounts: 1 to 31 bytes, no comma, no control characters. Default: the resource's name when it is made;
   * a resource that gets another name by an alias keeps its tag.
   */
  tag?: pulumi.Input<string>;
  /**
   * Whose owners and modes the files have. `mapped`: the guest's own, kept in attributes on the host,
   * where all files are QEMU's. `passthrough`: the host's, as far as QEMU's user may. `squash`: like
   * passthrough, but QEMU does not fail where it may not. Default `mapped`.
   */
  accessMode?: pulumi.Input<"mapped" | "passthrough" | "squash">;
  /** The export itself is read-only, so it holds against the guest's root too. Default false. */
  readOnly?: pulumi.Input<boolean>;
  /** What QEMU does where the tree crosses file systems; libvirt's attribute. Default `default` (QEMU warns). */
  multidevs?: pulumi.Input<"default" | "remap" | "forbid" | "warn">;
  /** Octal mode of new files on the host, at most 0777; `mapped` only. Default libvirt's: QEMU's 0600. */
  fileMode?: pulumi.Input<string>;
  /** Octal mode of new directories on the host, at most 0777; `mapped` only. Default libvirt's: QEMU's 0700. */
  directoryMode?: pulumi.Input<string>;
  /** libvirt's device model. Default `virtio`. */
  model?: pulumi.Input<"virtio" | "virtio-transitional" | "virtio-non-transitional">;
  /** Whether a second read-write export of the same tree is refused. Default `refuse`. */
  otherWriters?: pulumi.Input<"refuse" | "allow">;
  host?: pulumi.Input<HostArgs>;
  directory?: pulumi.Input<DirectoryArgs>;
  selinux?: pulumi.Input<SelinuxArgs>;
  /** Absent: host and domain only, the guest is left alone. */
  guest?: pulumi.Input<GuestArgs>;
  /**
   * What may be done to make a device appear or go, since 9p cannot be hot-plugged; each includes the
   * one before. `never`; `start` a domain that is off; `restart`: shut a running guest down cleanly and
   * start it again; `force`: cut its power when it does not stop in time. Default `never`.
   */
  power?: pulumi.Input<"never" | "start" | "restart" | "force">;
  timeouts?: pulumi.Input<TimeoutArgs>;
}

/** The KVM host, and its libvirt. */
export interface HostArgs {
  /** SSH to the host. Default: this machine. Another `host` or `port` in it is another host, and replaces the share. */
  connection?: pulumi.Input<ConnectionArgs>;
  /** False: where no `hostKey` is given any key will do, of the proxy too, and each run says so. Default true: known_hosts decides. */
  verifyHostKey?: pulumi.Input<boolean>;
  /** As the host itself sees it. Default `qemu:///system`. */
  libvirtUri?: pulumi.Input<"qemu:///system" | "qemu:///session">;
  /** `auto`: root needs nothing, anybody else `sudo -n`. Default `auto`. */
  escalate?: pulumi.Input<"auto" | "sudo" | "none">;
}

/** The directory on the host. */
export interface DirectoryArgs {
  /** Make it (its last component only) if it is missing at first contact. Default true. */
  create?: pulumi.Input<boolean>;
  /** A name, a number, or `qemu`: whoever the domain's QEMU runs as. Default `qemu` when mapped and writable, else untouched. */
  owner?: pulumi.Input<string | number>;
  /** As `owner`. */
  group?: pulumi.Input<string | number>;
  /** Octal text. Default: untouched; `0755` when created. */
  mode?: pulumi.Input<string>;
  /**
   * Unset: a tree of others, or one with other SELinux labels, is an error at first contact, which counts them; an
   * empty one, or one that is QEMU's already, is taken. `false`: only the directory itself, whatever is in it.
   * `true`: all directories and plain files in it get owner, group and label; destroy gives each back what it had.
   */
  recursive?: pulumi.Input<boolean>;
  /**
   * The guest goes on seeing the owners and modes that the directory and all that is taken over in it had. Default true
   * when mapped and the owner is managed. `false` with `mapped` and `recursive: true` is for good: it is written down
   * nowhere whose the entries were, which a warning says.
   */
  keepOwners?: pulumi.Input<boolean>;
  /**
   * Files with setuid, setgid or capabilities in a tree to be taken over, which a change of owner takes away: `refuse`,
   * or `strip` them, for a guest that could write such a file must not get it back as a program of root's. Default
   * `refuse`.
   */
  privileged?: pulumi.Input<"refuse" | "strip">;
  /**
   * Symbolic links that were made on the host, which a guest of a mapped share can neither read nor follow: `keep` them,
   * or `map` them to what the guest's own links are, until destroy. `map` needs `recursive: true`. Default `keep`.
   */
  links?: pulumi.Input<"keep" | "map">;
  /**
   * Other file systems, mounts or subvolumes that begin in a tree to be taken over: `refuse`, or `leave` them as they are.
   * Default `refuse`.
   */
  otherFileSystems?: pulumi.Input<"refuse" | "leave">;
  /** What destroy does with owner and mode: give back what first contact found, or leave. Default `restore`. */
  onDelete?: pulumi.Input<"restore" | "leave">;
}

/** SELinux on the host: the rule and the labels by which a confined QEMU may use the directory. */
export interface SelinuxArgs {
  /** `auto`: where SELinux is enabled. `always`: where it is not, that is an error. `never`: labels are left alone. Default `auto`. */
  manage?: pulumi.Input<"auto" | "always" | "never">;
  /** Of rule and tree. Default `svirt_image_t`; `virt_content_t` where all who have the directory only read it. */
  type?: pulumi.Input<string>;
  /**
   * Files that the guest makes must be usable after the next start of its QEMU. `auto`: refused where the policy gives
   * them that QEMU's categories, unless the domain's label is static. `inherit`: a policy module of the whole host
   * gives them their directory's range; it goes with the last share. `ignore`. Default `auto`.
   */
  newFiles?: pulumi.Input<"auto" | "inherit" | "ignore">;
}

/** The mount in the guest. */
export interface GuestArgs {
  /** SSH to the guest, by `proxy` through its host. Default: the QEMU guest agent. */
  connection?: pulumi.Input<ConnectionArgs>;
  /** As `host.verifyHostKey`, for the guest. */
  verifyHostKey?: pulumi.Input<boolean>;
  /** Absolute; made if missing. System directories, and ones that hold something else, are refused. */
  mountPoint: pulumi.Input<string>;
  options?: pulumi.Input<MountOptionsArgs>;
  /** `now`: in fstab and mounted. `boot`: in fstab only, mounted by the next boot; destroy unmounts both. Default `now`. */
  mount?: pulumi.Input<"now" | "boot">;
  /** Owner of the share's root as the guest sees it, by name or number; mapped and writable only. Default: untouched. */
  owner?: pulumi.Input<string | number>;
  group?: pulumi.Input<string | number>;
  /** Octal text. */
  mode?: pulumi.Input<string>;
  /** SELinux booleans of the guest that are to be on, also after a boot. Sample: `["httpd_use_nfs"]`. Default none. */
  selinuxBooleans?: pulumi.Input<pulumi.Input<string>[]>;
}

/** Options of the guest's mount; each is validated, for the kernel silently ignores what it does not know. */
export interface MountOptionsArgs {
  /** Bytes of one message, 4096 to 512000; 0 writes none, the kernel's own is used. Default 131072. */
  msizeBytes?: pulumi.Input<number>;
  /** Default: none written, the kernel's `none`. `loose` and `fscache` are not coherent with the host. */
  cache?: pulumi.Input<"none" | "readahead" | "mmap" | "loose" | "fscache">;
  /** `user`, `any`, `client` or a numeric uid. Default: none written, the kernel's `client`. */
  access?: pulumi.Input<string>;
  /** The SELinux context of all files in this mount. */
  context?: pulumi.Input<string>;
  /** `_netdev`: ordered with the network mounts, behind local-fs.target. Default true. */
  netdev?: pulumi.Input<boolean>;
  /** A share that is not there does not fail the boot. Default true. */
  nofail?: pulumi.Input<boolean>;
  /** `x-systemd.automount`: mounted at first use. Default false. */
  automount?: pulumi.Input<boolean>;
  noexec?: pulumi.Input<boolean>;
  nosuid?: pulumi.Input<boolean>;
  /** Default true: a device node made through one mapped export is one through another. */
  nodev?: pulumi.Input<boolean>;
  /** What has no name here, such as `noatime` or `x-systemd.requires=...`. */
  extra?: pulumi.Input<pulumi.Input<string>[]>;
}

/** Milliseconds, 1000 to a day. */
export interface TimeoutArgs {
  /** Without a sign of progress. Default 120000. */
  commandMs?: pulumi.Input<number>;
  /** For a guest to shut down. Default 120000. */
  shutdownMs?: pulumi.Input<number>;
  /** For a guest to boot until its agent answers, or it lets us in over SSH. Default 300000. */
  bootMs?: pulumi.Input<number>;
}

/**
 * How the state finds this package's code: the provider process evaluates it, from the program's
 * directory. It is the same bytes whatever the program is written in, and it never changes: each later
 * read and delete runs what an earlier release stored.
 *
 * `createRequire` at the working directory and not `require`: a checkout of this package asks for itself
 * by name there, which only Node's self-reference answers. A package that is not there, or not any more when a
 * share is to be deleted, is told in words and without a stack.
 */
export const providerText =
  'exports.handler=()=>{const d=process.cwd(),n="pulumi-virtio9p";try{return require("node:module").createRequire(d+"/")(n+"/dynamic")}catch(e){if(e.code!="MODULE_NOT_FOUND")throw e;throw Object.assign(Error(e.message.split("\\n")[0]+": npm install "+n+" in "+d),{stack:""})}}';

/**
 * One host directory, exported to one libvirt domain under one tag, and mounted in that guest.
 *
 * `pulumi up` makes all layers so, `pulumi refresh` sees what drifted, `pulumi destroy` gives back what
 * was there before.
 *
 * ```ts
 * const share = new Virtio9pShare("foobar", {
 *   source: "/foo/bar",
 *   domain: "web1",
 *   guest: { mountPoint: "/mnt/foobar", owner: "root", group: "root", mode: "0750" },
 * });
 * export const fstab = share.fstabEntry;
 * ```
 */
export class Virtio9pShare extends pulumi.CustomResource {
  /** `active`, `drifted`, `pendingPowerCycle`, `pendingGuest`, `pendingRemount`, `off`, `domainMissing`, `incomplete`. */
  declare public readonly status: pulumi.Output<Status>;
  /** Why, as a code: `asDeclared`, `deviceNotLive`, `domainOff`, `guestUnreachable`, or that of an error. */
  declare public readonly statusReason: pulumi.Output<string>;
  /** Each layer: `ok`, `missing`, `differs`, `unknown`, `unmanaged`. */
  declare public readonly layers: pulumi.Output<Readonly<Record<LayerName, LayerState>>>;
  declare public readonly domainUuid: pulumi.Output<string>;
  declare public readonly domainName: pulumi.Output<string>;
  /** Owner and group of the directory as numbers, sample: `64055:64055`. */
  declare public readonly directoryOwner: pulumi.Output<string>;
  /** The guest's whole line; empty without `guest`. */
  declare public readonly fstabEntry: pulumi.Output<string>;
  /** What the guest's kernel really uses, from mountinfo; empty while it is not mounted. */
  declare public readonly mountOptions: pulumi.Output<string>;
  /** What first contact found, by layer: a copy of the record on the host. */
  declare public readonly before: pulumi.Output<Readonly<Record<string, unknown>>>;
  declare public readonly source: pulumi.Output<string>;
  declare public readonly domain: pulumi.Output<string>;
  declare public readonly tag: pulumi.Output<string>;

  constructor(name: string, args: Virtio9pShareArgs, options?: pulumi.CustomResourceOptions) {
    const type = "pulumi-nodejs:dynamic/virtio9p:Virtio9pShare";
    refuseWhereNotFound();
    const outputs = Object.fromEntries(
      ["status", "statusReason", "layers", "domainUuid", "domainName", "directoryOwner"]
        .concat("fstabEntry", "mountOptions", "before")
        .map((output) => [output, undefined]),
    );
    const inputs = { ...args, ...tagOf(args.tag, name), host: wrap(args.host), guest: wrap(args.guest) };
    const hidden = {
      __provider: providerText,
      __logUrn: urnOf(name, type, options?.parent),
      __preview: pulumi.runtime.isDryRun() ? true : undefined,
    };
    super(type, name, { ...inputs, ...outputs, ...hidden }, options);
  }
}

/**
 * The provider process looks for this package from the program's directory, and not from where the class was loaded: with
 * isolated node_modules (pnpm) a package that only a component's library depends on is not found there. It is said
 * before anything is registered, where Pulumi's CLI runs the program (pulumi 3.259, cmd/run); under mocks nobody looks.
 */
function refuseWhereNotFound(): void {
  if (!/[/\\]cmd[/\\]run\b/.test(require.main?.filename ?? "")) return;
  const directory = process.cwd();
  try {
    createRequire(`${directory}/`).resolve("pulumi-virtio9p/dynamic");
  } catch (error) {
    throw new pulumi.RunError(
      `pulumi-virtio9p is not found from ${directory}, where Pulumi's provider process will look for it: make it a dependency of the program itself, with npm install pulumi-virtio9p (pnpm add, yarn add) there, besides the library that uses it (${String((error as NodeJS.ErrnoException).code)})`,
    );
  }
}

/** The tag, and whether it is only the name, for lack of one that was written: then check decides which it is to be. */
function tagOf(tag: pulumi.Input<string | undefined>, name: string): object {
  if (tag === undefined) return { tag: name, __tagIsName: true };
  if (typeof tag === "string") return { tag };
  const written = pulumi.output(tag);
  return {
    tag: written.apply((known) => known ?? name),
    __tagIsName: written.apply((known) => (known === undefined ? true : undefined)),
  };
}

/**
 * The resource's own URN, by which the provider process can show a line in its row. No call of a dynamic
 * provider is told it, and a resource cannot take its own output as input.
 *
 * A promise and not the output: that would make the share depend on its parent, and on its siblings with it.
 */
function urnOf(name: string, type: string, parent: pulumi.Resource | undefined): Promise<string> {
  return new Promise((resolve) => {
    pulumi.createUrn(name, type, parent).apply(resolve);
  });
}

/**
 * A connection's credentials are secrets, given so or not. Only the connection is wrapped, where that can
 * be: one unknown value must not hide its siblings from check.
 */
function wrap<T extends { connection?: pulumi.Input<ConnectionArgs> }>(machine: pulumi.Input<T> | undefined) {
  if (machine === undefined) return undefined;
  if (pulumi.Output.isInstance(machine) || machine instanceof Promise) {
    return pulumi.output(machine).apply((known) => withSecret(known as T));
  }
  return withSecret(machine);
}

function withSecret<T extends { connection?: pulumi.Input<ConnectionArgs> }>(machine: T) {
  const { connection, ...rest } = machine;
  return connection === undefined ? rest : { ...rest, connection: pulumi.secret(connection) };
}
