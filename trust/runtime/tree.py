"""Owns the writing of layers into a directory tree, one entry after the other, none of them outside it.

What every entry meets:
  1. its parent is found by ``walk``, links followed inside the root, missing directories made
  2. what stands in its place is taken away, never written through: links, hard-linked files, other kinds
  3. it is made anew and exclusively, by one name in an open directory
  4. owner, then mode, then capabilities, then time: each would undo the ones after it

Whiteouts hide what lower layers brought, never what their own layer brings, in whatever order it comes. Device
nodes are left out: a container gets its own ``/dev``. Setuid bits are kept for root, since containers run with
``no_new_privs``, which takes their effect, below a directory that no other user can enter; an ordinary user
keeps none, and no owners but himself. Source: OCI image-spec 1.1 "Image Layer Filesystem Changeset".
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import suppress

from trust.errors import InputError
from trust.runtime.files import FileWriter, dress, mode_of
from trust.runtime.tar import Entry, Kind, split_path
from trust.runtime.walk import Directory, Root

Parts = tuple[bytes, ...]

WHITEOUT = b".wh."
OPAQUE = b".wh..wh..opq"
_AUFS = b".wh..wh."  # what AUFS kept for itself and old images still carry

_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_DEFAULT_MODE = 0o755


def holds_content(entry: Entry) -> bool:
    """Tell whether ``entry`` makes a file, and so has content that is kept."""
    return entry.kind is Kind.FILE and bool(entry.path) and not entry.path[-1].startswith(WHITEOUT)


class Tree:
    """A tree being written below ``root``; what is taken away goes to ``removed``, on the same file system.

    ``privileged``: owners, setuid bits and capabilities are applied. ``writer`` fills the files that are made.
    """

    def __init__(self, root: Root, *, removed: Root, privileged: bool, writer: FileWriter) -> None:
        self._root = root
        self._removed = removed
        self._removed_count = 0
        self._privileged = privileged
        self._files = writer
        self._written: set[Parts] = set()
        self._mtimes: dict[Parts, int] = {(): 0}
        self._parent: tuple[Parts, Directory] | None = None

    def begin_layer(self) -> None:
        """Begin the next higher layer: what is there now, its whiteouts may hide."""
        self._written.clear()

    def add(self, entry: Entry, body: Iterator[memoryview]) -> None:
        """Have ``entry`` in the tree, or what it hides no longer there.

        Raises:
            InputError: the entry contradicts itself or what is there.
            OSError: it cannot be written.
        """
        if not entry.path:
            self._add_root(entry)
            return
        parent, name = self._enter(entry.path[:-1]), entry.path[-1]
        if name.startswith(WHITEOUT):
            self._whiteout(parent, name)
            return
        if entry.kind in (Kind.CHARACTER_DEVICE, Kind.BLOCK_DEVICE):
            return
        path = (*parent.path, name)
        self._note(path)
        match entry.kind:
            case Kind.DIRECTORY:
                self._add_directory(parent, path, entry)
            case Kind.HARD_LINK:
                self._add_hard_link(parent, path, entry)
            case Kind.FILE:
                self._add_file(parent, path, entry, body)
            case _:
                self._add_node(parent, path, entry)

    def link(self, entry: Entry, place_fd: int, name: bytes, *, inode: int) -> None:
        """Have the file ``entry`` as one more name of ``name`` in the open directory, which is the file ``inode``.

        Raises:
            OSError: it cannot be linked, or is another file.
        """
        parent = self._enter(entry.path[:-1])
        own = entry.path[-1]
        self._note((*parent.path, own))
        self._take_away_if_there(parent.fd, own)
        os.link(name, own, src_dir_fd=place_fd, dst_dir_fd=parent.fd, follow_symlinks=False)
        if os.stat(own, dir_fd=parent.fd, follow_symlinks=False).st_ino != inode:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), name)

    def make_directories(self, parts: Parts) -> None:
        """Have a directory at ``parts``, links followed inside the root; what is missing belongs to root."""
        self._root.directory(parts, make=self._make_parent).close()

    def finish(self) -> None:
        """Have the directories' times as the layers say; nothing is added after this."""
        self._leave()
        for path, mtime_ns in self._mtimes.items():
            place = self._root.exact(path)
            if place is not None:  # else a later layer put something else there
                with place:
                    os.utime(place.fd, ns=(mtime_ns, mtime_ns))

    def _enter(self, parts: Parts) -> Directory:
        """Return the directory at ``parts``, reached from the one before as far as both ways are the same.

        That is safe: what is taken away lies below the directory that is open, and so never on the way to it; and
        where a link was on the way, it begins at the root.
        """
        if self._parent is not None and self._parent[0] == parts:
            return self._parent[1]
        near = None
        if self._parent is not None:
            way, place = self._parent
            near = place if place.path == way else None
            if near is None:
                place.close()
        self._parent = None
        self._parent = (parts, self._root.directory(parts, make=self._make_parent, near=near))
        return self._parent[1]

    def _leave(self) -> None:
        if self._parent is not None:
            self._parent[1].close()
            self._parent = None

    def _make_parent(self, parent_fd: int, name: bytes, path: Parts) -> None:
        os.mkdir(name, 0o700, dir_fd=parent_fd)
        os.chmod(name, _DEFAULT_MODE, dir_fd=parent_fd)  # mkdir's own mode is cut by the umask
        self._mtimes[path] = 0  # no layer says, and the clock would make every tree another
        self._note(path)

    def _note(self, path: Parts) -> None:
        """Remember that this layer brings ``path``, and with it every directory on the way."""
        while path and path not in self._written:
            self._written.add(path)
            path = path[:-1]

    def _add_root(self, entry: Entry) -> None:
        if entry.kind is not Kind.DIRECTORY:
            raise InputError("layer has an entry for the root that is no directory")
        dress(self._root.fd, entry, privileged=self._privileged)
        self._mtimes[()] = entry.mtime_ns

    def _add_directory(self, parent: Directory, path: Parts, entry: Entry) -> None:
        try:
            os.mkdir(path[-1], 0o700, dir_fd=parent.fd)
        except FileExistsError:
            found = os.stat(path[-1], dir_fd=parent.fd, follow_symlinks=False)
            if not stat.S_ISDIR(found.st_mode):
                self._take_away(parent.fd, path[-1])
                os.mkdir(path[-1], 0o700, dir_fd=parent.fd)
        fd = os.open(path[-1], os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent.fd)
        try:
            dress(fd, entry, privileged=self._privileged)
        finally:
            os.close(fd)
        self._mtimes[path] = entry.mtime_ns

    def _add_file(self, parent: Directory, path: Parts, entry: Entry, body: Iterator[memoryview]) -> None:
        try:
            fd = os.open(path[-1], _NEW_FILE, 0o600, dir_fd=parent.fd)
        except FileExistsError:
            self._take_away(parent.fd, path[-1])
            fd = os.open(path[-1], _NEW_FILE, 0o600, dir_fd=parent.fd)
        self._files.write(fd, entry, body)

    def _add_node(self, parent: Directory, path: Parts, entry: Entry) -> None:
        """Make a symbolic link or a fifo."""
        name, fd = path[-1], parent.fd
        try:
            _make_node(entry, name, fd)
        except FileExistsError:
            self._take_away(fd, name)
            _make_node(entry, name, fd)
        if self._privileged:
            os.chown(name, entry.uid, entry.gid, dir_fd=fd, follow_symlinks=False)
        if entry.kind is Kind.FIFO:
            os.chmod(name, mode_of(entry, privileged=self._privileged), dir_fd=fd)
        os.utime(name, ns=(entry.mtime_ns, entry.mtime_ns), dir_fd=fd, follow_symlinks=False)

    def _add_hard_link(self, parent: Directory, path: Parts, entry: Entry) -> None:
        """Make another name of a file of the tree; of a link, the link itself."""
        target = split_path(entry.link)
        if not target:
            raise InputError(f"layer links {path[-1][:80]!r} to the root")
        try:
            with self._root.directory(target[:-1]) as place:
                found = os.stat(target[-1], dir_fd=place.fd, follow_symlinks=False)
                if stat.S_ISDIR(found.st_mode):
                    raise InputError(f"layer has a hard link to a directory: {entry.link[:80]!r}")
                if (*place.path, target[-1]) == path:
                    return
                self._take_away_if_there(parent.fd, path[-1])
                os.link(
                    target[-1], path[-1], src_dir_fd=place.fd, dst_dir_fd=parent.fd, follow_symlinks=False
                )  # fmt: skip
        except FileNotFoundError as err:
            raise InputError(f"layer has a hard link to what is not there: {entry.link[:80]!r}") from err

    def _whiteout(self, parent: Directory, name: bytes) -> None:
        if name == OPAQUE:
            self._hide_children(parent.fd, parent.path)
            return
        if name.startswith(_AUFS):
            return
        hidden = name[len(WHITEOUT) :]
        if hidden in (b"", b".", b".."):
            raise InputError(f"layer has a whiteout of no name: got {name!r}")
        self._hide(parent.fd, hidden, (*parent.path, hidden))

    def _hide(self, parent_fd: int, name: bytes, path: Parts) -> None:
        """Take ``name`` away but for what this layer brings there."""
        if path not in self._written:
            self._take_away_if_there(parent_fd, name)
            return
        with suppress(NotADirectoryError, FileNotFoundError):
            fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent_fd)
            try:
                self._hide_children(fd, path)
            finally:
                os.close(fd)

    def _hide_children(self, fd: int, path: Parts) -> None:
        for child in os.listdir(fd):
            name = os.fsencode(child)
            self._hide(fd, name, (*path, name))

    def _take_away_if_there(self, parent_fd: int, name: bytes) -> None:
        with suppress(FileNotFoundError):
            self._take_away(parent_fd, name)

    def _take_away(self, parent_fd: int, name: bytes) -> None:
        """Move ``name`` out of the tree: at once, however large it is."""
        self._removed_count += 1
        os.rename(name, b"%d" % self._removed_count, src_dir_fd=parent_fd, dst_dir_fd=self._removed.fd)


def _make_node(entry: Entry, name: bytes, parent_fd: int) -> None:
    if entry.kind is Kind.SYMLINK:
        os.symlink(entry.link, name, dir_fd=parent_fd)
    else:
        os.mkfifo(name, 0o600, dir_fd=parent_fd)
