"""Owns the maps of sparse files in archives: which parts of a file are stored, in each of GNU tar's spellings.

    GNU        kind ``S``, four parts in the header and 21 in each block that continues it
    PAX 0.0    ``GNU.sparse.offset`` and ``.numbytes``, over and over
    PAX 0.1    ``GNU.sparse.map``, all of them with commas
    PAX 1.0    ``GNU.sparse.major=1``, the map in front of the stored parts, decimal lines in whole blocks

Pure. Readers disagree on maps that overlap, go backwards or end elsewhere than the file: all of these are refused.
Source: GNU tar manual "Storing Sparse Files".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise

from trust.errors import InputError
from trust.runtime.fields import decimal_number, field_number
from trust.value import dataclass

PREFIX = b"GNU.sparse."
EXTENTS_MAX = 65_536  # of one file: a map of a megabyte, more than any file system's own would fragment into

_BLOCK = 512
_IN_HEADER, _IN_BLOCK, _PAIR_BYTES = 4, 21, 24
_TEXT_VERSIONS = ((None, None), (b"0", b"0"), (b"0", b"1"))  # Go ignores the map of any other
_REPEATED = (b"GNU.sparse.offset", b"GNU.sparse.numbytes")

Block = Callable[[], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """A part of a file that is stored; what lies between two is zeros."""

    offset: int
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SparseMap:
    """What a sparse file is: ``size_bytes`` long, of it only ``extents`` stored, one behind the other.

    ``read_bytes`` were taken from the entry's body to learn it.
    """

    size_bytes: int
    extents: tuple[Extent, ...]
    read_bytes: int = 0

    @property
    def stored_bytes(self) -> int:
        """How much of the file is in the archive."""
        return sum(extent.size_bytes for extent in self.extents)


def is_repeated(key: bytes) -> bool:
    """Tell whether an extended header may have ``key`` more than once, each time with a meaning of its own."""
    return key in _REPEATED


def header_map(header: bytes, next_block: Block) -> SparseMap:
    """Return the map of an entry of kind ``S``; ``next_block`` gives the blocks that follow its header.

    Raises:
        InputError: malformed.
    """
    pairs = _pairs(header[386:482], _IN_HEADER)
    is_continued = header[482] != 0
    while is_continued:
        block = next_block()
        pairs.extend(_pairs(block, _IN_BLOCK))
        is_continued = block[504] != 0
        _check_count(len(pairs))
    return _checked(field_number(header[483:495], "sparse size"), pairs)


def pax_map(
    pax: Mapping[bytes, bytes], repeated: Sequence[tuple[bytes, bytes]], next_block: Block
) -> SparseMap | None:
    """Return the map of an entry with these records; None where they speak of none.

    ``repeated`` are the records of which each counts, in their order.

    Raises:
        InputError: malformed, or of a version that is not known.
    """
    said = {key for key in pax if key.startswith(PREFIX)}
    if not said and not repeated:
        return None
    version = (pax.get(b"GNU.sparse.major"), pax.get(b"GNU.sparse.minor"))
    if version == (b"1", b"0"):
        return _map_in_body(decimal_number(pax.get(b"GNU.sparse.realsize", b""), "sparse size"), next_block)
    if version not in _TEXT_VERSIONS:
        raise InputError(f"layer has a sparse file of version {version!r:.40}: expected 0.0, 0.1 or 1.0")
    size = decimal_number(pax.get(b"GNU.sparse.size", b""), "sparse size")
    text = pax.get(b"GNU.sparse.map")
    if (text is None) == (not repeated):  # Go takes a file without a map as it is stored, and the later of two
        raise InputError("layer is malformed: a sparse file has no map, or two")
    if text is not None:
        numbers = [decimal_number(word, "sparse map") for word in text.split(b",")]
    else:
        if [key for key, _ in repeated] != [*_REPEATED] * (len(repeated) // 2):
            raise InputError("layer is malformed: a sparse map has an offset without its length")
        numbers = [decimal_number(word, "sparse map") for _, word in repeated]
    if len(numbers) % 2:
        raise InputError("layer is malformed: a sparse map has an offset without its length")
    return _checked(size, list(zip(numbers[::2], numbers[1::2], strict=True)))


def _pairs(raw: bytes, count: int) -> list[tuple[int, int]]:
    """Return offsets and lengths up to the first that is not filled in."""
    pairs = []
    for at in range(0, count * _PAIR_BYTES, _PAIR_BYTES):
        if raw[at] == 0 and raw[at + 12] == 0:
            break
        offset = field_number(raw[at : at + 12], "sparse map")
        pairs.append((offset, field_number(raw[at + 12 : at + 24], "sparse map")))
    return pairs


def _map_in_body(size: int, next_block: Block) -> SparseMap:
    pending = b""
    blocks = 0

    def line() -> int:
        nonlocal pending, blocks
        while b"\n" not in pending:
            if len(pending) > _BLOCK:
                raise InputError("layer is malformed: a sparse map has a line without an end")
            pending += next_block()
            blocks += 1
        text, _, pending = pending.partition(b"\n")
        return decimal_number(text, "sparse map")

    count = line()
    _check_count(count)
    pairs = [(line(), line()) for _ in range(count)]
    return _checked(size, pairs, read_bytes=blocks * _BLOCK)


def _check_count(count: int) -> None:
    if count > EXTENTS_MAX:
        raise InputError(f"layer has a sparse file in {count} parts: expected at most {EXTENTS_MAX}")


def _checked(size: int, pairs: Iterable[tuple[int, int]], *, read_bytes: int = 0) -> SparseMap:
    extents = tuple(Extent(offset=offset, size_bytes=length) for offset, length in pairs)
    _check_count(len(extents))
    ends_too_late = any(one.offset + one.size_bytes > size for one in extents)
    if ends_too_late or any(one.offset + one.size_bytes > other.offset for one, other in pairwise(extents)):
        raise InputError("layer is ambiguous: the parts of a sparse file overlap, go backwards or leave it")
    return SparseMap(size_bytes=size, extents=extents, read_bytes=read_bytes)
