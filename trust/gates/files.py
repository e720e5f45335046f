"""Owns the machine's files below one root: read whole, written whole, taken away; never half of either."""

from __future__ import annotations

import os
from pathlib import Path

from trust.errors import InputError, StateError

FILE_MAX_BYTES = 4 * 1024 * 1024
_FILE_MODE, _DIRECTORY_MODE = 0o644, 0o755  # whatever root's umask: rootless clients read them too


class Machine:
    """The files below ``root``: ``/``, or the file system of an image that is being built."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, name: str) -> Path:
        """Return where ``name`` (``etc/…``) is, for a reader; what is opened goes through ``_inside``."""
        return self.root / name

    def _inside(self, name: str) -> Path:
        """Return the path of ``name`` if no link leads it out of the root.

        The file system of an image is made by others: a link of theirs must not have us write on this machine.
        """
        path = self.path(name)
        if self.root != Path("/") and not path.resolve().is_relative_to(self.root.resolve()):
            raise StateError(f"a link leads out of {self.root}: {path}")
        return path

    def read(self, name: str) -> bytes | None:
        """Return the content of ``name``, None where there is no such file.

        Raises:
            StateError: it cannot be read, is no file, or a link leads it out of the root.
        """
        path = self._inside(name)
        try:
            with path.open("rb") as file:
                data = file.read(FILE_MAX_BYTES + 1)
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
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            self._make_directory(path.parent)
            try:
                with temporary.open("wb") as file:
                    os.fchmod(file.fileno(), _FILE_MODE)
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                temporary.replace(path)
            finally:
                temporary.unlink(missing_ok=True)
        except OSError as err:
            raise _failed("written", path, err) from err

    def remove(self, name: str) -> None:
        """Have no file ``name`` after this, nor its directory if nothing else is in it.

        Raises:
            StateError: it cannot be removed.
        """
        path = self._inside(name)
        try:
            path.unlink(missing_ok=True)
            if path.parent.is_dir() and not any(path.parent.iterdir()):
                path.parent.rmdir()
        except OSError as err:
            raise _failed("removed", path, err) from err

    def _make_directory(self, path: Path) -> None:
        if path.is_dir():
            return
        self._make_directory(path.parent)
        path.mkdir(exist_ok=True)
        path.chmod(_DIRECTORY_MODE)


def _failed(doing: str, path: Path, err: OSError) -> StateError:
    denied = isinstance(err, PermissionError)
    hint = "repeat it as root, or with --root DIR for the file system of an image" if denied else None
    return StateError(f"file cannot be {doing}: {path}: {err.strerror}", hint=hint)
