"""Owns the filling of files that were just made: content, owner, mode, attributes, time, in this order.

One more thread does it, while the next file is being made: to make one takes the kernel longer than all the rest.
The file has its name already and is reached by its descriptor, so that whatever becomes of the name meanwhile, the
content goes nowhere else. What was written is hashed on the way, for the inventory.
"""

from __future__ import annotations

import hashlib
import os
import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING

from trust.runtime.inventory import Attributes, Known, attributes_of
from trust.runtime.tar import Entry, Kind

if TYPE_CHECKING:
    from typing_extensions import Self

_AHEAD = 64  # files
_HELD_MAX_BYTES = 256 * 1024  # of one file; a longer one is written piece by piece, by whoever reads it


class FileWriter:
    """Fills files; a context manager after which all of them are whole, or the first error is raised.

    ``known`` is what an inventory says of each, by inode number; ``contents`` the sha256 of each in their order,
    empty for a sparse one; ``count`` how many there are. ``privileged``: as ``Tree`` says.
    """

    def __init__(self, *, privileged: bool) -> None:
        self.known: dict[int, Known] = {}
        self.contents: list[bytes] = []
        self.count = 0
        self._privileged = privileged
        self._waiting: queue.Queue[Callable[[], None] | None] = queue.Queue(_AHEAD)
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="files", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._waiting.put(None)
        self._thread.join()
        if value is None:
            self._raise()

    def write(self, fd: int, entry: Entry, body: Iterator[memoryview]) -> None:
        """Fill the file ``fd``, which is new, and close it, sooner or later; the body is read before this returns.

        Raises:
            OSError: this file, or one before it, cannot be written.
        """
        try:
            self._raise()
            if entry.extents is not None or entry.size_bytes > _HELD_MAX_BYTES:
                digest = _write_all(fd, body) if entry.extents is None else _write_parts(fd, entry, body)
                content: tuple[memoryview, ...] = ()
            else:
                digest, content = None, tuple(body)
        except BaseException:
            os.close(fd)
            raise
        self.count += 1
        self._waiting.put(lambda: self._finish(fd, entry, content, digest))

    def _finish(self, fd: int, entry: Entry, content: tuple[memoryview, ...], digest: bytes | None) -> None:
        try:
            if self._failure is None:
                digest = _write_all(fd, content) if digest is None else digest
                dress(fd, entry, privileged=self._privileged)
                os.utime(fd, ns=(entry.mtime_ns, entry.mtime_ns))
                self.contents.append(digest)
                if digest:
                    self.known[os.fstat(fd).st_ino] = Known(content=digest, attributes=attributes_of(fd))
        finally:
            os.close(fd)

    def _work(self) -> None:
        while (finish := self._waiting.get()) is not None:
            try:
                finish()
            except BaseException as err:  # noqa: BLE001, PERF203 - it is raised again where it is waited for
                self._failure = self._failure or err

    def _raise(self) -> None:
        if self._failure is not None:
            raise self._failure


def dress(fd: int, entry: Entry, *, privileged: bool) -> None:
    """Give the open file or directory its owner, mode and attributes.

    Raises:
        OSError: the file system refuses owner or mode.
    """
    if privileged:
        os.fchown(fd, entry.uid, entry.gid)
    os.fchmod(fd, mode_of(entry, privileged=privileged))
    for name, value in _attributes(entry.xattrs, privileged=privileged):
        with suppress(OSError):  # not every file system stores them
            os.setxattr(fd, name, value)


def mode_of(entry: Entry, *, privileged: bool) -> int:
    """Return the mode that an entry gets."""
    if privileged:
        return entry.mode
    # He could neither copy, descend into nor delete what he has shut himself out of.
    return entry.mode & 0o777 | (0o700 if entry.kind is Kind.DIRECTORY else 0o600)


def attributes_for(entry: Entry, *, privileged: bool) -> Attributes:
    """Return the attributes that an inventory has of an entry, where the file system stores all of them."""
    return tuple(sorted(_attributes(entry.xattrs, privileged=privileged)))


def _attributes(xattrs: Mapping[bytes, bytes], *, privileged: bool) -> Iterator[tuple[bytes, bytes]]:
    """Yield what an image may set: file capabilities, and users' attributes that mean nothing to the kernel.

    ``trusted.overlay.*`` and ``user.overlay.*`` would steer the overlay that containers are run from.
    """
    for name, value in xattrs.items():
        is_capability = privileged and name == b"security.capability"
        if is_capability or (name.startswith(b"user.") and not name.startswith(b"user.overlay.")):
            yield name, value


def _write_all(fd: int, pieces: Iterable[memoryview]) -> bytes:
    """Return the sha256 of what was written."""
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
        rest = piece
        while rest:
            rest = rest[os.write(fd, rest) :]
    return digest.digest()


def _write_parts(fd: int, entry: Entry, body: Iterator[memoryview]) -> bytes:
    """Write what is stored of a sparse file where it belongs; what is between stays a hole. No digest is known."""
    piece = memoryview(b"")
    for extent in entry.extents or ():
        at, end = extent.offset, extent.offset + extent.size_bytes
        while at < end:
            piece = piece or next(body)
            written = os.pwrite(fd, piece[: end - at], at)
            at, piece = at + written, piece[written:]
    os.ftruncate(fd, entry.size_bytes)
    return b""
