"""Owns the blobs of a snapshot: written hashed to a staging directory, read back only as what was verified.

Each is compressed by zstd, one thread, one level and no time in it: the same content is the same blob, so that a
second snapshot pushes only what changed. A ``Seal`` encrypts what was compressed; digests are of what is stored,
and are verified before anything is decrypted.
"""

from __future__ import annotations

import hashlib
import secrets
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Protocol

import zstandard

from trust.digest import parse_digest
from trust.errors import InputError
from trust.manifest import Descriptor

LEVEL = 1  # memory shrinks to a third at 500 MB/s; the process stands still meanwhile
SEALED = "+encrypted"  # the end of the media types of blobs that were
_PIECE_BYTES = 1 << 20
_SPOOL_BYTES = 64 << 20  # beyond it, what is to be encrypted waits in an unnamed file


class Seal(Protocol):
    """Encrypts blobs, and decrypts what it encrypted."""

    def sealed(self, content: IO[bytes]) -> Iterator[bytes]:
        """Yield what a file holds, encrypted and authenticated; the same content is the same bytes."""

    def opened(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """Yield what was encrypted; every piece is authentic.

        Raises:
            InputError: another key, or other bytes.
        """


class Blobs:
    """The blobs of one snapshot that is being made, in a directory of their own."""

    def __init__(self, directory: Path, *, seal: Seal | None = None) -> None:
        self._directory = directory
        self._seal = seal
        directory.mkdir(mode=0o700, exist_ok=True)

    def add(self, pieces: Iterable[bytes], media_type: str) -> Descriptor:
        """Have ``pieces``, compressed, as a blob; return its descriptor.

        Raises:
            OSError: this disk cannot take it.
        """
        if self._seal is None:
            return self.add_stored(_compressed(pieces), media_type)
        with tempfile.SpooledTemporaryFile(_SPOOL_BYTES, dir=str(self._directory)) as content:
            for piece in _compressed(pieces):
                content.write(piece)
            return self.add_stored(self._seal.sealed(content), media_type + SEALED)

    def add_stored(self, pieces: Iterable[bytes], media_type: str) -> Descriptor:
        """Have ``pieces`` as a blob as they are."""
        content, size_bytes = hashlib.sha256(), 0
        partial = self._directory / f".{secrets.token_hex(8)}"
        with partial.open("xb") as file:
            for piece in pieces:
                content.update(piece)
                size_bytes += len(piece)
                file.write(piece)
        digest = parse_digest(f"sha256:{content.hexdigest()}")
        partial.replace(self._directory / digest.hex)
        return Descriptor(
            media_type=media_type, digest=digest, size_bytes=size_bytes, platform=None, annotations={}
        )

    def path(self, blob: Descriptor) -> Path:
        """Return the file of a blob that was added."""
        return self._directory / blob.digest.hex


def content_of(stored: Iterable[bytes], *, bytes_max: int, seal: Seal | None) -> Iterator[bytes]:
    """Yield the content of a blob whose verified bytes are ``stored``.

    Raises:
        InputError: not decompressible, or more than ``bytes_max``.
    """
    total = 0
    decompressor = zstandard.ZstdDecompressor().decompressobj()
    try:
        for piece in seal.opened(stored) if seal else stored:
            for start in range(0, len(piece), _PIECE_BYTES // 16):  # a bomb is noticed before it fills the memory
                content = decompressor.decompress(piece[start : start + _PIECE_BYTES // 16])
                total += len(content)
                if total > bytes_max:
                    raise InputError(f"checkpoint is malformed: a blob holds more than {bytes_max} bytes")
                yield content
    except zstandard.ZstdError as err:
        raise InputError(f"checkpoint is malformed: {err}") from err


def _compressed(pieces: Iterable[bytes]) -> Iterator[bytes]:
    compressor = zstandard.ZstdCompressor(level=LEVEL).compressobj()
    for piece in pieces:
        if content := compressor.compress(piece):
            yield content
    yield compressor.flush()
