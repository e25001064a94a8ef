"""
The inode snapshot of a tree: what its entries had, a line each, that begins with what the entry is known by.

    6029396:1763877000.123456789 1000 100 81a4 system.posix_acl_access=0x0200...,user.virtfs.uid=0xe8030000

Lines are only ever added, and are on the disk before what they speak of is changed. The first one of an entry stands. Of
a last line without an end its writer was killed, and had changed nothing of what it speaks of.
"""

import fcntl
import mmap
import os
import subprocess

from base import Failure


def write(file, text):
    with open(file, "wb") as new:
        new.write(text)


def read(file):
    try:
        with open(file, "rb") as old:
            return old.read()
    except FileNotFoundError:
        return b""


def remove(file):
    try:
        os.unlink(file)
    except FileNotFoundError:
        pass


class Snapshot:
    """`file.run` says where the lines of the last run begin, for its undo."""

    def __init__(self, file):
        self.file = file
        self.fd = os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        size = self.size()
        while size > 0 and os.pread(self.fd, 1, size - 1) != b"\n":
            size -= 1
        os.ftruncate(self.fd, size)

    def size(self):
        return os.fstat(self.fd).st_size

    def add(self, lines):
        """On the disk when it returns; where that fails, what was written of it goes."""
        # Of several processes that add to it one at a time.
        fcntl.lockf(self.fd, fcntl.LOCK_EX)
        begin = self.size()
        text = memoryview(b"".join(lines))
        try:
            while text:
                text = text[os.write(self.fd, text):]
            os.fsync(self.fd)
        except OSError:
            os.ftruncate(self.fd, begin)
            raise
        finally:
            fcntl.lockf(self.fd, fcntl.LOCK_UN)

    def begin_run(self):
        write(self.file + b".run", b"%d" % self.size())
        # The name of a new file has to be on the disk, too.
        folder = os.open(os.path.dirname(self.file), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        os.fsync(folder)
        os.close(folder)

    def run(self):
        """Where the last run began; None: it was undone, or there was none."""
        begin = read(self.file + b".run")
        return int(begin) if begin else None

    def end_undo(self, begin):
        os.ftruncate(self.fd, begin)
        os.fsync(self.fd)
        remove(self.file + b".run")
        if begin == 0:
            remove(self.file)

    def lookup(self, begin=0, end=None):
        """Of the lines from one offset to another."""
        if begin == 0 and end is None:
            return Lookup(self.file, self.file + b".sorted")
        part = self.file + b".part"
        left = (self.size() if end is None else end) - begin
        with open(self.file, "rb") as lines, open(part, "wb") as copy:
            lines.seek(begin)
            while left > 0:
                left -= copy.write(lines.read(min(left, 1 << 20)))
        try:
            return Lookup(part, part + b".sorted")
        finally:
            remove(part)


class Lookup:
    """Lines sorted by sort(1), and searched where they are on the disk: memory does not grow with the tree."""

    def __init__(self, file, sorted_file):
        folder = os.path.dirname(file)
        order = [b"sort", b"-s", b"-u", b"-t", b" ", b"-k", b"1,1", b"-T", folder, b"-o", sorted_file, b"--", file]
        environment = {"LC_ALL": "C", "PATH": os.environ.get("PATH", os.defpath)}
        try:
            if subprocess.run(order, env=environment, stdin=subprocess.DEVNULL).returncode != 0:
                raise Failure("what the entries had cannot be sorted")
            with open(sorted_file, "rb") as lines:
                is_empty = os.fstat(lines.fileno()).st_size == 0
                self.lines = b"" if is_empty else mmap.mmap(lines.fileno(), 0, prot=mmap.PROT_READ)
        finally:
            remove(sorted_file)
        # A bit for sixteen bytes, for no line is shorter.
        self.done = bytearray(len(self.lines) // 128 + 1)

    def find(self, identity):
        """The words behind an identity, and where their line stands; None: it has none."""
        key = identity + b" "
        low, high = 0, len(self.lines)
        while low < high:
            middle = (low + high) // 2
            start = self.lines.rfind(b"\n", low, middle)
            start = low if start < 0 else start + 1
            end = self.lines.find(b"\n", middle)
            line = self.lines[start:end]
            if line.startswith(key):
                return line[len(key):], start
            if line < key:
                low = end + 1
            else:
                high = start
        return None

    def count(self, part, parts):
        """How many lines are of inodes of a part."""
        total, at = 0, 0
        while at < len(self.lines):
            inode = int(self.lines[at:self.lines.find(b":", at)])
            total += inode % parts == part
            at = self.lines.find(b"\n", at) + 1
        return total

    def is_done(self, start):
        return self.done[start >> 7] & 1 << (start >> 4 & 7) != 0

    def finish(self, start):
        self.done[start >> 7] |= 1 << (start >> 4 & 7)
