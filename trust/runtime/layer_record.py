"""Owns the record of a layer that was unpacked: its entries without their content, and that content's digests.

With it and the files of an unpacked image, another image of the same layer is written without the layer's blob. It
is one JSON array: the bytes of the content, the entries in the layer's order, the sha256 of each entry that holds
content, in that order too. Names are any bytes: each byte is written as the character of its number.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import orjson

from trust.digest import Digest, sha256
from trust.runtime.tar import Entry, Kind
from trust.runtime.tree import holds_content
from trust.value import dataclass

LAYERS = "layers"
_ENTRIES_MAX = 200_000  # of one layer; a longer one is read from its blob each time, and costs no memory here


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerRecord:
    """What a layer holds; ``contents`` are the digests of the entries for which ``holds_content``, in order."""

    content_bytes: int
    entries: tuple[Entry, ...]
    contents: tuple[bytes, ...]


class Recorder:
    """Notes the entries of one layer while they are written; a layer with a sparse file has no record.

    ``first`` is the number of the files that were written before it.
    """

    def __init__(self, name: str, *, first: int) -> None:
        self.name = name
        self.content_bytes = 0
        self._first = first
        self._count = 0
        self._rows: list[list[object]] | None = []

    def note(self, entry: Entry) -> None:
        """Have ``entry`` in the record."""
        self._count += holds_content(entry)
        if self._rows is None or entry.extents is not None or len(self._rows) >= _ENTRIES_MAX:
            self._rows = None
        else:
            self._rows.append(_row(entry))

    def record(self, contents: Sequence[bytes]) -> bytes | None:
        """Return the record of the layer, if it has one; ``contents`` are the digests of all files written."""
        if self._rows is None:
            return None
        own = contents[self._first : self._first + self._count]
        return orjson.dumps([self.content_bytes, self._rows, [digest.hex() for digest in own]])


def record_name(blob: Digest, diff_id: Digest) -> str:
    """Return what the record of a layer is called: by its blob and its content, since both were verified."""
    return f"{blob.hex}-{diff_id.hex}"


def write_records(directory: Path, records: Mapping[str, bytes]) -> dict[str, str]:
    """Have each record in the new ``directory``; return the digest of each by its name."""
    directory.mkdir()
    for name, data in records.items():
        (directory / name).write_bytes(data)
    return {name: str(sha256(data)) for name, data in records.items()}


def read_record(path: Path, expected: object) -> bytes:
    """Return the record at ``path``, which has the digest ``expected``.

    Raises:
        OSError: it cannot be read. ValueError: it is another.
    """
    data = path.read_bytes()
    if str(sha256(data)) != expected:
        raise ValueError(f"record of a layer was changed on this disk: {path}")
    return data


def parse_record(data: bytes) -> LayerRecord:
    """Return what the record ``data`` says.

    Raises:
        ValueError, TypeError: it is no such thing.
    """
    content_bytes, rows, contents = orjson.loads(data)
    return LayerRecord(
        content_bytes=_number(content_bytes),
        entries=tuple(map(_entry, rows)),
        contents=tuple(map(bytes.fromhex, contents)),
    )


def _row(entry: Entry) -> list[object]:
    xattrs = [(_text(name), _text(value)) for name, value in entry.xattrs.items()]
    numbers = (entry.mode, entry.uid, entry.gid, entry.size_bytes, entry.mtime_ns)
    return [_text(b"/".join(entry.path)), _text(entry.kind.value), *numbers, _text(entry.link), xattrs]


def _entry(row: Sequence[object]) -> Entry:
    path, kind, mode, uid, gid, size, mtime, link, xattrs = row
    return Entry(
        path=tuple(filter(None, _bytes(path).split(b"/"))),
        kind=Kind(_bytes(kind)),
        mode=_number(mode),
        uid=_number(uid),
        gid=_number(gid),
        size_bytes=_number(size),
        mtime_ns=_number(mtime),
        link=_bytes(link),
        xattrs=dict(_pairs(xattrs)),
    )


def _pairs(found: object) -> Iterator[tuple[bytes, bytes]]:
    for name, value in found if isinstance(found, list) else ():
        yield _bytes(name), _bytes(value)


def _text(raw: bytes) -> str:
    return raw.decode("latin-1")


def _bytes(text: object) -> bytes:
    return str(text).encode("latin-1")


def _number(value: object) -> int:
    if not isinstance(value, int):
        raise TypeError(f"expected a number, got {value!r}")
    return value
