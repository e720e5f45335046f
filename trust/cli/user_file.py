"""Owns the files of a user's that are written whole: the old content or the new one on disk, never a part.

A link is followed, and who may read the file stays as it was: a policy that root edits serves gates that run as
somebody else. Edits of one file wait for each other, so that none takes back what another has said.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from trust.errors import InputError, StateError

_MODE = 0o644  # at most, whatever the umask: whoever else could write a policy decides what is trusted


def require_file(path: Path) -> None:
    """Return if ``path`` is a file, or nothing yet: what is renamed over a device would take its place.

    Raises:
        InputError: it is something else.
    """
    with suppress(FileNotFoundError, NotADirectoryError):
        if not stat.S_ISREG(path.stat().st_mode):
            raise InputError(
                f"{path} is no file, and nothing is written in its place: expected the name of a file"
            )


def open_file(path: Path) -> BinaryIO:
    """Return ``path`` opened for reading, a file that can be read from its beginning again.

    Raises:
        InputError: it cannot be read, or is something else: a pipe that nobody writes to would hold us.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as err:
        raise InputError(f"file cannot be read: {path}: {err.strerror}") from err
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise InputError(f"{path} is no file: expected one that can be read twice, as no pipe or device can")
    return os.fdopen(descriptor, "rb")


def read_bytes(path: Path, *, what: str, max_bytes: int) -> bytes:
    """Return the whole content of ``path``, which messages call ``what``; never a part of it.

    Raises:
        InputError: it cannot be read, or is larger, as a device without an end is.
    """
    try:
        with path.open("rb") as file:
            data = file.read(max_bytes + 1)
    except OSError as err:
        raise InputError(f"{what} cannot be read: {path}: {err.strerror}") from err
    if len(data) > max_bytes:
        raise InputError(f"{what} is too large: {path}: expected at most {max_bytes} bytes")
    return data


def edit_text(path: Path, edit: Callable[[str | None], str]) -> bool:
    """Make what ``edit`` makes of its text the content of ``path``; return whether that is another one.

    ``edit`` is given None where there is no such file. Whoever edits it at the same moment waits.

    Raises:
        InputError: it is no UTF-8, or no file.
        StateError: it cannot be read or written; it is as before.
    """
    place = _followed(path)
    with _alone(place):
        text = _text(place)
        edited = edit(text)
        if edited == text:
            return False
        write_bytes(place, edited.encode())
    return True


def write_bytes(path: Path, data: bytes) -> None:
    """Make ``data`` the content of ``path``: synced beside it, then renamed over it.

    Raises:
        InputError: it is no file.
        StateError: it cannot be written; the file is as before.
    """
    place = _followed(path)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with replacement(place) as new:
            new.file.write(data)
            _keep_readers(new.file.fileno(), place)
            new.keep()
    except OSError as err:
        raise _failed("written", path, err) from err


class Replacement:
    """A new file beside ``place``; ``replacement`` makes it, and removes it unless it is kept."""

    def __init__(self, place: Path, temporary: Path, file: BinaryIO) -> None:
        self.file = file
        self._place = place
        self._temporary = temporary

    def keep(self) -> None:
        """Be ``place`` from now on, over what was there, and stay it over a power cut."""
        self.file.flush()
        os.fsync(self.file.fileno())
        self._temporary.replace(self._place)
        with suppress(OSError):  # accepted: not every file system syncs a directory, or lets us read it
            directory = os.open(self._place.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)


@contextmanager
def replacement(place: Path, *, mode: int = _MODE) -> Iterator[Replacement]:
    """Give what is to be written in the place of ``place``, by a name that nobody can know before.

    Whoever else may write in the directory had else a link there, and with it whatever it leads to written over.
    What a killed command left is swept up. OSError is the caller's to word.
    """
    _sweep(place)
    temporary, descriptor = _locked(place, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield Replacement(place, temporary, file)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _locked(place: Path, mode: int) -> tuple[Path, int]:
    while True:
        temporary = place.with_name(f".{place.name}.{secrets.token_hex(8)}")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(temporary, flags, mode)
        with suppress(OSError):  # accepted: a file system without locks sweeps nothing up
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_nlink:
            return temporary, descriptor
        os.close(descriptor)  # swept up before it was locked


def _sweep(place: Path) -> None:
    """Remove what killed commands left beside ``place``: a living one holds a lock on its own."""
    left = re.compile(re.escape(f".{place.name}.") + "[0-9a-f]{16}", re.ASCII)
    with suppress(OSError):
        for path in [each for each in place.parent.iterdir() if left.fullmatch(each.name)]:
            with suppress(OSError):
                descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    path.unlink()
                finally:
                    os.close(descriptor)


def _followed(path: Path) -> Path:
    place = Path(os.path.realpath(path))
    require_file(place)
    return place


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except UnicodeDecodeError as err:
        raise InputError(f"file is not UTF-8: {path}: {err.reason} at byte {err.start}") from err
    except OSError as err:
        raise _failed("read", path, err) from err


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Have nobody else edit a file beside ``path`` meanwhile: the lock is the directory, and leaves nothing."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as err:
        raise _failed("written", path, err) from err
    try:
        with suppress(OSError):  # accepted: a network file system may know no lock of directories
            fcntl.flock(directory, fcntl.LOCK_EX)
        yield
    finally:
        os.close(directory)


def _keep_readers(descriptor: int, path: Path) -> None:
    """Give the new file the owner and the mode of the one at ``path``, if there is one."""
    with suppress(FileNotFoundError):
        was = path.stat()
        with suppress(PermissionError):  # root alone gives files away
            os.fchown(descriptor, was.st_uid, was.st_gid)
        os.fchmod(descriptor, stat.S_IMODE(was.st_mode))


def _failed(word: str, path: Path, err: OSError) -> StateError:
    return StateError(f"file cannot be {word}: {path}: {err.strerror}")
