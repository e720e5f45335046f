"""Owns the key directory on disk: whole files in, whole files out, and nobody else's access. Knows no key.

The directory is 0700, the files ``NAME.key`` are 0600, both belong to this process's user. Names are checked
before they become paths, files are opened relative to the checked directory and never through a symbolic link.

Writing leaves the old or the new file, whatever stops it (kill -9, power loss, a full disk), in these steps:
1. take the lock, which the kernel releases when its holder dies; 2. remove what dead writers left behind;
3. write a temporary file, flush it, read it back; 4. link it to its name, which fails if the name is taken, or
rename it over the old file; 5. flush the directory; 6. remove the temporary name.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shlex
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from keys.errors import (
    KeyChangedError,
    KeyDamagedError,
    KeyExistsError,
    KeyExposedError,
    KeyMissingError,
    KeysUnavailableError,
)
from keys.name import check_name, is_name
from keys.pem import MAX_BYTES

Random = Callable[[int], bytes]

_SUFFIX = ".key"
_TEMPORARY_PREFIX = ".new-"  # no key's name begins with a dot
_LOCK = ".lock"
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class KeyDirectory:
    """The directory ``path``; made on the first write, with its missing parents, each 0700.

    ``owner_uid`` is who must own all of it, by default the effective user. Every method raises
    ``KeysUnavailableError`` where the operating system refuses, and ``KeyExposedError`` where the directory or
    the file is open to others.
    """

    def __init__(self, path: Path, *, owner_uid: int | None = None) -> None:
        self.path = path
        self._owner_uid = os.geteuid() if owner_uid is None else owner_uid

    def file(self, name: str) -> Path:
        """Return the path of the key ``name``, for messages.

        Raises:
            KeyInputError: not a key name.
        """
        return self.path / f"{check_name(name)}{_SUFFIX}"

    def names(self) -> list[str]:
        """Return the names of all key files, sorted; none if the directory does not exist."""
        with self._reporting(f"list {self.path}"):
            try:
                with self._opened() as directory, os.scandir(directory) as found:
                    entries = [entry.name for entry in found]
            except FileNotFoundError:
                return []
        stems = [entry[: -len(_SUFFIX)] for entry in entries if entry.endswith(_SUFFIX)]
        return sorted(stem for stem in stems if is_name(stem))

    def read(self, name: str) -> bytes:
        """Return the bytes of the key ``name``, at most 64 KiB.

        Raises:
            KeyInputError, KeyMissingError: no such name.
            KeyDamagedError: not a regular file, or too large.
        """
        path = self.file(name)
        with self._reporting(f"read {path}"), self._finding(name), self._opened() as directory:
            return self._read(directory, path)

    def changed_at(self, name: str) -> float:
        """Return when the file of ``name`` was last written, in seconds since 1970.

        Raises:
            KeyInputError, KeyMissingError: no such name.
        """
        path = self.file(name)
        with self._reporting(f"read {path}"), self._finding(name), self._opened() as directory:
            return os.stat(path.name, dir_fd=directory, follow_symlinks=False).st_mtime

    def create(self, name: str, data: bytes, *, random: Random) -> None:
        """Make the new key ``name`` hold ``data``; of several processes that try, one succeeds.

        Raises:
            KeyInputError: not a key name.
            KeyExistsError: the name is taken; that key was not touched.
        """
        path = self.file(name)
        with self._reporting(f"write {path}"):
            _make_directory(self.path)
            with self._writing() as directory, _temporary(directory, data, random=random) as temporary:
                try:
                    os.link(temporary, path.name, src_dir_fd=directory, dst_dir_fd=directory)
                except FileExistsError as err:
                    raise self.taken(name) from err
                _confirm(directory, path)

    def replace(self, name: str, *, old: bytes, new: bytes, random: Random) -> None:
        """Make the key ``name``, which holds ``old``, hold ``new``.

        Raises:
            KeyInputError, KeyMissingError: no such name (any more).
            KeyChangedError: it holds something else by now; nothing was written.
        """
        path = self.file(name)
        with self._reporting(f"write {path}"), self._finding(name), self._writing() as directory:
            if self._read(directory, path) != old:
                raise KeyChangedError(
                    f"key {name} was changed by another process meanwhile: nothing was written", hint="repeat"
                )
            with _temporary(directory, new, random=random) as temporary:
                os.replace(temporary, path.name, src_dir_fd=directory, dst_dir_fd=directory)
                _confirm(directory, path)

    def remove(self, name: str) -> None:
        """Make the key ``name`` be gone; also one that is damaged or open to others.

        Raises:
            KeyInputError, KeyMissingError: no such name.
        """
        path = self.file(name)
        with self._reporting(f"remove {path}"), self._finding(name), self._writing() as directory:
            os.unlink(path.name, dir_fd=directory)
            _confirm(directory, path)

    def taken(self, name: str) -> KeyExistsError:
        """Return the error that says that the name is taken."""
        return KeyExistsError(
            f"key {name} exists already in {self.path}: it was not touched",
            hint=f"choose another name, or look at it: trust key show {name}",
        )

    @contextlib.contextmanager
    def _finding(self, name: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as err:
            raise KeyMissingError(
                f"no key {name} in {self.path}", hint=f"trust key list, or make it: trust key generate {name}"
            ) from err

    @contextlib.contextmanager
    def _reporting(self, action: str) -> Iterator[None]:
        try:
            yield
        except OSError as err:
            hint = None
            if err.errno in _NO_SPACE:
                hint = "free some space and repeat"
            elif isinstance(err, PermissionError):
                hint = f"check who owns it: ls -ld {shlex.quote(str(self.path))}"
            raise KeysUnavailableError(f"cannot {action}: {err.strerror}", hint=hint) from err

    @contextlib.contextmanager
    def _opened(self) -> Iterator[int]:
        directory = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self._check_access(os.fstat(directory), self.path, "key directory", 0o700)
            yield directory
        finally:
            os.close(directory)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[int]:
        with self._opened() as directory:
            # Held for milliseconds, so waiting for it needs no deadline. A file of its own, because NFS cannot
            # lock what is not open for writing; never removed, because a lock on a removed file excludes nobody.
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            lock = os.open(_LOCK, flags, 0o600, dir_fd=directory)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX)
                with os.scandir(directory) as entries:
                    for leftover in [entry.name for entry in entries if entry.name.startswith(_TEMPORARY_PREFIX)]:
                        os.unlink(leftover, dir_fd=directory)
                yield directory
            finally:
                os.close(lock)

    def _read(self, directory: int, path: Path) -> bytes:
        # O_NONBLOCK: a fifo of this name must not hang us.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        try:
            file = os.open(path.name, flags, dir_fd=directory)
        except OSError as err:
            if err.errno == errno.ELOOP:
                raise KeyDamagedError(f"{path} is a symbolic link, expected a regular file") from err
            raise
        try:
            status = os.fstat(file)
            if not stat.S_ISREG(status.st_mode):
                raise KeyDamagedError(f"{path} is {stat.filemode(status.st_mode)}, expected a regular file")
            self._check_access(status, path, "key file", 0o600)
            if status.st_size > MAX_BYTES:
                raise KeyDamagedError(f"{path}: too large: at most {MAX_BYTES} bytes, got {status.st_size}")
            return _read_all(file)
        finally:
            os.close(file)

    def _check_access(self, status: os.stat_result, path: Path, what: str, mode: int) -> None:
        quoted = shlex.quote(str(path))
        if status.st_uid != self._owner_uid:
            raise KeyExposedError(
                f"{what} {path} belongs to another user: expected uid {self._owner_uid}, got {status.st_uid}",
                hint=f"if it is yours: chown {self._owner_uid} {quoted} && chmod {mode:o} {quoted}",
            )
        if status.st_mode & _OTHERS:
            raise KeyExposedError(
                f"{what} {path} is open to other users: expected mode {mode:04o}, "
                f"got {stat.S_IMODE(status.st_mode):04o}",
                hint=f"chmod {mode:o} {quoted}; if others use this machine, replace the key",
            )


def _make_directory(path: Path) -> None:
    if path.exists():
        return
    _make_directory(path.parent)
    with contextlib.suppress(FileExistsError):
        path.mkdir(0o700)
    # Accepted: a parent that we may write but not read cannot be flushed, so a power loss may take the directory.
    with contextlib.suppress(PermissionError):
        parent = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            _flush(parent)
        finally:
            os.close(parent)


@contextlib.contextmanager
def _temporary(directory: int, data: bytes, *, random: Random) -> Iterator[str]:
    name = f"{_TEMPORARY_PREFIX}{random(8).hex()}"
    try:
        file = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=directory)
        try:
            remaining = memoryview(data)
            while remaining:
                remaining = remaining[os.write(file, remaining) :]
            os.fsync(file)
            os.lseek(file, 0, os.SEEK_SET)
            if _read_all(file) != data:
                raise KeysUnavailableError("what was written does not read back: nothing was changed")
        finally:
            os.close(file)
        yield name
    finally:
        with contextlib.suppress(OSError):  # renamed, never made, or left to the next writer
            os.unlink(name, dir_fd=directory)


def _confirm(directory: int, path: Path) -> None:
    try:
        _flush(directory)
    except OSError as err:
        raise KeysUnavailableError(
            f"{path} was changed, but the disk does not confirm it ({err.strerror}): a power loss may undo it"
        ) from err


def _flush(directory: int) -> None:
    try:
        os.fsync(directory)
    except OSError as err:
        if err.errno != errno.EINVAL:  # some network file systems cannot flush a directory
            raise


def _read_all(file: int) -> bytes:
    chunks = []
    missing = MAX_BYTES
    while missing and (chunk := os.read(file, missing)):
        chunks.append(chunk)
        missing -= len(chunk)
    return b"".join(chunks)
