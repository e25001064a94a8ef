"""Finds the entries of a tree that a snapshot speaks of, whatever they are called by now."""

import os
import stat

from base import MOVED, Failure, escaped, tell
from entry import Pinned, identity_of
from walk import Walk, open_directory, raise_limit


class Place:
    """Where an entry was found."""

    __slots__ = ("directory", "name", "path")

    def __init__(self, directory, name):
        self.directory = directory
        self.name = name
        self.path = directory.path + b"/" + name if name != b"." else directory.path


def hold(place, walk, status):
    """The entry of a place; None: it is not there any more."""
    is_readable = stat.S_ISREG(status.mode) or stat.S_ISDIR(status.mode)
    try:
        return Pinned(place.directory.fd, place.name, place.path, is_readable)
    except OSError as error:
        if error.errno not in MOVED:
            raise OSError(error.errno, error.strerror, escaped(place.path))
        walk.moved = True
        return None


def entries_in(lookup, walk, with_root):
    """Those of a walk that a line speaks of, and that are not done with: where, held, the line's words, where it stands."""
    places = ((Place(directory, name), status) for directory, name, status in walk if status is not None)
    if with_root and walk.status.inode % walk.parts == walk.part:
        yield from found_at(lookup, Place(walk.root, b"."), walk.status, walk)
    for place, status in places:
        yield from found_at(lookup, place, status, walk)


def found_at(lookup, place, status, walk):
    identity = identity_of(status)
    found = lookup.find(identity)
    if not found or lookup.is_done(found[1]):
        return
    pinned = hold(place, walk, status)
    if not pinned:
        return
    with pinned:
        if identity_of(pinned.status) == identity:
            yield (place, pinned, *found)
        else:
            walk.moved = True


def search(lookup, act, part=(0, 1), with_root=False, skipped=(), deep=True):
    """
    `act` on each of them, until all are found, or what is not found is gone: as several walks say that agree, and meet
    nothing that moves, four where something did before: a walk may miss without a word what is moved right then. What
    is not known to be gone must not be forgotten. Where it cannot act on some, it acts on the others all the same.
    """
    raise_limit()
    left = lookup.count(*part)
    agreed, enough, turns = 0, 2, 0
    while left > 0 and agreed < enough:
        turns += 1
        if turns > 10:
            raise Failure("the tree does not hold still: not all in it could be found")
        walk = Walk(open_directory(b".", b"."), deep, skipped=skipped, part=part)
        found = act_on_all(lookup, walk, act, with_root)
        left -= found
        if walk.moved:
            agreed, enough = 0, 4
        else:
            agreed = agreed + 1 if found == 0 else 1


def act_on_all(lookup, walk, act, with_root):
    """How many there were; tells ten of those on which it could not act."""
    done, failed = 0, 0
    for place, pinned, words, start in entries_in(lookup, walk, with_root):
        try:
            act(place, pinned, words)
            lookup.finish(start)
            done += 1
        except OSError as error:
            if error.errno in MOVED:
                walk.moved = True
                continue
            failed += 1
            if failed <= 10:
                tell(escaped(place.path) + b": " + os.fsencode(error.strerror))
    if failed > 0:
        raise Failure("")
    return done
