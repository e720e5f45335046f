"""Owns writing into a directory so that a kill at any moment leaves the old file or the new one.

A file is written to a temporary name, synced, and then linked or renamed; the directory is synced after it. All
of it happens under an advisory lock, so that a temporary file that stands there when the lock is taken is that of
a writer who died.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import sleep

from trust.deadline import Deadline
from trust.errors import LimitError

LOCK_STEP_SECONDS = 0.01
_LOCK = ".lock"
_TEMPORARY = ".tmp-"


@contextmanager
def locked(directory: Path, deadline: Deadline) -> Iterator[None]:
    """Hold the lock of ``directory``; a writer who stands still while holding it costs others their own deadline.

    Raises:
        LimitError: another writer held it until the deadline passed. OSError: it cannot be locked.
    """
    with (directory / _LOCK).open("a") as lock:
        try:
            while not _taken(lock.fileno()):
                sleep(min(LOCK_STEP_SECONDS, deadline.remaining_seconds()))
        except LimitError as err:
            raise LimitError(
                f"deadline passed: another publisher holds {directory / _LOCK}",
                hint="nothing was written; is that publisher stopped?",
            ) from err
        yield


def create(path: Path, data: bytes) -> bool:
    """Have ``data`` at ``path``; False where a file of other bytes stands there, which it still does."""
    temporary = _written(path, data)
    try:
        os.link(temporary, path)
    except FileExistsError:
        return path.read_bytes() == data
    finally:
        temporary.unlink(missing_ok=True)
    return True


def replace(path: Path, data: bytes) -> None:
    """Have ``data`` at ``path`` instead of what stood there, durably."""
    _written(path, data).replace(path)
    sync(path.parent)


def sync(directory: Path) -> None:
    """Have the names in ``directory`` outlive a power cut."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_temporaries(directory: Path) -> None:
    """Remove what a killed writer left; the lock says that none is alive."""
    for leftover in directory.glob(f"{_TEMPORARY}*"):
        leftover.unlink(missing_ok=True)


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _written(path: Path, data: bytes) -> Path:
    temporary = path.with_name(f"{_TEMPORARY}{path.name}")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return temporary
