"""Owns blobs on their way in: one thread reads the upstream and hashes, any number of clients follow.

A fill writes to a file of its own and says how far it may be read. Its last piece is withheld until the hash
agrees (``trust.oci.content``): a follower who got all of it got the signed content, nobody gets all of a forgery.
Then the file becomes cache. Where the cache has no room the file lives in memory, for this fill and its followers.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path

from registry_shim.cache import Cache, write_all
from trust.digest import Digest
from trust.errors import LimitError, StateError
from trust.oci.content import VerifiedChunks
from trust.reference import Repository

UNKEPT_MAX_BYTES = 256 * 1024 * 1024  # in memory at once, where the disk is full
TELL_BYTES = 4 * 1024 * 1024
TELL_SECONDS = 0.02
Key = tuple[Repository, Digest, str | None]  # and by whose login: it decides over this fill alone


class Fill:
    """One blob on its way in. ``available`` bytes may be read from ``descriptor``; ``error`` ends it early."""

    def __init__(self, size_bytes: int) -> None:
        self.size_bytes = size_bytes
        self.available = 0
        self.error: BaseException | None = None
        self.is_missing = False
        self.descriptor = -1
        self.followers = 0
        self.unkept_bytes = 0
        self._told_bytes = 0
        self._tells_soon = False
        self._news = asyncio.Event()
        self._is_over = False

    def fileno(self) -> int:
        """Return the file of what has come; its position belongs to nobody."""
        return self.descriptor

    async def beyond(self, offset: int) -> int:
        """Return how many bytes are available, more than ``offset``; or, where the blob is missing, 0.

        Raises:
            TrustError, RefusedRequestError: the fill failed.
        """
        while True:
            if self.error is not None:
                raise self.error
            if self.available > offset or self.is_missing:
                return self.available
            await self._news.wait()

    async def begins(self) -> bool:
        """Return whether there is something to send: its first bytes have come, or it is empty and was verified.

        Raises:
            TrustError, RefusedRequestError: the fill failed.
        """
        if self.size_bytes:
            return await self.beyond(0) > 0
        while not self._is_over:
            await self._news.wait()
        if self.error is not None:
            raise self.error
        return not self.is_missing

    def came(self, count: int, loop: asyncio.AbstractEventLoop) -> None:
        """Note ``count`` further bytes, and have followers woken: for a good deal at once, for less in a moment.

        Called on the fill's thread. A wake costs as much as receiving a quarter of a megabyte.
        """
        is_first = not self.available
        self.available += count
        if is_first or self.available - self._told_bytes >= TELL_BYTES or self.available == self.size_bytes:
            self._told_bytes = self.available
            loop.call_soon_threadsafe(self.tell)
        elif not self._tells_soon:
            self._tells_soon = True
            loop.call_soon_threadsafe(loop.call_later, TELL_SECONDS, self.tell)

    def tell(self) -> None:
        """Wake every follower; called in the loop."""
        self._tells_soon = False
        news, self._news = self._news, asyncio.Event()
        news.set()

    def end(self) -> None:
        """Note that nothing more comes; the file may be closed once nobody follows."""
        self._is_over = True
        self.tell()

    def release(self) -> int:
        """Close the file if the fill is over and nobody follows; return the memory that this gave back."""
        if not self._is_over or self.followers:
            return 0
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1
        freed, self.unkept_bytes = self.unkept_bytes, 0
        return freed


class Fills:
    """The fills of one worker: one for each blob, however many ask for it."""

    def __init__(self, cache: Cache, executor: Executor, *, stored: Callable[[int], None]) -> None:
        self._cache = cache
        self._executor = executor
        self._stored = stored
        self._running: dict[Key, Fill] = {}
        self._unkept_bytes = 0
        self._lock = threading.Lock()

    def follow(self, key: Key, size_bytes: int, source: Callable[[], VerifiedChunks | None]) -> Fill:
        """Return the fill of ``key``, started with ``source`` (blocking; None: no such blob) if there is none.

        Call ``leave`` when done with it.
        """
        fill = self._running.get(key)
        if fill is None:
            fill = self._running[key] = Fill(size_bytes)
            loop = asyncio.get_running_loop()
            task = loop.run_in_executor(self._executor, self._run, loop, fill, key[1], source)
            task.add_done_callback(lambda done: self._ended(key, done))
        fill.followers += 1
        return fill

    def leave(self, fill: Fill) -> None:
        """Give the fill up; it goes on for others and for the cache."""
        fill.followers -= 1
        self._release(fill)

    def _ended(self, key: Key, done: asyncio.Future[int]) -> None:
        fill = self._running.pop(key)
        if not done.cancelled() and (error := done.exception()) is not None:
            fill.error = error
        fill.end()
        self._release(fill)
        if fill.error is None and not done.cancelled():
            self._stored(done.result())

    def _release(self, fill: Fill) -> None:
        freed = fill.release()
        with self._lock:
            self._unkept_bytes -= freed

    def _run(
        self,
        loop: asyncio.AbstractEventLoop,
        fill: Fill,
        digest: Digest,
        source: Callable[[], VerifiedChunks | None],
    ) -> int:
        """Fetch the blob, on a thread; return the bytes that the cache has kept."""
        chunks = source()
        if chunks is None:
            fill.is_missing = True
            return 0
        path: Path | None = None
        try:
            fill.descriptor, path = self._file(fill)
            for chunk in chunks:
                write_all(fill.descriptor, chunk, offset=fill.available)
                fill.came(len(chunk), loop)
        except BaseException as err:
            if path is not None:
                path.unlink(missing_ok=True)
            if isinstance(err, OSError):
                raise StateError(f"cache cannot take a blob: {err.strerror}", hint="make room") from err
            raise
        finally:
            chunks.close()
        return self._kept(fill, path, digest)

    def _file(self, fill: Fill) -> tuple[int, Path | None]:
        if self._cache.room_for(fill.size_bytes):
            return self._cache.incoming()
        with self._lock:
            if self._unkept_bytes + fill.size_bytes > UNKEPT_MAX_BYTES:
                raise LimitError(
                    f"cache has no room for a blob of {fill.size_bytes} bytes",
                    hint="make room on the disk, or give the cache a larger size",
                )
            self._unkept_bytes += fill.size_bytes
            fill.unkept_bytes = fill.size_bytes
        return os.memfd_create("blob", os.MFD_CLOEXEC), None

    def _kept(self, fill: Fill, path: Path | None, digest: Digest) -> int:
        if path is None:
            return 0
        try:
            self._cache.commit(path, fill.descriptor, digest)
        except OSError:
            return 0  # everybody has the content; only the next one asks the upstream again
        return fill.size_bytes
