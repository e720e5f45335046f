"""Owns the mounts and device nodes that CRIU's images tell of."""

from __future__ import annotations

import io
import re
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from trust.errors import InputError
from trust.runtime.checkpoint_images import above, number, records, text
from trust.runtime.fields import field_number
from trust.value import dataclass

if TYPE_CHECKING:
    from typing_extensions import Self

_TMPFS = re.compile(r"tmpfs-(?:dev-)?[0-9]+\.tar\.gz\.img")
_MASK = "/dev/null"  # what hides files of the kernel; the engine mounts it, at a second move with other flags
_READ_BYTES = 64 * 1024
_GZIP = 16 + zlib.MAX_WBITS
# What tar writes for a file system in memory; of some, others take the size for content that is to be skipped.
_WITH_CONTENT, _WITHOUT_CONTENT = b"0LKS", b"123456"
_SIZE, _MAJOR, _MINOR = slice(124, 136), slice(329, 337), slice(337, 345)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """A mount as a container sees it; of one that the engine brings (``key``), only where and how."""

    mountpoint: str
    parent: str
    fstype: int
    flags: int
    superblock_flags: int
    key: str
    root: str
    source: str
    options: str


def mounts_of(images: Path) -> Iterator[Mount]:
    """Yield every mount.

    Raises:
        RefusedError: ``tampered``; one is shared with others, or two images tell of them: CRIU reads one.
    """
    paths = list(images.glob("mountpoints-*.img"))
    if len(paths) > 1:
        raise above("has mounts in two places")
    for path in paths:
        found = list(records(path))
        places = {number(one, 2): text(one, 7) for one in found}
        if len(places) != len(found):
            raise above("has other mounts than a container here: two of one number")
        for one in found:
            mountpoint, key = text(one, 7), text(one, 18)
            if number(one, 10) or number(one, 11) or number(one, 12):
                raise above(f"has a mount that is shared with others: at {mountpoint[:80]}")
            is_foreign = bool(key) or mountpoint == "/"  # the engine mounts these, from its own configuration
            yield Mount(
                mountpoint=mountpoint,
                parent=places.get(number(one, 4), ""),
                fstype=0 if is_foreign else number(one, 1),
                flags=0 if key == _MASK else number(one, 5),
                superblock_flags=0 if is_foreign else number(one, 17),
                key=key,
                root="" if is_foreign else text(one, 6),
                source="" if is_foreign else text(one, 8),
                options="" if is_foreign else text(one, 9),
            )


def devices_of(images: Path) -> Iterator[tuple[str, int, int]]:
    """Yield name and numbers of every device node in a file system in memory.

    Raises:
        InputError: malformed. RefusedError: ``tampered``; a file outside its place.
    """
    for path in images.iterdir():
        if not _TMPFS.fullmatch(path.name):
            continue
        try:
            with (
                path.open("rb") as file,
                tarfile.open(fileobj=_Member(file), mode="r|", tarinfo=_Entry) as archive,
            ):
                for entry in archive:
                    if entry.name.startswith("/") or ".." in entry.name.split("/"):
                        raise above(f"has a file outside its place: {entry.name[:80]}")
                    if entry.ischr() or entry.isblk():
                        yield entry.name, entry.devmajor, entry.devminor
                _require_end(archive)
        except (tarfile.TarError, OSError, EOFError, zlib.error) as err:
            raise InputError(f"checkpoint is malformed: {path.name}: {err}") from err


class _Member(io.RawIOBase):
    """The one gzip member that its file is: ``tar --gzip``, which CRIU runs, would go on with a second."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__()
        self._file = file
        self._gzip = zlib.decompressobj(_GZIP)

    def read(self, size: int = _READ_BYTES) -> bytes:
        while not self._gzip.eof:
            raw = self._gzip.unconsumed_tail or self._file.read(size)
            content = self._gzip.decompress(raw, size)
            if content:
                return content
            if not raw and not self._gzip.eof:
                raise EOFError("it is truncated")
        if self._gzip.unused_data or self._file.read(1):
            raise tarfile.ReadError("more follows the compressed archive")
        return b""


class _Entry(tarfile.TarInfo):
    """An entry that every reader of archives takes for the same."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """Return the entry; one that is malformed ends no archive here, since ``tar`` goes on behind it."""
        raw = bytes(buf)
        try:
            entry = super().frombuf(raw, encoding, errors)
        except tarfile.HeaderError as err:
            if raw.strip(b"\0"):
                raise InputError(f"checkpoint is malformed: an entry of an archive: {err}") from err
            raise
        size, *_ = [field_number(raw[field], "an archive's number") for field in (_SIZE, _MAJOR, _MINOR)]
        kind = raw[156:157]
        if kind not in _WITH_CONTENT + _WITHOUT_CONTENT or (size and kind in _WITHOUT_CONTENT):
            raise InputError(f"checkpoint is malformed: an entry of an archive: of kind {kind!r}, {size} bytes")
        return entry


def _require_end(archive: tarfile.TarFile) -> None:
    """Return if nothing but zeros follows where the archive ended.

    Raises:
        InputError: more does.
    """
    rest = archive.fileobj
    while rest is not None and (content := rest.read(_READ_BYTES)):
        if content.strip(b"\0"):
            raise InputError("checkpoint is malformed: an archive has more behind its end")
