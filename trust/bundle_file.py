"""Owns the bytes of a bundle: one tar, plain or in zstd, with exactly one spelling.

    oci-layout, index.json          an OCI layout: each image under its reference, each referrer without one
    trust/PIN/NAME                  metadata files of each collection, by the sha256 of its first root
    blobs/sha256/HEX                manifests, each after what names it, then everything else

In this order, so that whoever reads it once knows what may come before it comes. Only regular files, of no owner
and no date: an entry whose header is not byte for byte the one that this module writes for its name and size is
refused. So there is no path, link, device, sparse map or extended header to be read in two ways, and the same
content is the same file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, BinaryIO

import zstandard

from trust.digest import Digest, parse_digest
from trust.errors import InputError
from trust.stores.interface import checked_name
from trust.value import dataclass

if TYPE_CHECKING:
    from typing_extensions import Self

MARKER, MARKER_BYTES = "oci-layout", b'{"imageLayoutVersion":"1.0.0"}'
INDEX = "index.json"
BLOCK = 512
READ_BYTES = 1024 * 1024

_ZERO = bytes(BLOCK)
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_ZSTD_LEVEL = 3
_ZSTD_WINDOW_MAX_BYTES = 8 * 1024 * 1024  # what level 3 needs; a frame that wants gigabytes of memory is refused
_NAME_MAX_BYTES = 100
_OCTAL_MAX = 8**11
_TRUST = re.compile(r"trust/([0-9a-f]{64})/([^/]+)", re.ASCII)
_BLOB = re.compile(r"blobs/sha256/([0-9a-f]{64})", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One file of a bundle."""

    name: str
    size_bytes: int

    @property
    def metadata(self) -> tuple[str, str] | None:
        """The pin and the file name of a metadata file, None for another.

        Raises:
            InputError: it lies where metadata lies, and has no such name.
        """
        match = _TRUST.fullmatch(self.name)
        return (match[1], checked_name(match[2])) if match else None

    @property
    def blob(self) -> Digest | None:
        """The digest of a blob, None for another file."""
        match = _BLOB.fullmatch(self.name)
        return parse_digest(f"sha256:{match[1]}") if match else None


def metadata_name(pin: Digest, name: str) -> str:
    """Return where a metadata file lies."""
    return f"trust/{pin.hex}/{checked_name(name)}"


def blob_name(digest: Digest) -> str:
    """Return where a blob lies.

    Raises:
        InputError: it is of another algorithm than sha256.
    """
    if digest.algorithm != "sha256":
        raise InputError(f"a bundle holds sha256 content alone: got {digest}")
    return f"blobs/sha256/{digest.hex}"


class BundleWriter:
    """Writes a bundle to ``write``; a context manager, which ends the archive where nothing failed."""

    def __init__(self, write: Callable[[bytes], object], *, in_zstd: bool) -> None:
        self._write = write
        self._compressor = zstandard.ZstdCompressor(level=_ZSTD_LEVEL).compressobj() if in_zstd else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_what: object) -> None:
        if kind is not None:
            return
        self._put(2 * _ZERO)
        if self._compressor is not None:
            self._write(self._compressor.flush())

    def add(self, name: str, size_bytes: int, chunks: Iterable[bytes]) -> None:
        """Add a file of exactly ``size_bytes``.

        Raises:
            InputError: the name is too long, or the content is of another size.
        """
        self._put(_header(name, size_bytes))
        written = 0
        for chunk in chunks:
            written += len(chunk)
            self._put(chunk)
        if written != size_bytes:
            raise InputError(f"{name} changed while it was read: expected {size_bytes} bytes, got {written}")
        self._put(bytes(-size_bytes % BLOCK))

    def _put(self, data: bytes) -> None:
        if self._compressor is not None:
            data = self._compressor.compress(data)
        if data:
            self._write(data)


class BundleReader:
    """Reads an untrusted bundle, once: ``entries`` yields each, ``body`` the bytes of the latest."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = _plain(file)
        self._left = 0
        self._padding = 0

    def entries(self) -> Iterator[Entry]:
        """Yield each entry; the reading ends only at the archive's own end, with nothing behind it.

        Raises:
            InputError: truncated, or not spelled as this module spells it.
        """
        while True:
            for _ in self.body():
                pass
            if self._exactly(self._padding).strip(b"\0"):
                raise InputError("bundle is malformed: something stands behind a file's end")
            self._padding = 0
            block = self._exactly(BLOCK)
            if block == _ZERO:
                if self._exactly(BLOCK) != _ZERO or self._read(1):
                    raise InputError("bundle is malformed: something stands behind its end")
                return
            entry = _entry(block)
            self._left, self._padding = entry.size_bytes, -entry.size_bytes % BLOCK
            yield entry

    def body(self) -> Iterator[bytes]:
        """Yield what is left of the latest entry's content."""
        while self._left:
            piece = self._read(min(self._left, READ_BYTES))
            if not piece:
                raise _truncated()
            self._left -= len(piece)
            yield piece

    def content(self, max_bytes: int) -> bytes:
        """Return the whole content of the latest entry.

        Raises:
            InputError: it is longer than ``max_bytes``.
        """
        if self._left > max_bytes:
            raise InputError(f"bundle is malformed: a file of {self._left} bytes, expected at most {max_bytes}")
        return b"".join(self.body())

    def _exactly(self, size_bytes: int) -> bytes:
        data = b""
        while len(data) < size_bytes:
            piece = self._read(size_bytes - len(data))
            if not piece:
                raise _truncated()
            data += piece
        return data

    def _read(self, size_bytes: int) -> bytes:
        try:
            return self._file.read(size_bytes)
        except zstandard.ZstdError as err:
            raise InputError(f"bundle is malformed: {err}") from err


def _plain(file: BinaryIO) -> BinaryIO:
    """Return ``file`` decompressed, if it is in zstd; it is seekable."""
    magic = file.read(len(_ZSTD_MAGIC))
    file.seek(0)
    if magic != _ZSTD_MAGIC:
        return file
    decompressor = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_MAX_BYTES)
    found: BinaryIO = decompressor.stream_reader(file, read_across_frames=True)
    return found


def _header(name: str, size_bytes: int) -> bytes:
    """Return the tar header of a regular file; GNU's base 256 for a size that octal digits cannot hold."""
    prefix, last = b"", name.encode("ascii")
    if len(last) > _NAME_MAX_BYTES:
        prefix, _, last = last.rpartition(b"/")
    if len(last) > _NAME_MAX_BYTES:
        raise InputError(f"a bundle holds names of at most {_NAME_MAX_BYTES} bytes: got {name}")
    size = b"%011o\0" % size_bytes if size_bytes < _OCTAL_MAX else b"\x80" + size_bytes.to_bytes(11, "big")
    fields = [
        last.ljust(100, b"\0"), b"0000644\0", b"0000000\0", b"0000000\0", size, b"00000000000\0", b" " * 8, b"0",
        bytes(100), b"ustar\x0000", bytes(64), b"0000000\0", b"0000000\0", prefix.ljust(155, b"\0"), bytes(12),
    ]  # fmt: skip
    block = b"".join(fields)
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def _entry(block: bytes) -> Entry:
    prefix, last, size = block[345:500].rstrip(b"\0"), block[:100].rstrip(b"\0"), block[124:136]
    try:
        name = (prefix + b"/" + last if prefix else last).decode("ascii")
        size_bytes = int.from_bytes(size[1:], "big") if size[:1] == b"\x80" else int(size[:11], 8)
        is_ours = 0 <= size_bytes < 2**63 and _header(name, size_bytes) == block
    except (ValueError, InputError) as err:
        raise InputError(f"bundle is malformed: not an entry of a bundle: {err}") from err
    if not is_ours:
        raise InputError(f"bundle is malformed: {name[:80]!r} is no plain file as a bundle has them")
    return Entry(name=name, size_bytes=size_bytes)


def _truncated() -> InputError:
    return InputError("bundle is truncated: it ends before its end", hint="carry it over again")
