"""Owns the reading of layer blobs: hashed, decompressed, hashed again and counted, in one pass and its own thread.

The blob is held to the manifest's digest once more, since the disk has had it meanwhile, its content to the diffID
that the image's configuration names. Inflating and hashing leave the interpreter to the caller, who writes files.
"""

from __future__ import annotations

import hashlib
import queue
import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING

from trust.digest import Digest
from trust.errors import LimitError, RefusedError
from trust.runtime.decompression import Bytes, decompressed

if TYPE_CHECKING:
    from typing_extensions import Self

ENTRIES_MAX = 2_000_000  # of one image: four times the largest seen; each takes an inode of this machine
UNPACKED_MAX_BYTES = 64 * 1024**3  # of one image: the largest in public use (GPU toolchains) stay below 40 GB
RATIO_MAX = 250  # real layers shrink to a half or a tenth; gzip can claim 1,032 times, zstd 10^5
RATIO_FREE_BYTES = 1024**3  # a disk image of zeros is legitimate; a bomb of this size hurts nobody

_CHUNKS_AHEAD = 8


class Budget:
    """What is left of the caps of one image; each of its layers draws on the same."""

    def __init__(
        self,
        *,
        bytes_max: int = UNPACKED_MAX_BYTES,
        entries_max: int = ENTRIES_MAX,
        ratio_free_bytes: int = RATIO_FREE_BYTES,
    ) -> None:
        self.ratio_free_bytes = ratio_free_bytes
        self._bytes_left = bytes_max
        self._entries_left = entries_max
        self._lock = threading.Lock()  # content is counted where it is read, holes where they are written

    def spend_bytes(self, count: int) -> None:
        """Take ``count`` bytes.

        Raises:
            LimitError: there are not so many left.
        """
        with self._lock:
            self._bytes_left -= count
        if self._bytes_left < 0:
            raise LimitError("image is too large unpacked: its layers hold more bytes than the cap allows")

    def spend_entry(self) -> None:
        """Take one entry.

        Raises:
            LimitError: there is none left.
        """
        self._entries_left -= 1
        if self._entries_left < 0:
            raise LimitError("image has too many files: its layers hold more entries than the cap allows")


class _Hashed:
    """Hashes what is read through it."""

    def __init__(self, source: Bytes, algorithm: str, tell: Callable[[int], None]) -> None:
        self._source = source
        self._tell = tell
        self._hash = hashlib.new(algorithm)

    def read(self, size: int, /) -> bytes:
        data = self._source.read(size)
        self._hash.update(data)
        self._tell(len(data))
        return data

    def hexdigest(self) -> str:
        return self._hash.hexdigest()


class LayerReader:
    """Reads the content of one layer; whoever uses it must ask ``check`` when the reading has ended.

    ``content_bytes`` is how much it was so far.
    """

    def __init__(  # noqa: PLR0917 - what a layer is held to, and who counts
        self,
        blob: Bytes,
        digest: Digest,
        diff_id: Digest,
        blob_bytes: int,
        budget: Budget,
        tell: Callable[[int], None],
    ) -> None:
        self._blob = _Hashed(blob, digest.algorithm, tell)
        self._digest = digest
        self._diff_id = diff_id
        self._blob_bytes = blob_bytes
        self._budget = budget
        self._bytes_max = max(budget.ratio_free_bytes, blob_bytes * RATIO_MAX)
        self.content_bytes = 0
        self._hole_bytes = 0
        self._got: str | None = None

    def chunks(self) -> Iterator[bytes]:
        """Yield the content.

        Raises:
            LimitError: a bomb: the image's bytes, or the ratio to the blob's, are above the cap.
            InputError: not decompressible.
        """
        content = hashlib.new(self._diff_id.algorithm)
        for chunk in decompressed(self._blob):
            self.content_bytes += len(chunk)
            self._budget.spend_bytes(len(chunk))
            self._check_ratio(self.content_bytes)
            content.update(chunk)
            yield chunk
        self._got = content.hexdigest()

    def spend_hole(self, count: int) -> None:
        """Take what a sparse file is longer than what is stored of it: whoever copies the tree may write it all.

        Raises:
            LimitError: a bomb, as ``chunks`` says.
        """
        if count:
            self._hole_bytes += count
            self._budget.spend_bytes(count)
            self._check_ratio(self._hole_bytes)

    def _check_ratio(self, count: int) -> None:
        if count > self._bytes_max:
            raise LimitError(
                f"layer is a decompression bomb: expected at most {RATIO_MAX} times {self._blob_bytes} bytes"
            )

    def check(self) -> None:
        """Return if the whole blob was read and is that of its digest, and its content that of the diffID.

        Raises:
            RefusedError: ``tampered``; it is not.
        """
        if self._blob.hexdigest() != self._digest.hex:
            raise RefusedError(f"layer is not {self._digest}: got {self._blob.hexdigest()}", reason="tampered")
        if self._got != self._diff_id.hex:
            raise RefusedError(
                f"layer content does not match the image configuration: expected {self._diff_id}, got {self._got}",
                reason="tampered",
            )


class ReadAhead(Iterator[bytes]):
    """Yields what ``produce`` yields, read ahead in a thread; its errors come out here.

    A context manager after which the thread is gone.
    """

    def __init__(self, produce: Callable[[], Iterator[bytes]]) -> None:
        self._ready: queue.Queue[bytes | BaseException | None] = queue.Queue(_CHUNKS_AHEAD)
        self._produce = produce
        self._abandoned = False
        self._ended = False
        self._thread = threading.Thread(target=self._work, name="layer", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._abandoned = True
        while not self._ended:
            self._ended = not isinstance(self._ready.get(), bytes)
        self._thread.join()

    def __next__(self) -> bytes:
        item = None if self._ended else self._ready.get()
        if isinstance(item, bytes):
            return item
        self._ended = True
        if item is not None:
            raise item
        raise StopIteration

    def _work(self) -> None:
        last: BaseException | None = None
        try:
            for chunk in self._produce():
                self._ready.put(chunk)
                if self._abandoned:
                    break
        except BaseException as err:  # noqa: BLE001 - it is raised again where it is waited for
            last = err
        self._ready.put(last)
