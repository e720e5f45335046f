"""Owns the machine's files below one root: read whole, written whole, taken away; never half of either."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from trust.errors import InputError, StateError

FILE_MAX_BYTES = 4 * 1024 * 1024
_FILE_MODE, _DIRECTORY_MODE = 0o644, 0o755  # whatever root's umask: rootless clients read them too
_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFLNK: "a link",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class Machine:
    """The files below ``root``: ``/``, or the file system of an image that is being built."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, name: str) -> Path:
        """Return where ``name`` (``etc/…``) is, for a reader; what is opened goes through ``_inside``."""
        return self.root / name

    def _inside(self, name: str) -> Path:
        """Return the path of ``name`` if no link leads it, or its directory, out of the root.

        The file system of an image is made by others: a link of theirs must not have us write on this machine.
        """
        path = self.path(name)
        self._real(path)
        self._real(path.parent)
        return path

    def _real(self, path: Path) -> Path:
        """Return ``path`` without a link on the way, inside the root."""
        real = Path(os.path.realpath(path))
        if not real.is_relative_to(os.path.realpath(self.root)):
            raise StateError(f"a link leads out of {self.root}: {path}")
        return real

    def read(self, name: str) -> bytes | None:
        """Return the content of ``name``, None where there is no such file.

        Raises:
            StateError: it cannot be read, is no file, or a link leads it out of the root.
        """
        path = self._inside(name)
        try:
            data = _content(path, self._real(path))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as err:
            raise _failed("read", path, err) from err
        if len(data) > FILE_MAX_BYTES:
            raise StateError(f"file is too large: {path}: expected at most {FILE_MAX_BYTES} bytes")
        return data

    def text(self, name: str) -> str | None:
        """Return the content of ``name`` as text, None where there is no such file.

        Raises:
            InputError: it is no UTF-8.
            StateError: as ``read``.
        """
        data = self.read(name)
        try:
            return None if data is None else data.decode()
        except UnicodeDecodeError as err:
            raise InputError(f"file is not UTF-8: {self.path(name)}") from err

    def names(self, directory: str) -> list[str]:
        """Return what is in ``directory``, in the order of their bytes; nothing where there is none.

        Raises:
            StateError: it cannot be read.
        """
        try:
            return sorted(entry.name for entry in self._inside(directory).iterdir())
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as err:
            raise _failed("read", self.path(directory), err) from err

    def write(self, name: str, data: bytes) -> None:
        """Make ``data`` the content of ``name``: synced beside it, then renamed over it.

        Raises:
            StateError: it cannot be written; the file is as before.
        """
        path = self._inside(name)
        try:
            with _directory(self._real(path.parent), make=True) as place:
                _replace(place, path.name, data)
        except OSError as err:
            raise _failed("written", path, err) from err

    def remove(self, name: str) -> None:
        """Have no file ``name`` after this, nor its directory if nothing else is in it.

        Raises:
            StateError: it cannot be removed.
        """
        path = self._inside(name)
        try:
            with suppress(FileNotFoundError, NotADirectoryError), _directory(self._real(path.parent)) as place:
                os.unlink(path.name, dir_fd=place)
            if path.parent.is_dir() and not any(path.parent.iterdir()):
                path.parent.rmdir()
        except OSError as err:
            raise _failed("removed", path, err) from err


@contextmanager
def _directory(real: Path, *, make: bool = False) -> Iterator[int]:
    """Give a descriptor of the directory ``real``; no link is followed, not even one that came just now.

    Raises:
        OSError: it is not there and not to be made, or something on the way is no directory.
    """
    place = os.open("/", _DIRECTORY)
    try:
        for part in real.parts[1:]:
            above, place = place, _entered(place, part, make=make)
            os.close(above)
        yield place
    finally:
        os.close(place)


def _entered(place: int, part: str, *, make: bool) -> int:
    try:
        return os.open(part, _DIRECTORY, dir_fd=place)
    except FileNotFoundError:
        if not make:
            raise
    except NotADirectoryError as err:
        if stat.S_ISLNK(os.stat(part, dir_fd=place, follow_symlinks=False).st_mode):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP)) from err
        raise
    os.mkdir(part, _DIRECTORY_MODE, dir_fd=place)
    made = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=place)
    os.fchmod(made, _DIRECTORY_MODE)
    return made


def _content(path: Path, real: Path) -> bytes:
    """Return what is in the regular file ``real``, one byte more than allowed at most.

    Homes are their users': a pipe of theirs would keep root waiting, and to open a device alone can do something.
    """
    name = real.name or "."
    with _directory(real.parent) as place:
        _require_regular(path, os.stat(name, dir_fd=place, follow_symlinks=False))
        with os.fdopen(os.open(name, _READ, dir_fd=place), "rb") as file:
            _require_regular(path, os.fstat(file.fileno()))
            return file.read(FILE_MAX_BYTES + 1)


def _require_regular(path: Path, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        kind = _KINDS.get(stat.S_IFMT(found.st_mode), "something else")
        raise StateError(f"file cannot be read: {path}: expected a regular file, got {kind}")


def _replace(place: int, name: str, data: bytes) -> None:
    """Put ``data`` at ``name``; its temporary name is nobody's to guess, and never one that is there already."""
    temporary = f".{name}.{secrets.token_hex(8)}"
    with os.fdopen(os.open(temporary, _WRITE, 0o600, dir_fd=place), "wb") as file:
        try:
            os.fchmod(file.fileno(), _FILE_MODE)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            os.rename(temporary, name, src_dir_fd=place, dst_dir_fd=place)
        except BaseException:
            os.unlink(temporary, dir_fd=place)
            raise


def _failed(doing: str, path: Path, err: OSError) -> StateError:
    denied = isinstance(err, PermissionError)
    hint = "repeat it as root, or with --root DIR for the file system of an image" if denied else None
    return StateError(f"file cannot be {doing}: {path}: {err.strerror}", hint=hint)
