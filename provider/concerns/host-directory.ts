import { asWanted, type Concern, type Plan, type Step } from "../engine/concern";
import type { Domain } from "../formats/domain-xml";
import { exactMode, formatOctalMode, parseOctalMode } from "../formats/octal-mode";
import { lines, sh } from "../formats/shell";
import { isSystemPath } from "../formats/system-path";
import {
  aliases,
  isSame,
  named,
  type Owner,
  reachable,
  resolveOwner,
  standing,
  strangers,
} from "./directory-checks";
import {
  type DirectoryBefore,
  directoryFacts,
  type DirectorySeen,
  type DirectoryWant,
  entryOf,
  type Entry,
  type ForeignRecord,
  type Stood,
  type VirtfsAttributes,
} from "./directory-facts";

/** Permission bits of a directory that we make, when the program gives none. */
const createdMode = 0o755;

/**
 * The directory on the host: there, reachable for QEMU, owned by whom the share wants.
 *
 * With `keepOwners` what the guest sees of the directory itself is first written into `user.virtfs.*`,
 * where QEMU looks (hw/9pfs/9p-xattr-user.c and 9p-local.c, 7.2), and only then does the owner change.
 *
 * Refuses with `sourceMissing`, `sourceVanished`, `sourceMoved`, `sourceNotDirectory`, `sourceIsLink`,
 * `parentNotSearchable`, `noUserAttributes`, `treeOfOthers`, `unknownUser`.
 */
export const hostDirectory: Concern<DirectoryWant, DirectorySeen, DirectoryBefore> = {
  layer: "directory",
  place: "host",
  up: "host",
  down: "hostLast",
  scope: "host",

  want: (spec) => ({
    path: spec.source,
    create: spec.directory.create,
    owner: spec.directory.owner,
    group: spec.directory.group,
    mode: parseOctalMode(spec.directory.mode ?? ""),
    recursive: spec.directory.recursive,
    keepOwners: spec.directory.keepOwners === true,
    mapped: spec.accessMode === "mapped",
    giveBack: spec.directory.onDelete === "restore",
    session: spec.host.libvirtUri === "qemu:///session",
  }),

  identity: (want) => want.path,

  facts: directoryFacts,

  around: (want) =>
    directoriesAbove(want.path).map((path) => ({ ...want, ...untouched, path, giveBack: true })),

  plan(want, seen, before, known, context) {
    const { owner, refuse: unknown } = resolveOwner(want, seen);
    const stood = context?.stood["directory"] as Stood | undefined;
    const foreign = context?.foreign as ForeignRecord | undefined;
    const refuse = [
      ...unknown,
      ...standing(want, seen, before, stood?.path === want.path ? stood : undefined, foreign),
      ...(before || known ? [] : aliases(want, seen, context?.others.map(({ spec }) => spec.source) ?? [])),
      ...reachable(want, seen, owner, before),
    ];
    if (refuse.length > 0) return { refuse, steps: [] };
    const others =
      before === undefined || want.recursive === false ? undefined : strangers(want, seen, owner.uid);
    return {
      steps: seen.entry ? adjust(want, seen, seen.entry, owner) : create(want, owner),
      warnings:
        others === undefined
          ? []
          : [
              `${want.path} holds entries that are not QEMU's, and that the guest can at most read: ${others}`,
            ],
    };
  },

  remember(_want, { entry, attributes }) {
    if (!entry) return { created: true };
    return {
      created: false,
      uid: entry.uid,
      gid: entry.gid,
      mode: formatOctalMode(entry.mode),
      inode: entry.inode,
      born: entry.born,
      attributes: attributes === "unsupported" ? {} : attributes,
    };
  },

  restore(old, before, seen, context) {
    const entry = seen.entry;
    if (!old.giveBack) return { steps: [], forgets: true };
    if (!entry) return { steps: [] };
    if (before.created) return giveUpOwn(old, seen);
    if (entry.kind !== "directory" || !isSame(entry, before)) {
      return {
        steps: [],
        warnings: [`${old.path} is not the directory that was shared: its owner was left as it is`],
      };
    }
    const path = old.path;
    const mode = parseOctalMode(before.mode) ?? createdMode;
    const chowned = entry.uid !== before.uid || entry.gid !== before.gid;
    return {
      steps: [
        ...(chowned
          ? [
              {
                does: `give ${path} back to ${before.uid}:${before.gid}`,
                run: sh`chown -h -- ${`${before.uid}:${before.gid}`} ${path}`,
                undo: sh`chown -h -- ${`${entry.uid}:${entry.gid}`} ${path}`,
                changes: [entryOf(path).key],
              },
            ]
          : []),
        ...(chowned || entry.mode !== mode ? [chmodStep(path, mode, entry.mode)] : []),
        ...restoreAttributes(path, before.attributes, seen.attributes),
      ],
      warnings: unmanagedChanges(old, before, seen, entry, context?.stood["directory"] as Stood | undefined),
    };
  },

  drift(want, seen) {
    const { entry } = seen;
    if (!entry) {
      return { state: "missing", args: {}, notes: [`the directory ${want.path} is not there`] };
    }
    const { owner } = resolveOwner(want, seen);
    const args = {
      ...(owner.uid !== undefined && entry.uid !== owner.uid
        ? { "directory.owner": named(entry.user, entry.uid) }
        : {}),
      ...(owner.gid !== undefined && entry.gid !== owner.gid
        ? { "directory.group": named(entry.group, entry.gid) }
        : {}),
      ...(want.mode !== undefined && entry.mode !== want.mode
        ? { "directory.mode": formatOctalMode(entry.mode) }
        : {}),
    };
    return Object.keys(args).length === 0 ? asWanted : { state: "differs", args, notes: [] };
  },

  standing: ({ entry, realPath }) =>
    entry &&
    ({
      path: realPath,
      inode: entry.inode,
      born: entry.born,
      uid: entry.uid,
      gid: entry.gid,
      mode: entry.mode,
    } satisfies Stood),
};

/**
 * Of what this share does not manage, what is not as its last operation left it, nor as a share makes it: another
 * share's work or a person's, which cannot be told apart. What first contact found comes back all the same, and
 * whoever meant it is told.
 */
function unmanagedChanges(
  old: DirectoryWant,
  before: Extract<DirectoryBefore, { created: false }>,
  seen: DirectorySeen,
  entry: Entry,
  stood: Stood | undefined,
): string[] {
  if (stood?.path !== old.path) return [];
  const { owner: qemu } = resolveOwner({ ...old, owner: "qemu", group: "qemu" }, seen);
  const mode = parseOctalMode(before.mode) ?? createdMode;
  const changed = (now: number, then: number | undefined, ...known: (number | undefined)[]): boolean =>
    then !== undefined && now !== then && !known.includes(now);
  const owner =
    (old.owner === undefined && changed(entry.uid, stood.uid, before.uid, qemu.uid)) ||
    (old.group === undefined && changed(entry.gid, stood.gid, before.gid, qemu.gid));
  const what = [
    ...(owner ? [[`owner ${entry.uid}:${entry.gid}`, `${before.uid}:${before.gid}`] as const] : []),
    ...(old.mode === undefined && changed(entry.mode, stood.mode, mode, mode | 0o700)
      ? [[`mode ${formatOctalMode(entry.mode)}`, before.mode] as const]
      : []),
  ];
  return what.map(
    ([now, then]) =>
      `${old.path} had ${now}, which this share did not set; it gets ${then} back, as first contact found it (directory.onDelete: leave would keep it)`,
  );
}

/** What a share asks of a directory that it merely lies in. */
const untouched = {
  create: false,
  owner: undefined,
  group: undefined,
  mode: undefined,
  keepOwners: false,
} as const;

/** Every directory above that could be a share itself, the nearest first. */
function directoriesAbove(path: string): string[] {
  const parts = path.split("/").slice(1, -1);
  return parts
    .map((_, index) => `/${parts.slice(0, parts.length - index).join("/")}`)
    .filter((above) => !isSystemPath(above));
}

function create(want: DirectoryWant, owner: Owner): Step[] {
  const mode = want.mode ?? createdMode;
  const root: Entry = {
    kind: "directory",
    uid: 0,
    gid: 0,
    user: "root",
    group: "root",
    mode,
    inode: "",
    born: "",
  };
  return [
    {
      does: `make ${want.path}`,
      run: sh`mkdir -m ${exactMode(mode)} -- ${want.path}`,
      undo: sh`rmdir -- ${want.path}`,
      changes: [entryOf(want.path).key],
    },
    ...(want.keepOwners ? [keepStep(want.path, root)] : []),
    ...chownSteps(want.path, owner, root),
  ];
}

function adjust(want: DirectoryWant, seen: DirectorySeen, entry: Entry, owner: Owner): Step[] {
  const chowned =
    (owner.uid !== undefined && owner.uid !== entry.uid) ||
    (owner.gid !== undefined && owner.gid !== entry.gid);
  const kept = seen.attributes !== "unsupported" && "user.virtfs.uid" in seen.attributes;
  // Whoever takes over must be able to use it; what the guest sees is kept apart.
  const mode = want.mode ?? (chowned && want.keepOwners ? entry.mode | 0o700 : entry.mode);
  return [
    ...(chowned && want.keepOwners && !kept ? [keepStep(want.path, entry)] : []),
    ...chownSteps(want.path, owner, entry),
    ...(mode === entry.mode ? [] : [chmodStep(want.path, mode, entry.mode)]),
  ];
}

function chownSteps(path: string, owner: Owner, from: Entry): Step[] {
  const to = `${owner.uid ?? from.uid}:${owner.gid ?? from.gid}`;
  const was = `${from.uid}:${from.gid}`;
  if (to === was) return [];
  return [
    {
      does: `chown ${path} from ${was} to ${to}`,
      run: sh`chown -h -- ${to} ${path}`,
      undo: sh`chown -h -- ${was} ${path}`,
      changes: [entryOf(path).key],
    },
  ];
}

function chmodStep(path: string, to: number, from: number): Step {
  return {
    does: `chmod ${path} from ${formatOctalMode(from)} to ${formatOctalMode(to)}`,
    run: sh`chmod -- ${exactMode(to)} ${path}`,
    undo: sh`chmod -- ${exactMode(from)} ${path}`,
    changes: [entryOf(path).key],
  };
}

const attributeNames = ["user.virtfs.uid", "user.virtfs.gid", "user.virtfs.mode"] as const;

/** S_IFDIR of stat(2): QEMU replaces all of st_mode by the attribute, so the type must be in it. */
const directoryType = 0o040000;

function keepStep(path: string, entry: Entry): Step {
  const values = [entry.uid, entry.gid, entry.mode | directoryType].map(littleEndian);
  const undo = lines(attributeNames.map((name) => sh`setfattr -h -x ${name} -- ${path} 2>/dev/null || :`));
  return {
    does: `let the guest go on seeing ${path} as ${entry.uid}:${entry.gid} ${formatOctalMode(entry.mode)} (user.virtfs.*)`,
    // All three or none: a full file system must not leave an owner without its mode.
    run: sh`forget() { ${undo}
}
trap '[ $? = 0 ] || forget' EXIT
${lines(attributeNames.map((name, index) => sh`setfattr -h -n ${name} -v ${values[index] ?? ""} -- ${path}`))}`,
    undo,
  };
}

function restoreAttributes(
  path: string,
  before: VirtfsAttributes,
  now: VirtfsAttributes | "unsupported",
): Step[] {
  if (now === "unsupported") return [];
  const gone = Object.keys(now).filter((name) => !(name in before));
  const changed = Object.entries(before).filter(([name, value]) => now[name] !== value);
  if (gone.length + changed.length === 0) return [];
  return [
    {
      does: `give ${path} its attributes back (user.virtfs.*)`,
      run: lines([
        ...gone.map((name) => sh`setfattr -h -x ${name} -- ${path}`),
        ...changed.map(([name, value]) => sh`setfattr -h -n ${name} -v ${value} -- ${path}`),
      ]),
    },
  ];
}

/** A directory that we made goes if it is empty and nothing uses it; else it stays, for the files in it are not ours. */
function giveUpOwn(old: DirectoryWant, seen: DirectorySeen): Plan {
  const uses = (domain: Domain | undefined): boolean =>
    domain?.devices9p.some((device) => device.source === old.path) === true;
  if (uses(seen.live)) {
    return {
      steps: [],
      warnings: [
        `${old.path}, which this share made, stays: the running QEMU has it open until its next power cycle`,
      ],
    };
  }
  if (seen.info?.managedSave === true) {
    return {
      steps: [],
      warnings: [
        `${old.path}, which this share made, stays: the managed save image of ${seen.info.name} may have it open`,
      ],
    };
  }
  if (uses(seen.persistent)) {
    return {
      steps: [],
      warnings: [`${old.path}, which this share made, stays: the domain still declares it`],
    };
  }
  if (seen.owners.length > 0) {
    return { steps: [], warnings: [`${old.path}, which this share made, stays: there are files in it`] };
  }
  return {
    steps: [
      {
        does: `remove ${old.path}, which is empty and was made by this share`,
        run: sh`rmdir -- ${old.path}`,
        changes: [entryOf(old.path).key],
      },
    ],
  };
}

/** A u32 as QEMU writes it: `0xe8410000` for 040750. */
function littleEndian(value: number): string {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return `0x${bytes.toString("hex")}`;
}
