"""Owns the inventory of an unpacked tree: everything in it, with what would change what runs; and its comparison.

One record for each directory, file, link and fifo, sorted by path: kind, mode, owner, size, sha256 of the content
or of the link's target, extended attributes. Times are left out: they change nothing that runs. It begins with the
digest of the image's manifest, so that the digest of an inventory is that of one tree of one image.

Labels of the host's security modules are the host's and not recorded; every other attribute is, also those that
would steer the overlay above the tree.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from trust.digest import Digest, sha256
from trust.errors import RefusedError
from trust.runtime.disk import DIRECTORY_FLAGS
from trust.runtime.hashing import Hashers, content_digest
from trust.value import dataclass

_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_READ_BYTES = 1 << 20
_LARGE_BYTES = 64 * 1024  # smaller files are hashed in less time than it takes to hand them over
_LATER = b"later"  # the digest of what is being hashed
_CAPABILITY = b"security.capability"

Attributes = tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One thing in a tree: ``path`` is relative, empty for the root; ``content`` the sha256 of file or link."""

    path: bytes
    state: os.stat_result
    attributes: Attributes
    content: bytes

    def record(self, content: bytes) -> bytes:
        """Return what an inventory says of it, its content having the sha256 ``content``."""
        state = self.state
        size = state.st_size if stat.S_ISREG(state.st_mode) else 0
        attributes = ",".join(f"{name.hex()}={value.hex()}" for name, value in self.attributes)
        numbers = f"{state.st_mode:o} {state.st_uid} {state.st_gid} {size}"
        return self.path + f"\0{numbers} {content.hex()} {attributes}\0".encode()


Visit = Callable[[Node, Callable[[], Iterator[bytes]]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is known of a file that was just written, and need not be read again."""

    content: bytes
    attributes: Attributes


KnownFiles = Mapping[int, Known]  # by inode number


def survey(root: int, visit: Visit) -> None:
    """Call ``visit`` with everything in the open directory ``root``, a directory before what is in it, sorted.

    The second argument gives the content of a file or link. No file is read, and its node has no digest.

    Raises:
        OSError: something cannot be read, or changes its kind meanwhile.
    """
    _Survey(visit, {}, None).directory(root, b"")


def inventory_header(manifest: Digest) -> bytes:
    """Return what an inventory of the image ``manifest`` begins with."""
    return f"trust inventory 1 {manifest}\0".encode()


def take_inventory(tree: Path, manifest: Digest, *, known: KnownFiles | None = None) -> bytes:
    """Return the inventory of the unpacked ``tree`` of an image.

    Raises:
        OSError: as ``survey``.
    """
    nodes: list[Node] = []
    root = os.open(tree, DIRECTORY_FLAGS)
    try:
        with Hashers() as hashers:
            _Survey(lambda node, _content: nodes.append(node), known or {}, hashers).directory(root, b"")
    finally:
        os.close(root)
    later = iter(hashers.digests)
    records = (node.record(next(later) if node.content is _LATER else node.content) for node in nodes)
    return inventory_header(manifest) + b"".join(records)


def contents_of(inventory: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield path and sha256 of each file in an inventory.

    Raises:
        ValueError, LookupError: it is none.
    """
    for path, words in _records(inventory).items():
        mode, _, _, _, content, _ = words.split(b" ")
        if stat.S_ISREG(int(mode, 8)):
            yield path, bytes.fromhex(content.decode())


def check_inventory(found: bytes, expected: Digest, recorded: Callable[[], bytes], *, where: Path) -> None:
    """Return if ``found`` is the inventory with the digest ``expected``.

    ``recorded`` gives the one that was made when the tree was, for the message alone.

    Raises:
        RefusedError: ``tampered``; it is not.
    """
    if sha256(found) == expected:
        return
    before = recorded()
    what = _difference(before, found) if sha256(before) == expected else "and its inventory too"
    raise RefusedError(
        f"unpacked image was changed on this disk: {what}: {where}",
        reason="tampered",
        hint=f"find out who writes there; then remove {where.parent}, and the next run unpacks the image anew",
    )


def _difference(before: bytes, found: bytes) -> str:
    expected, got = _records(before), _records(found)
    for path in sorted(expected.keys() | got.keys()):
        name = "/" + path.decode("utf-8", "replace")[:200]
        if path not in got:
            return f"{name} is missing"
        if path not in expected:
            return f"{name} is new"
        if expected[path] != got[path]:
            pairs = zip(("mode", "owner", "group", "size", "content", "attributes"),
                        expected[path].split(b" "), got[path].split(b" "), strict=True)  # fmt: skip
            return f"{name} has another {next(what for what, one, other in pairs if one != other)}"
    return "its inventory is of another image"


def _records(inventory: bytes) -> dict[bytes, bytes]:
    words = inventory.split(b"\0")[1:-1]
    return dict(zip(words[::2], words[1::2], strict=True))


class _Survey:
    def __init__(self, visit: Visit, known: KnownFiles, hashers: Hashers | None) -> None:
        self._visit = visit
        self._known = known
        self._hashers = hashers

    def directory(self, fd: int, path: bytes) -> None:
        state = os.fstat(fd)
        self._visit(Node(path=path, state=state, attributes=attributes_of(fd), content=b""), lambda: iter(()))
        prefix = path + b"/" if path else b""
        for name in sorted(map(os.fsencode, os.listdir(fd))):
            self._entry(fd, name, prefix + name)

    def _entry(self, parent: int, name: bytes, path: bytes) -> None:
        state = os.stat(name, dir_fd=parent, follow_symlinks=False)
        if stat.S_ISDIR(state.st_mode):
            fd = os.open(name, DIRECTORY_FLAGS, dir_fd=parent)
            try:
                self.directory(fd, path)
            finally:
                os.close(fd)
        elif stat.S_ISREG(state.st_mode) and (known := self._known.get(state.st_ino)) is not None:
            node = Node(path=path, state=state, attributes=known.attributes, content=known.content)
            self._visit(node, lambda: iter(()))
        elif stat.S_ISREG(state.st_mode):
            fd = os.open(name, _FILE, dir_fd=parent)
            try:
                self._file(fd, path)
            finally:
                os.close(fd)
        else:
            target = os.fsencode(os.readlink(name, dir_fd=parent)) if stat.S_ISLNK(state.st_mode) else b""
            content = hashlib.sha256(target).digest()
            self._visit(Node(path=path, state=state, attributes=(), content=content), lambda: iter((target,)))

    def _file(self, fd: int, path: bytes) -> None:
        state = os.fstat(fd)
        content = self._digest(fd, state.st_size)
        node = Node(path=path, state=state, attributes=attributes_of(fd), content=content)
        self._visit(node, lambda: _content(fd))

    def _digest(self, fd: int, size: int) -> bytes:
        if self._hashers is None:
            return b""
        if size < _LARGE_BYTES:
            return content_digest(fd, size)
        self._hashers.add(fd, size)
        return _LATER


def _content(fd: int) -> Iterator[bytes]:
    at = 0
    while data := os.pread(fd, _READ_BYTES, at):
        at += len(data)
        yield data


def attributes_of(fd: int) -> Attributes:
    """Return the attributes of an open file or directory that an inventory records."""
    names = os.listxattr(fd)
    if not names:
        return ()
    raw = sorted(map(os.fsencode, names))
    kept = [name for name in raw if name == _CAPABILITY or not name.startswith(b"security.")]
    return tuple((name, os.getxattr(fd, name)) for name in kept)
