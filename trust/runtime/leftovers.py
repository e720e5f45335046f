"""Owns what is left where something of ours was killed: found by its name, and cleaned away.

A container's directory is made before anything else of it and removed after everything else; all that is of it
(control groups, the engine's state) bears its identity. So a leftover is one of three: a directory that begins
with a dot, which was being removed; one without a record, which was being made; an engine's state without a
directory. Mounts and networks need no cleaning: they are in namespaces that end with their
processes.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from trust.errors import InputError, UnavailableError
from trust.runtime.cgroup import Controllers
from trust.runtime.disk import remove_tree
from trust.runtime.engine import Engine

IDENTITY_LENGTH = 32
_STARTING = "starting"


def sweep(directory: Path, engine_named: Callable[[str], Engine]) -> None:
    """Have no leftovers of the containers in ``directory``; what somebody works on is none.

    Raises:
        OSError: something cannot be removed.
    """
    if not directory.is_dir():
        return
    for path in directory.iterdir():
        is_removed = path.name.startswith(".")
        is_half_made = len(path.name) == IDENTITY_LENGTH and not (path / "record.json").exists()
        if is_removed or is_half_made:
            with suppress(InputError, FileNotFoundError, NotADirectoryError), locked(path, wait=False) as is_there:
                if is_there and (is_removed or not (path / "record.json").exists()):
                    remove_tree(path)
    for state in directory.parent.glob("engines/*/*"):
        if len(state.name) == IDENTITY_LENGTH and not (directory / state.name).exists():
            with suppress(InputError, UnavailableError):
                engine_named(state.parent.name).delete(state.name)
                Controllers().remove(state.name)


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
