"""Owns the reading of layer blobs: hashed, decompressed, hashed again and counted, in one pass and its own thread.

The blob is held to the manifest's digest once more, since the disk has had it meanwhile, its content to the diffID
that the image's configuration names. Inflating and hashing leave the interpreter to the caller, who writes files.
"""

from __future__ import annotations

import hashlib
import queue
import threading
import zlib
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import IO, TYPE_CHECKING, Protocol, cast

from trust.digest import Digest
from trust.errors import InputError, LimitError, RefusedError

if TYPE_CHECKING:
    from typing_extensions import Self

ENTRIES_MAX = 2_000_000  # of one image: four times the largest seen; each takes an inode of this machine
UNPACKED_MAX_BYTES = 64 * 1024**3  # of one image: the largest in public use (GPU toolchains) stay below 40 GB
RATIO_MAX = 250  # real layers shrink to a half or a tenth; gzip can claim 1,032 times, zstd 10^5
RATIO_FREE_BYTES = 1024**3  # a disk image of zeros is legitimate; a bomb of this size hurts nobody

_GZIP_MAGIC, _ZSTD_MAGIC = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_ZSTD_WINDOW_MAX_BYTES = 128 * 1024 * 1024  # what the zstd program takes without being told to
_READ_BYTES = 16 * 1024  # each end of a gzip member copies what is left of the piece that was read
_CHUNK_BYTES = 1024 * 1024
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


class Bytes(Protocol):
    """Where a blob is read from, piece by piece."""

    def read(self, size: int, /) -> bytes:
        """Return at most ``size`` bytes, none at the end."""


class _Hashed:
    """Hashes what is read through it."""

    def __init__(self, source: Bytes, algorithm: str) -> None:
        self._source = source
        self._hash = hashlib.new(algorithm)

    def read(self, size: int, /) -> bytes:
        data = self._source.read(size)
        self._hash.update(data)
        return data

    def hexdigest(self) -> str:
        return self._hash.hexdigest()


class LayerReader:
    """Reads the content of one layer; whoever uses it must ask ``check`` when the reading has ended."""

    def __init__(self, blob: Bytes, digest: Digest, diff_id: Digest, blob_bytes: int, budget: Budget) -> None:
        self._blob = _Hashed(blob, digest.algorithm)
        self._digest = digest
        self._diff_id = diff_id
        self._blob_bytes = blob_bytes
        self._budget = budget
        self._bytes_max = max(budget.ratio_free_bytes, blob_bytes * RATIO_MAX)
        self._hole_bytes = 0
        self._got: str | None = None

    def chunks(self) -> Iterator[bytes]:
        """Yield the content.

        Raises:
            LimitError: a bomb: the image's bytes, or the ratio to the blob's, are above the cap.
            InputError: not decompressible.
        """
        content = hashlib.new(self._diff_id.algorithm)
        total = 0
        for chunk in decompressed(self._blob):
            total += len(chunk)
            self._budget.spend_bytes(len(chunk))
            self._check_ratio(total)
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


def decompressed(blob: Bytes) -> Iterator[bytes]:
    """Yield the content of a gzip, zstd or plain layer blob, told apart by how it begins; it is read to its end.

    The diffID decides what the content had to be, so that the media type, which builders get wrong, need not.

    Raises:
        InputError: not decompressible.
    """
    head = b""
    while len(head) < len(_ZSTD_MAGIC) and (more := blob.read(len(_ZSTD_MAGIC) - len(head))):
        head += more
    whole = _Resumed(head, blob)
    if head.startswith(_GZIP_MAGIC):
        return _gunzipped(whole)
    if head == _ZSTD_MAGIC:
        return _unzstd(whole)
    return iter(lambda: whole.read(_CHUNK_BYTES), b"")


class _Resumed:
    """Gives what was read already, then the rest."""

    def __init__(self, head: bytes, rest: Bytes) -> None:
        self._head = head
        self._rest = rest

    def read(self, size: int, /) -> bytes:
        if self._head:
            head, self._head = self._head[:size], self._head[size:]
            return head
        return self._rest.read(size)


def _gunzipped(blob: Bytes) -> Iterator[bytes]:
    """Yield the content of every member, one after the other; zeros may follow the last."""
    member = None
    try:
        while data := blob.read(_READ_BYTES):
            while data and (member is not None or data[0] or data.strip(b"\0")):
                member = member or zlib.decompressobj(wbits=31)
                content = member.decompress(data, _CHUNK_BYTES)
                if content:
                    yield content
                data = member.unused_data if member.eof else member.unconsumed_tail
                if member.eof:
                    member = None
    except zlib.error as err:
        raise InputError(f"layer is malformed: {err}") from err
    if member is not None:
        raise InputError("layer is truncated: its gzip stream has no end")


def _unzstd(blob: Bytes) -> Iterator[bytes]:
    import zstandard  # noqa: PLC0415 - few images need it

    engine = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_MAX_BYTES)
    try:
        with engine.stream_reader(cast("IO[bytes]", blob), read_across_frames=True, closefd=False) as stream:
            while content := stream.read(_CHUNK_BYTES):
                yield content
    except zstandard.ZstdError as err:
        raise InputError(f"layer is malformed: {err}") from err


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
