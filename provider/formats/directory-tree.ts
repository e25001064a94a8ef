import { dirname, join, relative } from "node:path/posix";
import { type Mount, mountHolding } from "./mountinfo";
import { isAtOrBelow, selfAndAbove } from "./path";

/**
 * Tells whether one directory lies in another, whatever they are called: through bind mounts, through file
 * systems that are mounted in several places, and through mounts inside the tree.
 *
 * A directory is known by its file system (`major:minor`) and its path in there, which is what device and
 * inode say of it, and says of nested ones too. Paths must be free of links.
 *
 * Source: proc(5) of man-pages 6.03, mountinfo fields 3 to 5.
 */
export class DirectoryTrees {
  constructor(private readonly mounts: readonly Mount[]) {}

  /** Whether two paths lead to one directory. */
  isSame(a: string, b: string): boolean {
    return textOf(this.#placeOf(a)) === textOf(this.#placeOf(b));
  }

  /** Whether `inner` is `outer` or lies somewhere in it. */
  isInside(inner: string, outer: string): boolean {
    return this.#placesAbove(this.#placeOf(inner)).has(textOf(this.#placeOf(outer)));
  }

  #placeOf(path: string): Place {
    const mount = mountHolding(this.mounts, path);
    if (!mount) return { device: "", path };
    return { device: mount.device, path: join(mount.root, relative(mount.mountPoint, path)) };
  }

  /** A directory and all above it: on its own file system, and wherever that is mounted. */
  #placesAbove({ device, path }: Place, places = new Set<string>()): Set<string> {
    for (const above of selfAndAbove(path)) places.add(textOf({ device, path: above }));
    for (const mount of this.mounts) {
      if (mount.device !== device || !isAtOrBelow(path, mount.root) || mount.mountPoint === "/") continue;
      const holder = this.#placeOf(dirname(mount.mountPoint));
      if (!places.has(textOf(holder))) this.#placesAbove(holder, places);
    }
    return places;
  }
}

/** A directory by its file system and its path there. */
interface Place {
  readonly device: string;
  readonly path: string;
}

/** Sample: `8:1 /srv/a`. */
function textOf({ device, path }: Place): string {
  return `${device} ${path}`;
}
