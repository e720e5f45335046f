"""Owns the size of a container's logs: one file each, whose beginning is given back to the disk.

The container writes to the file itself, so that nothing of ours stands between and no line is lost when we are
killed. A hole punched at the front keeps the file's length: whoever appends goes on where he was. Where a file
system has no holes, the file is emptied. Source: fallocate(2), lseek(2).
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

DEFAULT_MAX_BYTES = 10 << 20
MINIMUM_BYTES = 64 << 10  # of a log that is bounded: some blocks of any file system
_KEEP_SIZE, _PUNCH_HOLE = 1, 2
_BLOCK, _SECTOR = 4096, 512
_COPY_BYTES = 1 << 16


def bound(path: Path, max_bytes: int) -> None:
    """Have at most ``max_bytes`` of the log on the disk, its newest; half of them remain when it was too long."""
    try:
        if path.stat().st_size <= max_bytes:
            return
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        found = os.fstat(descriptor)
        if found.st_blocks * _SECTOR <= max_bytes:
            return
        end = (found.st_size - max_bytes // 2) // _BLOCK * _BLOCK
        libc = ctypes.CDLL(None, use_errno=True)
        mode = _KEEP_SIZE | _PUNCH_HOLE
        if libc.fallocate(descriptor, mode, ctypes.c_long(0), ctypes.c_long(end)) != 0:
            os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def pieces(file: BinaryIO) -> Iterator[bytes]:
    """Yield what is left of the log, from the first whole line on."""
    descriptor = file.fileno()
    size = os.fstat(descriptor).st_size
    try:
        start = os.lseek(descriptor, 0, os.SEEK_DATA) if size else 0
    except OSError:
        start = size  # all of it is a hole
    file.seek(start)
    if start:
        file.readline()
    while chunk := file.read(_COPY_BYTES):
        yield chunk
