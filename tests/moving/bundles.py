"""A bundle taken apart and put together again, as whoever carries it over could."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from trust.bundle_file import BundleReader, BundleWriter, Entry

Files = list[tuple[str, bytes]]


def take_apart(file: Path) -> Files:
    """Return name and content of each file in a bundle, in order."""
    with file.open("rb") as content:
        reader = BundleReader(content)
        return [(entry.name, b"".join(reader.body())) for entry in reader.entries()]


def put_together(files: Sequence[tuple[str, bytes]], *, in_zstd: bool = False) -> bytes:
    """Return the bundle of ``files``."""
    out = io.BytesIO()
    with BundleWriter(out.write, in_zstd=in_zstd) as writer:
        for name, data in files:
            writer.add(name, len(data), [data])
    return out.getvalue()


def read_all(data: bytes) -> list[tuple[Entry, bytes]]:
    """Return what a bundle's bytes hold."""
    reader = BundleReader(io.BytesIO(data))
    return [(entry, b"".join(reader.body())) for entry in reader.entries()]
