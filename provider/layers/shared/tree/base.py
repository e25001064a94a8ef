"""What every part of the tree helper uses: its errors, its signs of progress, and names as text."""

import errno
import os
import sys
import time
import traceback

# How a system call ends for an entry that somebody renames or removes at that moment.
MOVED = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENODATA, errno.ESTALE}

ESCAPED = ((b"\\", b"\\134"), (b"\n", b"\\012"), (b"\r", b"\\015"))


class Failure(Exception):
    """What went wrong, in the operator's words; layers/directory/tree/failures.ts gives some of them a code."""


def escaped(name):
    """A name as it stands in a line. Sample: b"a\\nb" is b"a\\\\012b"."""
    for byte, digits in ESCAPED:
        name = name.replace(byte, digits)
    return name


def unescaped(text):
    for byte, digits in reversed(ESCAPED):
        text = text.replace(digits, byte)
    return text


def tell(text):
    if not text:
        return
    sys.stderr.buffer.write(text + b"\n")
    sys.stderr.buffer.flush()


class Progress:
    """Signs of progress for the engine, its watch, and whoever waits for the lock (engine/lock.ts)."""

    def __init__(self, every=5.0):
        self.count = 0
        self.every = every
        self.next = time.monotonic() + every

    def step(self):
        self.count += 1
        if self.count % 500 == 0 and time.monotonic() >= self.next:
            self.show()

    def show(self):
        self.next = time.monotonic() + self.every
        tell(b"\n%s at %d" % (os.environb.get(b"mark", b""), self.count))
        for name, text in ((b"lock", b""), (b"signs", b"\n")):
            file = os.environb.get(name)
            if not file:
                continue
            try:
                with open(file, "wb") as sign:
                    sign.write(text)
            except OSError:
                # A full disk is no reason to stop.
                pass


progress = Progress()


def in_parts(work):
    """
    Calls it with (part, parts) in as many processes as there are processors, four at most. Each has its part of the inodes
    of a tree. Where one fails the others go on, and then all have failed.
    """
    parts = min(len(os.sched_getaffinity(0)), 4)
    children = []
    for part in range(1, parts):
        child = os.fork()
        if child == 0:
            os._exit(failures_of(work, (part, parts)))
        children.append(child)
    failed = failures_of(work, (0, parts))
    for child in children:
        failed |= os.waitpid(child, 0)[1]
    if failed:
        raise Failure("")


def failures_of(command, *args):
    """1, and what went wrong on the error output; else 0."""
    try:
        command(*args)
        return 0
    except Failure as failure:
        tell(os.fsencode(str(failure)))
    except OSError as error:
        # A descriptor is no name.
        name = os.fsencode(error.filename) if isinstance(error.filename, (str, bytes)) else b""
        tell(b": ".join(filter(None, (name, os.fsencode(error.strerror)))))
    except Exception:
        tell(traceback.format_exc().encode())
    return 1


def run(command):
    sys.exit(failures_of(command, *map(os.fsencode, sys.argv[1:])))
