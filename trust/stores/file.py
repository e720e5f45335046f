"""Owns ``file:DIR``, the embedded store: a directory that any static web server can serve to consumers.

Publishing, under an advisory lock on ``DIR/.lock``:
  1. the timestamp is still the one that the edit began with, else conflict
  2. every versioned file: written to a temporary name, synced, linked create-only
  3. the directory is synced, so that no timestamp outlives the files it names
  4. the timestamp: written, synced, renamed over the old one, the directory synced

A kill at any moment leaves the old timestamp or the new one; files without a timestamp are orphans whose
numbers are burnt.
"""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trust.deadline import Deadline
from trust.errors import ConflictError, LimitError, StateError, UnreachableError
from trust.stores.interface import TIMESTAMP, MissingPlaceError, Publication, View, checked_name

_TEMPORARY = ".tmp-"


class FileView:
    """The directory as it is now; the files it names by version never change."""

    token = None

    def __init__(self, directory: Path, deadline: Deadline) -> None:
        self._directory = directory
        self._deadline = deadline

    def read(self, name: str, max_bytes: int) -> bytes | None:
        """Return the bytes of ``name`` or None; see ``View.read``."""
        self._deadline.remaining_seconds()
        path = self._directory / checked_name(name)
        try:
            # A pipe in the place of a file would hold whoever opens it, for ever.
            with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    raise UnreachableError(f"metadata is not a regular file: {path}")
                data = file.read(max_bytes + 1)
        except FileNotFoundError:
            self._require_directory()
            return None
        except OSError as err:
            raise UnreachableError(f"metadata cannot be read: {path}: {err.strerror}") from err
        if len(data) > max_bytes:
            raise LimitError(f"metadata is too large: {path}: expected at most {max_bytes} bytes")
        return data

    def taken(self, name: str) -> bool:
        """Tell whether the file exists, published or orphaned."""
        return (self._directory / checked_name(name)).exists()

    def strays(self) -> tuple[tuple[View, View], ...]:
        """Return nothing: the lock lets no change be passed over."""
        return ()

    def _require_directory(self) -> None:
        if not self._directory.is_dir():
            raise MissingPlaceError(
                f"metadata directory is missing: {self._directory}",
                hint="is it mounted? see `metadata` in the policy",
            )


class FileStore:
    """A directory of metadata files."""

    def __init__(self, url: str, directory: Path) -> None:
        self.url = url
        self._directory = directory

    def view(self, *, known: str | None, deadline: Deadline) -> View | None:
        """Return the directory as a view; it has no token, so ``known`` is of no use."""
        del known
        return FileView(self._directory, deadline)

    def probe(self, *, deadline: Deadline) -> None:
        """Return if the directory exists, or could be made, and can be written to."""
        deadline.remaining_seconds()
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            with _locked(self._directory):
                pass
        except OSError as err:
            raise StateError(f"metadata directory cannot be written: {self._directory}: {err.strerror}") from err

    def publish(self, publication: Publication, *, deadline: Deadline) -> None:
        """Publish by the steps of this module; see ``Store.publish``."""
        try:
            with _locked(self._directory):
                _remove_temporaries(self._directory)
                current = FileView(self._directory, deadline).read(TIMESTAMP, 1 << 20)
                if current != publication.base_timestamp:
                    raise ConflictError(f"another publisher was first: {self.url} has moved on")
                for name, data in publication.files.items():
                    self._create(checked_name(name), data)
                _sync(self._directory)
                _replace(self._directory / TIMESTAMP, publication.timestamp)
        except OSError as err:
            raise StateError(
                f"metadata cannot be written: {self._directory}: {err.strerror}",
                hint="nothing that was acknowledged is lost; repeat the command when there is room",
            ) from err

    def _create(self, name: str, data: bytes) -> None:
        path = self._directory / name
        temporary = _written(path, data)
        try:
            os.link(temporary, path)
        except FileExistsError as err:
            if path.read_bytes() != data:
                raise ConflictError(f"a version never has two contents: {name} exists in {self.url}") from err
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    with (directory / ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _remove_temporaries(directory: Path) -> None:
    """Remove what a killed writer left; the lock says that none is alive."""
    for leftover in directory.glob(f"{_TEMPORARY}*"):
        leftover.unlink(missing_ok=True)


def _written(path: Path, data: bytes) -> Path:
    temporary = path.with_name(f"{_TEMPORARY}{path.name}")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return temporary


def _replace(path: Path, data: bytes) -> None:
    _written(path, data).replace(path)
    _sync(path.parent)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
