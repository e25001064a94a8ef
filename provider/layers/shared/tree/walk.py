"""Everything in a directory, by descriptors: no link is followed, and no other file system or mount is entered."""

import os
import resource
import stat

from base import MOVED, escaped, progress, unescaped
from entry import device_of, status_of


def raise_limit():
    """As many open descriptors as the machine allows (getrlimit(2)): one is needed for each level, and for each held entry."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most if most != resource.RLIM_INFINITY else 1 << 20


class Directory:
    """An open directory, closed when nobody has it any more. `path` begins with b"."."""

    __slots__ = ("fd", "path")

    def __init__(self, fd, path):
        self.fd = fd
        self.path = path

    def __del__(self):
        os.close(self.fd)


def open_directory(name, path, parent=None):
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    return Directory(os.open(name, flags, dir_fd=parent), path)


def mounts_in(root):
    """
    Names of mount points in the tree, such as {b"./a/b"}: what lies under one is seen by nobody, and what is mounted is
    another tree. Of /proc/self/mountinfo (proc(5)). Where the tree was bound to its own place (remote/shell/no-symlinks.ts),
    that hides what is mounted in the mount below.
    """
    mounts = {}
    with open("/proc/self/mountinfo", "rb") as lines:
        for line in lines:
            number, parent, device, top, point = line.split()[:5]
            mounts[number] = (parent, device, unescaped(top), unescaped(point.replace(b"\\040", b" ").replace(b"\\011", b"\t")))
    with open("/proc/self/fdinfo/%d" % root.fd, "rb") as lines:
        own = next(line.split()[1] for line in lines if line.startswith(b"mnt_id:"))
    path = os.readlink(b"/proc/self/fd/%d" % root.fd)
    below = path.rstrip(b"/") + b"/"
    parents = {own}
    if own in mounts:
        parent, device, top, point = mounts[own]
        under = mounts.get(parent)
        if under and point == path and under[1] == device:
            within = os.path.join(under[2], os.path.relpath(path, under[3]))
            if os.path.normpath(within) == top:
                parents.add(parent)
    return {b"./" + point[len(below):] for parent, _, _, point in mounts.values() if parent in parents and point.startswith(below)}


class Walk:
    """
    One walk: an iterator of (directory, name, status). The status is None where another file system begins, and of what
    is `skipped`; a mount point is not even looked at.

    `part` of `parts` has the entries whose inode is that, modulo `parts`.

    `moved` says afterwards that something was renamed or removed meanwhile. Another error is raised, or given to
    `unreadable`.
    """

    def __init__(self, root, deep=True, unreadable=None, skipped=(), part=(0, 1)):
        self.root = root
        self.deep = deep
        self.unreadable = unreadable
        self.moved = False
        self.part, self.parts = part
        self.skipped = mounts_in(root).union(skipped)
        self.status = status_of(root.fd)
        self.device = device_of(self.status)

    def __iter__(self):
        open_ones = [(self.root, self.names(self.root))]
        while open_ones:
            directory, names = open_ones[-1]
            for name, is_mine in names:
                progress.step()
                path = directory.path + b"/" + name
                if path in self.skipped:
                    yield directory, name, None
                    continue
                try:
                    status = status_of(directory.fd, name)
                except OSError as error:
                    self.failed(error, path)
                    continue
                if device_of(status) != self.device:
                    yield directory, name, None
                    continue
                if is_mine:
                    yield directory, name, status
                if self.deep and stat.S_ISDIR(status.mode):
                    inner = self.entered(directory, name, path)
                    if inner:
                        open_ones.append((inner, self.names(inner)))
                        break
            else:
                open_ones.pop()

    def names(self, directory):
        try:
            with os.scandir(directory.fd) as entries:
                for entry in entries:
                    is_mine = entry.inode() % self.parts == self.part
                    if is_mine or entry.is_dir(follow_symlinks=False):
                        yield os.fsencode(entry.name), is_mine
        except OSError as error:
            self.failed(error, directory.path)

    def entered(self, directory, name, path):
        try:
            inner = open_directory(name, path, directory.fd)
            # What was put in its place since may be where something else is mounted.
            if device_of(status_of(inner.fd)) == self.device:
                return inner
            self.moved = True
        except OSError as error:
            self.failed(error, path)
        return None

    def failed(self, error, path):
        if error.errno in MOVED:
            self.moved = True
        elif self.unreadable:
            self.unreadable(path, error.strerror)
        else:
            raise OSError(error.errno, error.strerror, escaped(path))
