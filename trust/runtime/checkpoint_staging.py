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
from contextlib import contextmanager
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
        with swept(parent) as abandoned:
            for each in abandoned:
                remove_tree(each)
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
def swept(parent: Path) -> Iterator[Iterator[Path]]:
    """Give each staging directory whose maker has died; none is made meanwhile.

    Raises:
        OSError: there is no such parent.
    """
    lock = os.open(parent, _FLAGS)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield _abandoned(parent)
    finally:
        os.close(lock)


def _abandoned(parent: Path) -> Iterator[Path]:
    for directory in list(parent.iterdir()):
        lock = os.open(directory, _FLAGS)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # its maker holds it as long as it lives
        except BlockingIOError:
            continue
        else:
            yield directory
        finally:
            os.close(lock)
