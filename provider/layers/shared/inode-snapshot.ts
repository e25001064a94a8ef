import { createHash } from "node:crypto";
import type { Fact } from "../../engine/layer";
import { identityInRecord } from "../../engine/baseline";
import { linesIn } from "../../formats/lines-in";
import { lines, type Script, sh } from "../../remote/shell/sh";

/**
 * What the entries of a tree had before a share changed it: a file beside the records, root-only, a line for each
 * entry, by inode and time of birth.
 *
 * Not by name: a guest that renames an entry changes nothing of that, and one that it makes in the place of another
 * has a birth of its own. Not in the tree: a guest could read or forge it. Lines are only added, and the first of an entry
 * stands (tree/snapshot.py); each begins with a word such as `6029396:1763877000.123456789`.
 */
export interface InodeSnapshot {
  /** What it holds, which is the folder that it is in. */
  readonly of: "labels" | "owners" | "links";
  /** The directory whose tree it speaks of. */
  readonly path: string;
}

function folder({ of }: InodeSnapshot): Script {
  return sh`"$records"/${of}`;
}

/** Its file: named by a hash, as the records are, for a path has any length. */
export function nameOf(path: string): string {
  return createHash("sha256").update(path).digest("hex").slice(0, 32);
}

function file(snapshot: InodeSnapshot): Script {
  return sh`${folder(snapshot)}/${nameOf(snapshot.path)}`;
}

/** Where one of that name is, for a person. */
export function recordsOf(of: InodeSnapshot["of"], name: string): string {
  return `/var/lib/virtio9p/${of}/${name}`;
}

/** Of directories, those whose owners are written down, and that are on the file system of `path`, in their order. */
export function rememberedOnSameFileSystem(
  path: string,
  directories: readonly string[],
): Fact<readonly string[]> {
  return {
    place: "host",
    does: `see whether ${path} lies in a tree whose owners are written down`,
    precondition: true,
    script: lines([
      // Where it is not there, by where it would be.
      sh`for at in ${[path, ...directories]}; do [ ! -d "$at" ] || break; done
# What else lies above is a directory of the system, in which no share has a snapshot.
[ -d "$at" ] || exit 0`,
      ...directories.map(
        (one, index) =>
          sh`if [ -e ${file({ of: "owners", path: one })} ] && [ "$(stat -c %d -- ${one})" = "$(stat -c %d -- "$at")" ]; then echo ${index}; fi`,
      ),
    ]),
    parse: (output) => linesIn(output).flatMap((line) => directories[Number(line)] ?? []),
  };
}

/**
 * Directories in `path` that other shares have, and changed owners of: what was there is written down, or is not what its
 * record says. Sample: `/srv/a/in`.
 */
export function ownersChangedInside(path: string): Fact<readonly string[]> {
  const identity = `"identity":${JSON.stringify(`${path}/`).slice(0, -1)}`;
  return {
    place: "host",
    does: `see whether shares have changed owners inside ${path}`,
    precondition: true,
    script: sh`for file in "$records"/host/directory-*.json; do
  line=''
  if [ -e "$file" ]; then read -r line < "$file" || :; fi
  case $line in *${identity}*) ;; *) continue;; esac
  name=$${{ text: "{file##*/directory-}" }}
  name=$${{ text: "{name%.json}" }}
  had=$(printf '%s\n' "$line" | sed -n 's/.*"created":false,"uid":\([0-9]*\),"gid":\([0-9]*\).*/\1:\2/p')
  inner=$(printf '%s\n' "$line" | ${identityInRecord})
  ! ${isElsewhere(sh`"$inner"`, path)} || continue
  if [ -e "$records/owners/$name" ] || [ -e "$records/links/$name" ]; then printf '%s\n' "$inner"
  elif [ -n "$had" ] && [ "$had" != "$(stat -c %u:%g -- "$inner" 2>/dev/null)" ]; then printf '%s\n' "$inner"; fi
done`,
    parse: linesIn,
  };
}

/** Sets `$snapshot`, for scripts inside other shells too. What they write meanwhile is `$snapshot.WORD`. */
export function openSnapshot(snapshot: InodeSnapshot): Script {
  return sh`snapshot=${file(snapshot)}
export snapshot`;
}

/** Whether something is written down of a directory. */
export function isRemembered(snapshot: InodeSnapshot): Fact<boolean> {
  const does = `see whether the ${snapshot.of} that ${snapshot.path} had are written down`;
  return whether(does, snapshot, sh`[ -e "$snapshot" ]`);
}

/** Whether links in a directory were mapped, or are half. */
export function linksMapped(path: string): Fact<boolean> {
  const isThere = sh`[ -e "$snapshot" ] || [ -e "$snapshot.suffix" ]`;
  return whether(`see whether links in ${path} were mapped`, { of: "links", path }, isThere);
}

/** Whether the guest sees of all that was taken over what it had. */
export function viewKept(path: string): Fact<boolean> {
  const does = `see whether the guest sees all in ${path} as it was`;
  return whether(does, { of: "owners", path }, sh`[ -e "$snapshot.view" ]`);
}

function whether(does: string, snapshot: InodeSnapshot, test: Script): Fact<boolean> {
  return {
    place: "host",
    does,
    precondition: true,
    script: sh`${openSnapshot(snapshot)}
if ${test}; then echo yes; fi`,
    parse: (output) => output !== "",
  };
}

/** Before anything is written to it. */
export function makeSnapshot(snapshot: InodeSnapshot): Script {
  return sh`mkdir -p -m 0700 -- "$records" ${folder(snapshot)}
${openSnapshot(snapshot)}`;
}

/** Prints what was written down before. */
function earlierLines(snapshot: InodeSnapshot): Script {
  return sh`[ ! -e ${file(snapshot)} ] || cat -- ${file(snapshot)}`;
}

/** Prints what was written down of directories of other shares that lie in it, on the same file system. */
export function innerLines(snapshot: InodeSnapshot, inside: readonly string[]): Script {
  return lines(
    inside.map(
      (path) => sh`${isElsewhere(path, snapshot.path)} || { ${earlierLines({ ...snapshot, path })}; }`,
    ),
  );
}

/**
 * Succeeds where a directory is on another file system than one that it lies in: a snapshot has the same inodes. To be
 * asked outside of remote/shell/no-symlinks.ts, where what is mounted in the tree cannot be seen.
 */
export function isElsewhere(path: string | Script, outer: string): Script {
  return sh`{ device=$(stat -c %d -- ${path} 2>/dev/null) && [ "$device" != "$(stat -c %d -- ${outer})" ]; }`;
}

export function forgetSnapshot(snapshot: InodeSnapshot): Script {
  return sh`${openSnapshot(snapshot)}
rm -f -- "$snapshot" "$snapshot".*
rmdir -- ${folder(snapshot)} 2>/dev/null || :`;
}
