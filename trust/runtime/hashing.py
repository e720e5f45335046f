"""Owns the hashing of large files beside other work: in threads, since it leaves the interpreter to others."""

from __future__ import annotations

import hashlib
import os
import queue
import threading
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Self

_THREADS = 3  # and the one that walks; more would wait for the disk or for each other
_AHEAD = 32  # files, each an open descriptor
_READ_BYTES = 1 << 20


class Hashers:
    """Hashes files in threads; a context manager after which ``digests`` is whole, or the first error is raised.

    ``digests`` has the sha256 of each file, in the order in which they were given.
    """

    def __init__(self) -> None:
        self.digests: list[bytes] = []
        self._waiting: queue.Queue[tuple[int, int, int] | None] = queue.Queue(_AHEAD)
        self._threads: list[threading.Thread] = []
        self._failure: BaseException | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for _ in self._threads:
            self._waiting.put(None)
        for thread in self._threads:
            thread.join()
        if value is None and self._failure is not None:
            raise self._failure

    def add(self, fd: int, size: int) -> None:
        """Have the open file of ``size`` bytes hashed sooner or later; the caller may close it at once."""
        if len(self._threads) < _THREADS:
            self._threads.append(threading.Thread(target=self._work, name="hash", daemon=True))
            self._threads[-1].start()
        self._waiting.put((len(self.digests), os.dup(fd), size))
        self.digests.append(b"")

    def _work(self) -> None:
        while (wanted := self._waiting.get()) is not None:
            number, fd, size = wanted
            try:
                self.digests[number] = content_digest(fd, size)
            except BaseException as err:  # noqa: BLE001 - it is raised again where it is waited for
                self._failure = self._failure or err
            finally:
                os.close(fd)


def content_digest(fd: int, size: int) -> bytes:
    """Return the sha256 of what is left of an open file; a small one is read in one piece.

    Raises:
        OSError: it cannot be read.
    """
    data = os.read(fd, min(size + 1, _READ_BYTES))
    digest = hashlib.sha256(data)
    if len(data) != size:
        while data := os.read(fd, _READ_BYTES):
            digest.update(data)
    return digest.digest()
