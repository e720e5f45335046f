"""Owns writing into a directory so that a kill at any moment leaves the old file or the new one.

A file is written to a temporary name, synced, and then linked or renamed; the directory is synced after it. All
of it happens under an advisory lock, so that a temporary file that stands there when the lock is taken is that of
a writer who died. Others may be able to write the directory: it is gone into by its descriptor, no link in it is
followed, and nobody knows a temporary name before it is taken.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import sleep

from trust.deadline import Deadline
from trust.errors import LimitError, StateError
from trust.lock_file import LOCK_STEP_SECONDS, lock_path, open_lock, take_lock

_TEMPORARY = ".tmp-"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OLD = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a pipe must not hold us


@contextmanager
def locked(directory: Path, deadline: Deadline) -> Iterator[int]:
    """Give ``directory``, locked; a writer who stands still while holding it costs others their own deadline.

    Raises:
        LimitError: another writer held it until the deadline passed. StateError: its lock is no regular file.
        OSError: it cannot be locked.
    """
    with _closed(os.open(directory, _DIRECTORY)) as opened, _closed(open_lock(directory)) as lock:
        try:
            while not take_lock(lock):
                sleep(min(LOCK_STEP_SECONDS, deadline.remaining_seconds()))
        except LimitError as err:
            raise LimitError(
                f"deadline passed: another publisher holds {lock_path(directory)}",
                hint="nothing was written; is that publisher stopped?",
            ) from err
        yield opened


@contextmanager
def below(directory: int, name: str) -> Iterator[int]:
    """Give the directory ``name`` in ``directory``, made where there is none.

    Raises:
        StateError: what has its name is no directory: a link to one is not ours to write into.
    """
    with suppress(FileExistsError):
        os.mkdir(name, dir_fd=directory)
    try:
        opened = os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=directory)
    except NotADirectoryError as err:
        raise StateError(f"metadata cannot be written: {name} is no directory, but a link or a file") from err
    with _closed(opened):
        yield opened


def create(directory: int, name: str, data: bytes) -> bool:
    """Have ``data`` under ``name``; False where anything but a file of these bytes stands there, and stays."""
    temporary = _written(directory, data)
    try:
        os.link(temporary, name, src_dir_fd=directory, dst_dir_fd=directory, follow_symlinks=False)
    except FileExistsError:
        return _holds(directory, name, data)
    finally:
        remove(directory, temporary)
    return True


def replace(directory: int, name: str, data: bytes) -> None:
    """Have ``data`` under ``name`` instead of what stood there, durably."""
    os.rename(_written(directory, data), name, src_dir_fd=directory, dst_dir_fd=directory)
    os.fsync(directory)


def remove(directory: int, name: str) -> None:
    """Have no file ``name``."""
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=directory)


def remove_temporaries(directory: int) -> None:
    """Remove what a killed writer left; the lock says that none is alive."""
    for name in os.listdir(directory):
        if name.startswith(_TEMPORARY):
            with suppress(IsADirectoryError):  # no writer of ours
                remove(directory, name)


def _written(directory: int, data: bytes) -> str:
    temporary = f"{_TEMPORARY}{secrets.token_hex(8)}"
    with os.fdopen(os.open(temporary, _NEW, 0o666, dir_fd=directory), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return temporary


def _holds(directory: int, name: str, data: bytes) -> bool:
    try:
        descriptor = os.open(name, _OLD, dir_fd=directory)
    except OSError:  # a link, a socket, or gone
        return False
    with os.fdopen(descriptor, "rb") as file:
        return stat.S_ISREG(os.fstat(descriptor).st_mode) and file.read(len(data) + 1) == data


@contextmanager
def _closed(descriptor: int) -> Iterator[int]:
    try:
        yield descriptor
    finally:
        os.close(descriptor)
