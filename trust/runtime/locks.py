"""Owns who works on a container: the lock on its directory, and the one that its start holds.

Both are the kernel's, and end with whoever holds them.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from trust.errors import InputError

RECORD = "record.json"
_STARTING = "starting"


@contextmanager
def locked(directory: Path, *, wait: bool) -> Iterator[bool]:
    """Hold the lock of a container's directory; give whether that is still what bears its name.

    Raises:
        InputError: somebody has it, and ``wait`` is not set.
        FileNotFoundError: there is no such directory.
    """
    lock = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError as err:
            raise InputError(f"container {directory.name[:12]} is being started or removed") from err
        try:
            is_there = os.path.samestat(os.fstat(lock), directory.stat())
        except FileNotFoundError:
            is_there = False
        yield is_there
    finally:
        os.close(lock)


@contextmanager
def not_starting(directory: Path) -> Iterator[None]:
    """Hold back whoever would start the container; one who has begun is waited for."""
    try:
        lock = os.open(directory / _STARTING, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        yield
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


@contextmanager
def starting(directory: Path) -> Iterator[None]:
    """Hold what whoever removes the container waits for: nothing may be started behind his back.

    Raises:
        InputError: the container has been removed.
    """
    try:
        lock = os.open(directory / _STARTING, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except FileNotFoundError as err:
        raise InputError(f"container is not there any more: {directory.name}") from err
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (directory / RECORD).exists():
            raise InputError(f"container is not there any more: {directory.name}")
        yield
    finally:
        os.close(lock)


@contextmanager
def made(directory: Path) -> Iterator[None]:
    """Make a directory and hold its lock; whoever sweeps may take it for a leftover in between."""
    with ExitStack() as stack:
        is_there = False
        while not is_there:
            with suppress(FileExistsError):
                directory.mkdir(mode=0o700)
            with suppress(FileNotFoundError):
                is_there = stack.enter_context(locked(directory, wait=True))
        yield
