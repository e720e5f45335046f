"""Owns the files of a layout: opened without following links, written whole or not at all.

A reader takes names apart and goes down by directory descriptors; a directory or file that is a symbolic link, a
fifo or a device is refused. A writer holds a lock on its temporary file: one that can be locked is a dead
writer's.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import sleep

from trust.errors import InputError, LimitError, StateError
from trust.lock_file import LOCK_STEP_SECONDS, lock_path, open_lock, take_lock

LOCK_SECONDS = 10  # an index is written in a few milliseconds: who holds the lock longer is stopped, or no writer
_TEMPORARY = ".ingest-"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a fifo must not hold us
_NOT_REGULAR = frozenset({errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.ENXIO})


def open_regular(root: Path, parts: tuple[str, ...]) -> int:
    """Return a descriptor of the regular file ``root/parts…``; the caller closes it.

    Raises:
        InputError: not there, a symbolic link on the way, or no regular file; StateError: unreadable.
    """
    shown = "/".join(parts)
    try:
        with _directory(root, parts[:-1]) as directory:
            descriptor = os.open(parts[-1], _FILE, dir_fd=directory)
    except FileNotFoundError as err:
        raise InputError(f"layout lacks {shown}: {root}") from err
    except OSError as err:
        if err.errno in _NOT_REGULAR:
            raise _strange(root, shown) from err
        raise StateError(f"layout is unreadable: {root}/{shown}: {err.strerror}") from err
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _strange(root, shown)
    return descriptor


def read_regular(root: Path, parts: tuple[str, ...], *, max_bytes: int) -> bytes:
    """Return the bytes of ``root/parts…``.

    Raises:
        InputError: as ``open_regular``, or longer than ``max_bytes``; StateError: unreadable.
    """
    with os.fdopen(open_regular(root, parts), "rb") as file:
        try:
            data = file.read(max_bytes + 1)
        except OSError as err:
            raise StateError(f"layout is unreadable: {root}/{'/'.join(parts)}: {err.strerror}") from err
    if len(data) > max_bytes:
        raise InputError(f"layout's {'/'.join(parts)} is too large: expected at most {max_bytes} bytes: {root}")
    return data


class TemporaryFile:
    """A file being written in ``root`` that nobody sees; ``temporary_file`` makes and removes it."""

    def __init__(self, root: Path, name: str, descriptor: int) -> None:
        self._root = root
        self._name = name
        self._descriptor = descriptor

    def write(self, data: bytes) -> None:
        """Append ``data``.

        Raises:
            StateError: it cannot be written.
        """
        rest = memoryview(data)
        with _writing(self._root):
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]

    def keep_as(self, parts: tuple[str, ...]) -> None:
        """Be ``root/parts…`` from now on, over what was there, and stay it over a power cut.

        Raises:
            StateError: it cannot be written.
        """
        with (
            _writing(self._root),
            _directory(self._root, ()) as root,
            _directory(self._root, parts[:-1], make=True) as directory,
        ):
            os.fsync(self._descriptor)
            os.rename(self._name, parts[-1], src_dir_fd=root, dst_dir_fd=directory)
            os.fsync(directory)


@contextmanager
def temporary_file(root: Path) -> Iterator[TemporaryFile]:
    """Give a new temporary file; it is gone after this unless it was kept.

    Raises:
        StateError: it cannot be written.
    """
    with _writing(root):
        path, descriptor = _locked_temporary(root)
    try:
        yield TemporaryFile(root, path.name, descriptor)
    finally:
        os.close(descriptor)
        path.unlink(missing_ok=True)


def replace_file(root: Path, name: str, data: bytes) -> None:
    """Have ``data`` in ``root/name`` after this: the old bytes or the new ones, never a part.

    Raises:
        StateError: it cannot be written.
    """
    with temporary_file(root) as temporary:
        temporary.write(data)
        temporary.keep_as((name,))


def sweep_temporaries(root: Path) -> None:
    """Remove the temporary files whose writers are dead."""
    for path in root.glob(f"{_TEMPORARY}*"):
        with suppress(OSError):  # its writer lives, or it is gone
            descriptor = os.open(path, _FILE)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()
            finally:
                os.close(descriptor)


@contextmanager
def exclusive(root: Path) -> Iterator[None]:
    """Keep other writers of the index out meanwhile.

    Raises:
        LimitError: another has held the lock for ``LOCK_SECONDS``; StateError: it cannot be taken.
    """
    try:
        descriptor = open_lock(root)
    except OSError as err:
        raise StateError(f"layout cannot be locked: {root}: {err.strerror}") from err
    try:
        _wait_for(descriptor, root)
        yield
    finally:
        os.close(descriptor)


def _wait_for(descriptor: int, root: Path) -> None:
    try:
        for _ in range(round(LOCK_SECONDS / LOCK_STEP_SECONDS)):
            if take_lock(descriptor):
                return
            sleep(LOCK_STEP_SECONDS)
    except OSError as err:
        raise StateError(f"layout cannot be locked: {root}: {err.strerror}") from err
    raise LimitError(
        f"layout cannot be locked: another has held {lock_path(root)} for {LOCK_SECONDS} seconds",
        hint="the index was not changed; is that writer stopped?",
    )


def _locked_temporary(root: Path) -> tuple[Path, int]:
    while True:
        path = root / f"{_TEMPORARY}{secrets.token_hex(8)}"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        if take_lock(descriptor) and os.fstat(descriptor).st_nlink:
            return path, descriptor
        os.close(descriptor)  # swept up before it was locked, or held by who may read it
        path.unlink(missing_ok=True)


@contextmanager
def _writing(root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as err:
        raise StateError(f"layout cannot be written: {root}: {err.strerror}") from err


@contextmanager
def _directory(root: Path, parts: tuple[str, ...], *, make: bool = False) -> Iterator[int]:
    descriptor = os.open(root, _DIRECTORY)
    try:
        for part in parts:
            if make:
                with suppress(FileExistsError):
                    os.mkdir(part, dir_fd=descriptor)
            below = os.open(part, _DIRECTORY | os.O_NOFOLLOW, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = below
        yield descriptor
    finally:
        os.close(descriptor)


def _strange(root: Path, shown: str) -> InputError:
    return InputError(f"layout is malformed: {shown} is, or lies behind, no regular file: {root}")
