"""What SELinux labels the entries of a tree had, and back. A line is `6029396:1763877000.123456789 system_u:object_r:var_t:s0`."""

import os

from base import escaped
from entry import identity_of
from search import Place, hold, search
from snapshot import Snapshot, read, remove
from walk import Walk, open_directory, raise_limit

LABEL = "security.selinux"
MOST_LINES = 10000


def label_of(pinned):
    return os.getxattr(pinned.at, LABEL).rstrip(b"\0")


def write_down(file, deep):
    """Of the directory, and `deep` of all in it. What shares inside of it had found, in `file.inner`, stands before that."""
    raise_limit()
    snapshot = Snapshot(file)
    snapshot.add([read(file + b".inner")])
    remove(file + b".inner")
    lines = []
    walk = Walk(open_directory(b".", b"."))
    for place, status in places_in(walk, deep != b""):
        pinned = hold(place, walk, status)
        if not pinned:
            continue
        with pinned:
            try:
                lines.append(b"%s %s\n" % (identity_of(pinned.status), label_of(pinned)))
            except OSError as error:
                raise OSError(error.errno, error.strerror, escaped(place.path))
        if len(lines) >= MOST_LINES:
            snapshot.add(lines)
            lines = []
    snapshot.add(lines)


def places_in(walk, deep):
    yield Place(walk.root, b"."), walk.status
    if deep:
        yield from ((Place(directory, name), status) for directory, name, status in walk if status is not None)


def give_labels(file, deep, *smaller):
    """Not in directories of `smaller`, which are other shares', by their path in the tree."""

    def give(_, pinned, words):
        if label_of(pinned) != words:
            os.setxattr(pinned.at, LABEL, words + b"\0")

    skipped = {b"./" + path for path in smaller}
    search(Snapshot(file).lookup(), give, with_root=True, skipped=skipped, deep=deep != b"")
