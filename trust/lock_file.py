"""Owns ``DIR/.lock``, the file that the writers of one directory lock, and that none of them turns on another.

It is opened without following a link or waiting for the other end of a pipe, and is a regular file. Who may write
the directory may lock it, and nobody else: whoever can read a file can hold its lock, for ever.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from contextlib import suppress
from pathlib import Path

from trust.errors import StateError

LOCK_STEP_SECONDS = 0.01
_LOCK = ".lock"
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_OWNER = stat.S_IRUSR | stat.S_IWUSR
_OTHER_WRITERS = stat.S_IWGRP | stat.S_IWOTH
_NOT_REGULAR = frozenset({errno.ELOOP, errno.EISDIR, errno.ENXIO})


def open_lock(directory: Path) -> int:
    """Return a descriptor of the lock of ``directory``, made where there is none; the caller closes it.

    Raises:
        StateError: what has its name is no regular file. OSError: it cannot be made or opened.
    """
    path = lock_path(directory)
    try:
        descriptor = os.open(path, _FLAGS, _OWNER)
    except OSError as err:
        if err.errno in _NOT_REGULAR:
            raise _strange(path) from err
        raise
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise _strange(path)
    try:
        _set_mode(descriptor, status, directory)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def lock_path(directory: Path) -> Path:
    """Return where the lock of ``directory`` is."""
    return directory / _LOCK


def take_lock(descriptor: int) -> bool:
    """Hold the lock after this, until ``descriptor`` is closed; False where another holds it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _set_mode(descriptor: int, status: os.stat_result, directory: Path) -> None:
    """Let those lock who may write ``directory``, whatever the umask; a lock of somebody else's is his to open."""
    writers = directory.stat().st_mode & _OTHER_WRITERS
    mode = _OWNER | writers | writers << 1
    # Under a second name it may be any file of ours, whose mode is not to be changed.
    is_ours = status.st_uid == os.geteuid() and status.st_nlink == 1
    if is_ours and stat.S_IMODE(status.st_mode) != mode:
        with suppress(PermissionError):  # a file system without modes
            os.fchmod(descriptor, mode)


def _strange(path: Path) -> StateError:
    return StateError(f"lock is no regular file: {path}", hint="who put it there? remove it, then repeat")
