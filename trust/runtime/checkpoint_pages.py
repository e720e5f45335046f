"""Owns the memory in a snapshot: cut where its *addresses* are multiples of a size, and put together again.

CRIU writes the pages of a process one after the other, so that one page more shifts all after it. Cut by address,
a page more or less changes one chunk, and a second snapshot pushes only what changed.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from trust.errors import InputError, UnavailableError
from trust.manifest import Descriptor
from trust.runtime.checkpoint_blobs import Blobs
from trust.runtime.checkpoint_images import Fields, long_number, number, records
from trust.value import dataclass

PAGE_BYTES = 4096
CHUNK_BYTES = 4 * 1024 * 1024
CHUNKS_MAX = 4000  # a manifest takes 4,096 descriptors
PAGES_TYPE = "application/vnd.content-trust.checkpoint.pages.v1+zstd"
_PRESENT = 4
_WORKERS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """Pages with neighbouring addresses: a blob that holds ``bytes`` bytes."""

    blob: Descriptor
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PagesFile:
    """One file of pages, as CRIU wants it: its chunks in their order."""

    name: str
    chunks: tuple[Chunk, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Piece:
    path: Path
    offset: int
    length: int


def split_pages(images: Path, blobs: Blobs) -> tuple[PagesFile, ...]:
    """Have every file of pages in ``images`` as blobs; return how they are put together again.

    Raises:
        UnavailableError: CRIU wrote what is not understood here.
        OSError: this disk cannot take it.
    """
    window = CHUNK_BYTES
    cuts = dict(_every_cut(images, window))
    while sum(map(len, cuts.values())) > CHUNKS_MAX:
        window *= 2
        cuts = dict(_every_cut(images, window))
    with ThreadPoolExecutor(_WORKERS, thread_name_prefix="pages") as pool:
        return tuple(
            PagesFile(name=name, chunks=tuple(pool.map(lambda piece: _stored(piece, blobs), pieces)))
            for name, pieces in cuts.items()
        )


def write_pages(path: Path, chunks: Iterable[tuple[Chunk, Iterable[bytes]]]) -> None:
    """Have the file of pages at ``path``, of the chunks' verified contents.

    Raises:
        InputError: a chunk is shorter than it should be.
    """
    with path.open("xb") as file:
        for chunk, pieces in chunks:
            written = sum(file.write(piece) for piece in pieces)
            if written != chunk.bytes:
                raise InputError(
                    f"checkpoint is malformed: expected a chunk of {chunk.bytes} bytes, got {written}"
                )


def _every_cut(images: Path, window: int) -> Iterator[tuple[str, list[_Piece]]]:
    for pagemap in sorted(images.glob("pagemap-*.img")):
        head, *entries = records(pagemap)
        path = images / f"pages-{number(head, 1)}.img"
        if not path.exists():
            continue  # a process without a page of its own
        pieces = _cut(path, entries, window)
        expected = pieces[-1].offset + pieces[-1].length if pieces else 0
        if path.stat().st_size != expected:
            raise UnavailableError(
                f"checkpoint cannot be read: {pagemap.name} tells of {expected} bytes of pages,"
                f" got {path.stat().st_size}"
            )
        yield path.name, pieces


def _cut(path: Path, entries: Iterable[Fields], window: int) -> list[_Piece]:
    pieces: list[_Piece] = []
    offset, latest = 0, -1
    for entry in entries:
        if not number(entry, 4, _PRESENT) & _PRESENT:
            continue
        address = long_number(entry, 1)
        end = address + (long_number(entry, 5) or number(entry, 2)) * PAGE_BYTES
        while address < end:
            stop = min(end, (address // window + 1) * window)
            if address // window == latest:
                last = pieces.pop()
                pieces.append(_Piece(path=path, offset=last.offset, length=last.length + stop - address))
            else:
                pieces.append(_Piece(path=path, offset=offset, length=stop - address))
            latest = address // window
            offset += stop - address
            address = stop
    return pieces


def _stored(piece: _Piece, blobs: Blobs) -> Chunk:
    fd = os.open(piece.path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        content = os.pread(fd, piece.length, piece.offset)
    finally:
        os.close(fd)
    return Chunk(blob=blobs.add([content], PAGES_TYPE), bytes=piece.length)
