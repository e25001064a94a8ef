"""Takes all that is in a tree over for QEMU, and gives it back. layers/directory/tree/takeover.ts says what for."""

import os
import stat
import struct
from functools import partial

from base import MOVED, Failure, escaped, in_parts, progress, tell
from entry import Pinned, identity_of, opened, status_of
from search import Place, hold, search
from snapshot import Snapshot, remove, write
from walk import Walk, open_directory, raise_limit

OWNER = ("user.virtfs.uid", "user.virtfs.gid", "user.virtfs.mode")
LISTS = ("system.posix_acl_access", "system.posix_acl_default")
CAPABILITY = "security.capability"
# Attributes that change with owner and mode, or that a guest changes (drivers/ninep/attributes.ts). Others have names of
# anybody's choice.
KEPT = {*OWNER, *LISTS, *("user.virtfs." + name for name in LISTS), "user.virtfs.rdev", CAPABILITY}
SETID = stat.S_ISUID | stat.S_ISGID


def show(pinned, uid, gid, mode, had, has):
    """
    Writes what of `user.virtfs.*` lets a guest see what an entry had, but for what is there already.

    The group's bits of an entry with an access list are its mask; what the group may do is in the list (ACL_GROUP_OBJ of
    Linux 6.1 include/uapi/linux/posix_acl.h), and no more than the mask.
    """
    for at in range(4, len(had.get(LISTS[0], b"")), 8):
        tag, allowed = struct.unpack_from("<HH", had[LISTS[0]], at)
        if tag == 4:
            mode &= ~0o70 | allowed << 3
    for name, value in zip(OWNER, (uid, gid, mode)):
        if name not in has:
            os.setxattr(pinned.at, name, value.to_bytes(4, "little"))


def attributes_of(pinned, names):
    """Those of these that it has: {"user.virtfs.uid": b"\\xe8\\x03\\0\\0"}."""
    return {name: os.getxattr(pinned.at, name) for name in os.listxattr(pinned.at) if name in names}


class Taker:
    """
    Whom a tree is taken over for, as words: `uid=64055 gid=64055 keep open strip`. An owner that is not among them is
    left as it is. `keep`: the guest goes on seeing what entries had; `open`: their owner must be able to use them;
    `strip`: setuid, setgid and capabilities may go.
    """

    def __init__(self, words):
        ids = dict(word.split("=") for word in words if "=" in word)
        self.uid = int(ids.get("uid", -1))
        self.gid = int(ids.get("gid", -1))
        self.keep, self.open, self.strip = (word in words for word in ("keep", "open", "strip"))

    def owns(self, status):
        return self.uid in (-1, status.uid) and self.gid in (-1, status.gid)

    def is_done(self, status):
        return self.owns(status) and (not self.open or not is_kept(status) or opened(status.mode) == status.mode)

    def change(self, pinned):
        """chown(2) takes privileges of a file, so the mode is what is left of it."""
        os.chown(pinned.at, self.uid, self.gid)
        if self.open and opened(pinned.status.mode) != pinned.status.mode:
            os.chmod(pinned.at, stat.S_IMODE(opened(status_of(pinned.fd).mode)))


def is_kept(status):
    """Directories and plain files: nothing else takes user attributes (xattr(7) of man-pages 6.03)."""
    return stat.S_ISREG(status.mode) or stat.S_ISDIR(status.mode)


class Taking:
    """
    One walk, in which as many entries as can be held are looked at, written down, and only then changed. Without a
    snapshot nothing is written down, and links and special files go along.
    """

    def __init__(self, taker, snapshot, part):
        self.taker = taker
        self.part = part
        self.snapshot = snapshot
        self.held = []
        self.most = min(8000, raise_limit() // 2)
        self.stripped = set()

    def walk(self):
        """Whether something moved, which is met the next time."""
        walk = Walk(open_directory(b".", b"."), part=self.part)
        for directory, name, status in walk:
            if status is None or self.taker.is_done(status):
                continue
            if is_kept(status):
                self.look_at(Place(directory, name), walk, status)
            elif not self.snapshot:
                self.change_link(directory, name, walk)
            if len(self.held) >= self.most:
                self.carry_out()
        self.carry_out()
        return walk.moved

    def change_link(self, directory, name, walk):
        try:
            os.chown(name, self.taker.uid, self.taker.gid, dir_fd=directory.fd, follow_symlinks=False)
        except OSError as error:
            if error.errno not in MOVED:
                raise
            walk.moved = True

    def look_at(self, place, walk, status):
        pinned = hold(place, walk, status)
        if pinned and is_kept(pinned.status):
            pinned.found = attributes_of(pinned, KEPT)
            self.held.append(pinned)

    def carry_out(self):
        self.give_up_privileges()
        if self.snapshot:
            self.snapshot.add(map(line_of, self.held))
        for pinned in self.held:
            try:
                if self.snapshot and self.taker.keep:
                    status = pinned.status
                    show(pinned, status.uid, status.gid, status.mode, pinned.found, pinned.found)
                self.taker.change(pinned)
            except OSError as error:
                raise OSError(error.errno, error.strerror, escaped(pinned.path))
            progress.step()
            pinned.close()
        self.held = []

    def give_up_privileges(self):
        lost = [one for one in self.held if is_privileged(one)]
        if lost and not self.taker.strip:
            names = b"\n".join(escaped(one.path) for one in lost[:5])
            raise Failure("these have setuid, setgid or capabilities:\n" + os.fsdecode(names))
        if not self.snapshot or not self.taker.strip:
            return
        with open(self.snapshot.file + b".privileged", "ab") as file:
            for one in lost:
                if one.status.inode not in self.stripped:
                    file.write(escaped(one.path) + b"\n")
                if one.status.links > 1:
                    self.stripped.add(one.status.inode)


def is_privileged(pinned):
    return stat.S_ISREG(pinned.status.mode) and pinned.status.mode & SETID != 0 or CAPABILITY in pinned.found


def line_of(pinned):
    status = pinned.status
    had = ",".join("%s=0x%s" % (name, value.hex()) for name, value in pinned.found.items()) or "-"
    return b"%s %d %d %x %s\n" % (identity_of(status), status.uid, status.gid, status.mode, had.encode())


def parse(words):
    """Of a line, what is behind the identity: uid, gid, st_mode in hexadecimal, attributes."""
    uid, gid, mode, had = words.split(b" ", 3)
    if had == b"-":
        return int(uid), int(gid), int(mode, 16), {}
    pairs = (pair.partition("=") for pair in had.decode().split(","))
    return int(uid), int(gid), int(mode, 16), {name: bytes.fromhex(value[2:]) for name, _, value in pairs}


def take(file, *words):
    """What fails on the way is taken back. Killed on the way, it is finished by the next run."""
    taker = Taker([word.decode() for word in words])
    snapshot = Snapshot(file)
    is_shown = snapshot.size() == 0 or os.path.exists(file + b".view")
    snapshot.begin_run()
    if not taker.keep:
        remove(file + b".view")
    try:
        in_parts(partial(take_all, taker, snapshot))
        if taker.keep:
            if not is_shown:
                in_parts(partial(search, snapshot.lookup(), show_again))
            write(file + b".view", b"")
    except BaseException:
        try:
            undo(file)
        except (Failure, OSError) as error:
            tell(b"what was taken over could not be taken back: " + os.fsencode(str(error)))
        raise


def take_for_good(*words):
    """Owners and modes go, of the directory itself too, and nothing is kept of them."""
    taker = Taker([word.decode() for word in words])
    in_parts(partial(take_all, taker, None))
    root = open_directory(b".", b".")
    with Pinned(root.fd, b".", b".") as pinned:
        taker.change(pinned)


def take_all(taker, snapshot, part):
    for _ in range(3):
        if not Taking(taker, snapshot, part).walk():
            return


def show_again(_, pinned, words):
    """Of what was written down by a run that let the guest see nothing of it."""
    uid, gid, mode, had = parse(words)
    show(pinned, uid, gid, mode, had, attributes_of(pinned, KEPT))


def restore(file, *with_root):
    """What was taken over gets everything back that it had, but privileges; what was made later stays as it is."""
    in_parts(partial(search, Snapshot(file).lookup(), give_back, with_root=with_root != ()))


def undo(file):
    """Takes back what the last run took over, and nothing that an earlier one did."""
    snapshot = Snapshot(file)
    begin = snapshot.run()
    if begin is None:
        return
    earlier = snapshot.lookup(0, begin)

    def give_back_late(place, pinned, words):
        if not earlier.find(identity_of(pinned.status)):
            give_back(place, pinned, words)

    in_parts(partial(search, snapshot.lookup(begin), give_back_late))
    if begin == 0:
        for end in (b".view", b".privileged"):
            remove(file + end)
    snapshot.end_undo(begin)


def give_back(_, pinned, words):
    uid, gid, mode, had = parse(words)
    now = pinned.status.uid, pinned.status.gid, pinned.status.mode
    # A guest may have written what it made setuid itself: no file gets it back, and what nobody touched keeps it.
    if stat.S_ISREG(mode) and (uid, gid, mode) != now:
        mode &= ~SETID
    has = os.listxattr(pinned.at)
    kept = {name: os.getxattr(pinned.at, name) for name in has if name in had or name in LISTS}
    changes = (uid, gid, mode) != now or any(kept.get(name) != had.get(name) for name in LISTS)
    for name in has:
        if name in KEPT and name not in had and name != CAPABILITY:
            os.removexattr(pinned.at, name)
    if changes:
        os.chown(pinned.at, uid, gid)
        os.chmod(pinned.at, stat.S_IMODE(mode))
    for name, value in had.items():
        if name != CAPABILITY and (kept.get(name) != value or changes and name in LISTS):
            os.setxattr(pinned.at, name, value)
