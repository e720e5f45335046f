"""Owns the places where snapshots are made and unpacked: private, gone afterwards, swept if their maker died.

    TRUST_HOME/checkpoints/<random>/     images/  work/  blobs/

A snapshot holds memory, and with it every secret of the process: nothing of it stays here. Each maker holds the
lock on its own directory; one that nobody holds is removed by the next.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from trust.errors import StateError
from trust.runtime.disk import make_private_directory, remove_tree

DIRECTORY = "checkpoints"
_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@contextmanager
def staging(home: Path) -> Iterator[Path]:
    """Give a new private directory below ``home``, gone afterwards.

    Raises:
        StateError: it cannot be made, or what is done with it fails on this disk.
    """
    try:
        parent = make_private_directory(home / DIRECTORY)
        with _locked(parent):
            for abandoned in parent.iterdir():
                _sweep(abandoned)
            place = parent / secrets.token_hex(8)
            place.mkdir(mode=0o700)
            mine = os.open(place, _FLAGS)
            fcntl.flock(mine, fcntl.LOCK_EX)
        try:
            yield place
        finally:
            remove_tree(place)
            os.close(mine)
    except OSError as err:
        raise StateError(
            f"checkpoint cannot be kept on this disk: {err.strerror or err}: {err.filename or home}"
        ) from err


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    lock = os.open(directory, _FLAGS)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _sweep(directory: Path) -> None:
    lock = os.open(directory, _FLAGS)
    try:
        with suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            remove_tree(directory)
    finally:
        os.close(lock)
