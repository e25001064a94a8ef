"""Counts what is in a tree, for layers/directory/tree/probe.ts: what it prints does not grow with the tree."""

import json
import os
import pwd
import stat

from entry import LONGEST_LINK, opened
from walk import Walk, open_directory, raise_limit

# Sorts of entries that are told apart: a guest can make any number of owners.
MOST_SORTS = 2000
NOBODY = 0xFFFFFFFF
KINDS = {stat.S_IFDIR: "directory", stat.S_IFREG: "file", stat.S_IFLNK: "link"}


class Named:
    """Entries that each matter: how many, and the names of the first five."""

    def __init__(self):
        self.count = 0
        self.names = []

    def add(self, name):
        self.count += 1
        if len(self.names) < 5:
            self.names.append(name.decode("utf-8", "replace"))

    def found(self):
        return {"count": self.count, "names": self.names}


def user_name(uid):
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return ""


def count(deep):
    """`deep`: b"" for what stands in the directory itself. A link whose name is too long to be mapped counts as a special file."""
    raise_limit()
    sorts = {}
    named = {name: Named() for name in ("privileged", "linkedOut", "otherFileSystems", "unreadable")}
    linked = {}
    unreadable = named["unreadable"]
    try:
        root = open_directory(b".", b".")
    except OSError as error:
        unreadable.add(b"'.': " + os.fsencode(error.strerror))
        root = None
    walk = Walk(root, deep != b"", lambda path, why: unreadable.add(b"'%s': %s" % (path, os.fsencode(why)))) if root else ()
    for directory, name, status in walk:
        path = directory.path[2:] + b"/" + name if directory.path != b"." else name
        if status is None:
            named["otherFileSystems"].add(path)
            continue
        mode = status.mode
        kind = KINDS.get(stat.S_IFMT(mode), "special")
        if kind == "link" and len(name) > LONGEST_LINK:
            kind = "special"
        sort = (kind, status.uid, status.gid, kind in ("link", "special") or opened(mode) == mode)
        if sort not in sorts and len(sorts) >= MOST_SORTS:
            sort = (kind, NOBODY, NOBODY, False)
        sorts[sort] = sorts.get(sort, 0) + 1
        if kind != "file":
            continue
        if mode & (stat.S_ISUID | stat.S_ISGID):
            named["privileged"].add(path)
        if status.links > 1:
            linked.setdefault(status.inode, [0, status.links, path])[0] += 1
    for found, links, path in linked.values():
        if found < links:
            named["linkedOut"].add(path)
    users = {uid: user_name(uid) for uid in sorted({uid for _, uid, _, _ in sorts})[:50]}
    entries = [
        {"count": total, "kind": kind, "uid": uid, "gid": gid, "user": users.get(uid, ""), "open": is_open}
        for (kind, uid, gid, is_open), total in sorts.items()
    ]
    print(json.dumps({"entries": entries, **{name: one.found() for name, one in named.items()}}))
