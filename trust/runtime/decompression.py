"""Owns the decompressing of layer blobs: gzip of any number of members, zstd of any number of frames, or neither.

Never more than asked for is inflated at once; how much it may become in all is for the caller to say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import IO, Protocol, cast

from trust.errors import InputError

_GZIP_MAGIC, _ZSTD_MAGIC = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_ZSTD_WINDOW_MAX_BYTES = 128 * 1024 * 1024  # what the zstd program takes without being told to
_READ_BYTES = 32 * 1024  # each end of a gzip member copies what is left of the piece that was read
_CHUNK_BYTES = 1024 * 1024


class Bytes(Protocol):
    """Where a blob is read from, piece by piece."""

    def read(self, size: int, /) -> bytes:
        """Return at most ``size`` bytes, none at the end."""


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
    new_member, error = _inflater()
    member = None
    try:
        while data := blob.read(_READ_BYTES):
            while data and (member is not None or data[0] or data.strip(b"\0")):
                if member is None and data[0] != _GZIP_MAGIC[0]:
                    raise InputError(f"layer is malformed: garbage behind its gzip stream: {data[:20]!r}")
                member = member or new_member()
                content = member.decompress(data, _CHUNK_BYTES)
                if content:
                    yield content
                data = member.unused_data if member.eof else member.unconsumed_tail
                if member.eof:
                    member = None
    except error as err:
        raise InputError(f"layer is malformed: {err}") from err
    if member is not None:
        raise InputError("layer is truncated: its gzip stream has no end")


class _Member(Protocol):
    """One gzip member being inflated, as the standard library's ``zlib`` has it."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    @property
    def unconsumed_tail(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


def _inflater() -> tuple[Callable[[], _Member], type[Exception]]:
    """Return what begins a gzip member, and its error: the quicker library where the machine has one."""
    try:
        from isal import isal_zlib  # noqa: PLC0415 - layers that are unpacked need neither
    except ImportError:
        import zlib  # noqa: PLC0415

        return lambda: zlib.decompressobj(wbits=31), zlib.error
    return lambda: isal_zlib.decompressobj(wbits=31), cast("type[Exception]", isal_zlib.error)


def _unzstd(blob: Bytes) -> Iterator[bytes]:
    import zstandard  # noqa: PLC0415 - few images need it

    engine = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_MAX_BYTES)
    try:
        with engine.stream_reader(cast("IO[bytes]", blob), read_across_frames=True, closefd=False) as stream:
            while content := stream.read(_CHUNK_BYTES):
                yield content
    except zstandard.ZstdError as err:
        raise InputError(f"layer is malformed: {err}") from err
