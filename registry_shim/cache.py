"""Owns the cache: content on disk by digest, hashed once on its way in, committed only when whole.

    DIRECTORY/sha256/ab/<64 hex>      whole, verified content; never changed
    DIRECTORY/incoming/<random>       what is on its way; removed at the start and never read

Bounded in bytes: what was used longest ago goes first. Workers share it: a file that another removes stays
readable for whoever has opened it. Who can write to the directory decides what is served.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from trust.digest import Digest
from trust.errors import StateError

TOUCH_EVERY_SECONDS = 60.0  # the moment of the last use is kept no finer
LOW_WATER = 0.9  # share of the bound that a sweep leaves
ABANDONED_SECONDS = 3600.0  # far above the silence that ends a fill
SWEEP_SHARE = 16  # a sweep after so many parts of the bound came in


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """An open file of verified content; the caller closes it."""

    file: BinaryIO
    size_bytes: int


class Cache:
    """The cache at ``directory``, of about ``max_bytes``; ``clock`` gives UTC seconds."""

    def __init__(self, directory: Path, max_bytes: int, *, clock: Callable[[], float] = time.time) -> None:
        self._directory = directory
        self._incoming = directory / "incoming"
        self._max_bytes = max_bytes
        self._clock = clock
        self._came_bytes = 0
        try:
            self._incoming.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as err:
            raise StateError(f"cache cannot be used: {directory}: {err.strerror}") from err

    def open(self, digest: Digest) -> Kept | None:
        """Return the content of ``digest``, or None."""
        try:
            file = self._path(digest).open("rb", buffering=0)
        except OSError:
            return None
        status = os.fstat(file.fileno())
        if self._clock() - status.st_mtime > TOUCH_EVERY_SECONDS:
            with suppress(OSError):
                os.utime(file.fileno(), (self._clock(), self._clock()))
        return Kept(file=file, size_bytes=status.st_size)

    def room_for(self, size_bytes: int) -> bool:
        """Tell whether content of that size may be kept: within the bound, and a disk that is not full."""
        free = os.statvfs(self._incoming)
        return size_bytes <= self._max_bytes // 2 and free.f_bavail * free.f_frsize > 2 * size_bytes

    def incoming(self) -> tuple[int, Path]:
        """Return a new file for content on its way in, open for reading and writing.

        Raises:
            OSError: there can be none.
        """
        descriptor, name = tempfile.mkstemp(dir=self._incoming)
        return descriptor, Path(name)

    def commit(self, path: Path, descriptor: int, digest: Digest) -> None:
        """Take the incoming file at ``path``, whose bytes the caller has hashed, as the content of ``digest``.

        Raises:
            OSError: it could not be kept; the incoming file is gone.
        """
        try:
            os.fdatasync(descriptor)
            target = self._path(digest)
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.rename(target)
        except OSError:
            path.unlink(missing_ok=True)
            raise
        self._came_bytes += os.fstat(descriptor).st_size

    def put(self, digest: Digest, data: bytes) -> None:
        """Keep ``data``, which the caller has hashed; what cannot be kept is not."""
        with suppress(OSError):
            descriptor, path = self.incoming()
            try:
                write_all(descriptor, data)
                self.commit(path, descriptor, digest)
            finally:
                os.close(descriptor)
                path.unlink(missing_ok=True)

    @property
    def wants_sweep(self) -> bool:
        """Tell whether so much came in that ``sweep`` is due."""
        return self._came_bytes > self._max_bytes // SWEEP_SHARE

    def sweep(self) -> int:
        """Have the cache within its bound, once no other process is at it; return how many files went.

        What a process that was killed left on its way goes too, after ``ABANDONED_SECONDS``.
        """
        self._came_bytes = 0
        try:
            with (self._directory / "sweep.lock").open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)  # waited for: it may have begun before the last content came
                self._clear_abandoned()
                return self._evict()
        except OSError:
            return 0

    def clear_incoming(self) -> None:
        """Remove what a former process left unfinished; only where none is at work."""
        for path in self._incoming.iterdir():
            path.unlink(missing_ok=True)

    def _evict(self) -> int:
        """Remove what was used longest ago, if there is more than the bound; return how many files went."""
        found = sorted(self._kept())
        total = sum(size for _, size, _ in found)
        removed = 0
        if total > self._max_bytes:
            for _, size, path in found:
                if total <= self._max_bytes * LOW_WATER:
                    break
                with suppress(OSError):
                    Path(path).unlink()
                    total -= size
                    removed += 1
        return removed

    def _clear_abandoned(self) -> None:
        with suppress(OSError):
            for path in self._incoming.iterdir():
                if self._clock() - path.stat().st_mtime > ABANDONED_SECONDS:
                    path.unlink(missing_ok=True)

    def _kept(self) -> list[tuple[float, int, str]]:
        found = []
        for parent in self._directory.glob("sha*/??"):
            with suppress(OSError), os.scandir(parent) as entries:
                for entry in entries:
                    with suppress(OSError):
                        status = entry.stat()
                        found.append((status.st_mtime, status.st_size, entry.path))
        return found

    def _path(self, digest: Digest) -> Path:
        return self._directory / digest.algorithm / digest.hex[:2] / digest.hex


def write_all(descriptor: int, data: bytes, *, offset: int = 0) -> None:
    """Write all of ``data`` at ``offset``: a disk that fills up takes a part of it and calls that success.

    Raises:
        OSError: it could not be written.
    """
    rest = memoryview(data)
    while rest:
        written = os.pwrite(descriptor, rest, offset)
        rest, offset = rest[written:], offset + written
