"""
Symbolic links of the host's made what a guest's own links are, and back. layers/directory/tree/symlinks.ts says why.

A line of the snapshot is what a link was, by the plain file in its place: owner, time, and target, in which blanks stand as
octal digits, too: `6029396:1763877000.123456789 0:0 1763877000.1234567890 ../a\\040b`.

Link and file change places in one system call (RENAME_EXCHANGE of renameat2(2)), and what comes out is looked at before it
goes: what somebody put there in between is put back.
"""

import os
import stat
from itertools import chain

from base import MOVED, Failure, escaped, progress, tell, unescaped
from entry import LONGEST_LINK, RENAME_EXCHANGE, RENAME_NOREPLACE, identity_of, rename, status_of
from search import Place, search
from snapshot import Snapshot, read, remove, write
from walk import Walk, open_directory, raise_limit

# S_IFLNK and all permissions, as QEMU writes it for a guest's link (hw/9pfs/9p-local.c `local_symlink`, 7.2).
MODE_OF_LINK = 0o120777


class Marked:
    """
    Names that this run makes beside others: `NAME.0123abcd~v9p`. The mark is in `file.suffix` for as long as there may be
    such names, and in `file.times` when the directory that is being worked in was last changed.
    """

    def __init__(self, file):
        self.file = file
        self.mark = b".%s~v9p" % os.urandom(4).hex().encode()
        write(file + b".suffix", self.mark)

    def beside(self, name):
        return name[:LONGEST_LINK] + self.mark

    def keep_time(self, directory):
        """What gives it back: to put another thing in a name changes it."""
        status = status_of(directory.fd)
        time = status.changed * 10**9 + status.changed_ns
        write(self.file + b".times", b"%s %d\n" % (identity_of(status), time))
        return lambda: os.utime(directory.fd, ns=(time, time))

    def end(self):
        remove(self.file + b".suffix")
        remove(self.file + b".times")


def exchange(directory, staged, name, meant):
    """
    Puts what is staged in the place of `name`, where what comes out is what was meant; else nothing changes. What is
    left in the staged name goes, where it is what was meant or what was staged: where somebody replaced both in between,
    it stays.
    """
    ours = identity_of(status_of(directory.fd, staged))
    try:
        rename(directory.fd, staged, name, RENAME_EXCHANGE)
    except OSError as error:
        os.unlink(staged, dir_fd=directory.fd)
        if error.errno in MOVED:
            return
        raise
    if identity_of(status_of(directory.fd, staged)) != identity_of(meant):
        rename(directory.fd, staged, name, RENAME_EXCHANGE)
        if identity_of(status_of(directory.fd, staged)) != ours:
            rename(directory.fd, staged, name, RENAME_EXCHANGE)
            return
    os.unlink(staged, dir_fd=directory.fd)


class Mapping:
    """One walk: links are read, and what is to take their places is made beside them and written down, before any does."""

    def __init__(self, snapshot, marked, uid, gid):
        self.snapshot = snapshot
        self.marked = marked
        self.owner = uid, gid
        self.links = []
        self.most = min(1000, raise_limit() // 4)

    def walk(self):
        walk = Walk(open_directory(b".", b"."))
        for directory, name, status in walk:
            if status is None or not stat.S_ISLNK(status.mode) or len(name) > LONGEST_LINK:
                continue
            if self.links and self.links[0][0].directory is not directory or len(self.links) >= self.most:
                self.carry_out()
            self.links.append((Place(directory, name), status))
        self.carry_out()

    def carry_out(self):
        """Of one directory."""
        links, self.links = self.links, []
        if not links:
            return
        directory = links[0][0].directory
        give_time = self.marked.keep_time(directory)
        staged = []
        try:
            lines = []
            for place, status in links:
                line = self.stage(place, status)
                if line:
                    staged.append((place, status))
                    lines.append(line)
            self.snapshot.add(lines)
            while staged:
                place, status = staged[-1]
                exchange(directory, self.marked.beside(place.name), place.name, status)
                staged.pop()
        finally:
            for place, _ in staged:
                remove_in(directory, self.marked.beside(place.name))
            give_time()

    def stage(self, place, status):
        """A plain file beside the link, with its target; the line for it. None: the link is gone."""
        progress.step()
        directory, name = place.directory, self.marked.beside(place.name)
        try:
            target = os.readlink(place.name, dir_fd=directory.fd)
        except OSError as error:
            if error.errno in MOVED:
                return None
            raise
        try:
            file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=directory.fd)
            try:
                os.write(file, target)
                for what, value in (("uid", status.uid), ("gid", status.gid), ("mode", MODE_OF_LINK)):
                    os.setxattr(file, "user.virtfs." + what, value.to_bytes(4, "little"))
                os.fchown(file, *self.owner)
                identity = identity_of(status_of(file))
            finally:
                os.close(file)
        except OSError as error:
            remove_in(directory, name)
            raise OSError(error.errno, error.strerror, escaped(place.path))
        text = escaped(target).replace(b" ", b"\\040")
        return b"%s %d:%d %d.%09d0 %s\n" % (identity, status.uid, status.gid, status.changed, status.changed_ns, text)


def remove_in(directory, name):
    try:
        os.unlink(name, dir_fd=directory.fd)
    except FileNotFoundError:
        pass


def map_links(file, uid, gid):
    snapshot = Snapshot(file)
    settle(snapshot)
    snapshot.begin_run()
    marked = Marked(file)
    try:
        Mapping(snapshot, marked, int(uid), int(gid)).walk()
    except BaseException:
        try:
            undo_links(file)
        except (Failure, OSError) as error:
            tell(b"the links could not be made again: " + os.fsencode(str(error)))
        raise
    marked.end()
    if snapshot.size() == 0:
        snapshot.end_undo(0)


def undo_links(file):
    """Makes those again that the last run mapped."""
    snapshot = Snapshot(file)
    begin = snapshot.run()
    if begin is None:
        return
    settle(snapshot)
    make_again(snapshot, snapshot.lookup(begin))
    snapshot.end_undo(begin)


def restore_links(file):
    """Of those that are still there; where the guest removed one, or put another thing in its place, that stays."""
    snapshot = Snapshot(file)
    settle(snapshot)
    make_again(snapshot, snapshot.lookup())


def make_again(snapshot, lookup):
    marked = Marked(snapshot.file)

    def make(place, pinned, words):
        owner, time, target = words.split(b" ", 2)
        uid, gid = map(int, owner.split(b":"))
        seconds, _, parts = time.partition(b".")
        changed = int(seconds) * 10**9 + int(parts[:9])
        directory, staged = place.directory, marked.beside(place.name)
        give_time = marked.keep_time(directory)
        try:
            os.symlink(unescaped(target.replace(b"\\040", b" ")), staged, dir_fd=directory.fd)
            try:
                os.chown(staged, uid, gid, dir_fd=directory.fd, follow_symlinks=False)
                os.utime(staged, ns=(changed, changed), dir_fd=directory.fd, follow_symlinks=False)
            except OSError:
                remove_in(directory, staged)
                raise
            exchange(directory, staged, place.name, pinned.status)
        finally:
            give_time()
        # Another name of it, or the one that it has by now, is found by the next walk.
        if status_of(pinned.fd).links > 0:
            raise FileNotFoundError(2, "moved")

    search(lookup, make)
    marked.end()


def settle(snapshot):
    """What a killed run left in the directory that it was at: its names go, or what is in one back to where it was."""
    mark = read(snapshot.file + b".suffix")
    if not mark:
        return
    identity, _, time = read(snapshot.file + b".times").partition(b" ")
    lookup = snapshot.lookup()
    walk = Walk(open_directory(b".", b"."))
    left, changed = [], []
    for directory, name, status in chain([(walk.root, b".", walk.status)], walk):
        # Those of 0.1.0 begin with it, too.
        if name.endswith(mark) or name.startswith(mark + b"."):
            left.append((directory, name))
        elif status and identity_of(status) == identity:
            changed.append((directory, name))
    for directory, name in left:
        if name.endswith(mark):
            put_back(directory, name, name[: -len(mark)], lookup)
        else:
            remove_in(directory, name)
    for directory, name in changed:
        os.utime(name, ns=(int(time), int(time)), dir_fd=directory.fd, follow_symlinks=False)
    remove(snapshot.file + b".suffix")
    remove(snapshot.file + b".times")


def put_back(directory, staged, name, lookup):
    """Of an exchange that may have been in the middle."""
    beside, there = status_in(directory, staged), status_in(directory, name)
    is_ours, has_ours = (one is not None and lookup.find(identity_of(one)) is not None for one in (beside, there))
    if not beside:
        return
    if not there:
        # A name of 255 bytes was cut off.
        if len(staged) < 255:
            rename(directory.fd, staged, name, RENAME_NOREPLACE)
    elif is_ours or stat.S_ISLNK(beside.mode) or is_copy(directory, staged, name, beside, there):
        os.unlink(staged, dir_fd=directory.fd)
    elif has_ours:
        rename(directory.fd, staged, name, RENAME_EXCHANGE)
        os.unlink(staged, dir_fd=directory.fd)


def status_in(directory, name):
    try:
        return status_of(directory.fd, name)
    except FileNotFoundError:
        return None


def is_copy(directory, staged, name, beside, there):
    """Whether the one is a plain file that holds the target of the other, or was about to: it is not written down."""
    if not stat.S_ISREG(beside.mode) or not stat.S_ISLNK(there.mode):
        return False
    file = os.open(staged, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory.fd)
    try:
        return os.readlink(name, dir_fd=directory.fd).startswith(os.read(file, 1 << 16))
    finally:
        os.close(file)
