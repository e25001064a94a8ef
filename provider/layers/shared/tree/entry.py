"""An entry of a tree, held by a descriptor: what is done to it is done to that inode, whatever its name leads to by now."""

import ctypes
import os
import stat
import struct
from collections import namedtuple

libc = ctypes.CDLL(None, use_errno=True)

AT_SYMLINK_NOFOLLOW = 0x100
AT_NO_AUTOMOUNT = 0x800
AT_EMPTY_PATH = 0x1000
STATX_BASIC_STATS_AND_BTIME = 0xFFF
STATX_BTIME = 0x800
RENAME_NOREPLACE = 1
RENAME_EXCHANGE = 2
# Bytes of a link's name that leave room for the mark of a mapping (NAME_MAX of limits.h, Linux 6.1).
LONGEST_LINK = 255 - len(".0123abcd~v9p")

# struct statx (Linux 6.1 include/uapi/linux/stat.h): mask, nlink, uid, gid, mode, inode, birth, change of content, device.
LAYOUT = struct.Struct("=I12xIIIH2xQ24x16xqI4x16xqI4x8xII")
Status = namedtuple("Status", "mask links uid gid mode inode born born_ns changed changed_ns major minor")
buffer = ctypes.create_string_buffer(256)


def status_of(directory, name=b""):
    """What statx(2) says of a name in a directory, which is not followed; without a name, of the descriptor itself."""
    flags = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | (0 if name else AT_EMPTY_PATH)
    if libc.statx(directory, name, flags, STATX_BASIC_STATS_AND_BTIME, buffer) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), name)
    return Status._make(LAYOUT.unpack_from(buffer))


def identity_of(status):
    """By what an entry is known: inode and time of birth. Sample: b"6029396:1763877000.123456789" (remote/shell/inode.ts)."""
    if status.mask & STATX_BTIME == 0:
        return b"%d:0.000000000" % status.inode
    return b"%d:%d.%09d" % (status.inode, status.born, status.born_ns)


def device_of(status):
    return (status.major, status.minor)


def opened(mode):
    """`u+rwX`."""
    runs = stat.S_ISDIR(mode) or mode & 0o111
    return mode | (0o700 if runs else 0o600)


def rename(directory, name, to, how):
    """renameat2(2) within one directory."""
    if libc.renameat2(directory, name, directory, to, how) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), to)


class Pinned:
    """
    An entry that is held. `path` is for a person: where it was when it was found. `at` is what system calls are given: a
    descriptor, or a path in /proc, from which the kernel goes to the inode itself (proc(5)).
    """

    __slots__ = ("fd", "at", "path", "status", "found")

    def __init__(self, directory, name, path, is_readable=True):
        self.fd = -1
        self.fd, self.at = open_entry(directory, name, is_readable)
        self.path = path
        self.status = status_of(self.fd)
        self.found = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def open_entry(directory, name, is_readable):
    """
    What is not `is_readable` is no plain file or directory, and is not really opened. What has come in the place of one is
    not either: devices cannot be, on the mount that a tree is worked on (remote/shell/no-symlinks.ts).
    """
    if is_readable:
        try:
            fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC, dir_fd=directory)
            return fd, fd
        except BlockingIOError:
            # A program, such as smbd(8), holds a lease on it (fcntl(2)).
            pass
    fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    return fd, b"/proc/self/fd/%d" % fd
