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

import os
import stat
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from trust.deadline import Deadline
from trust.errors import ConflictError, LimitError, StateError, UnreachableError
from trust.stores.durable import below, create, locked, remove, remove_temporaries, replace
from trust.stores.interface import (
    PENDING_MAX_BYTES,
    TIMESTAMP,
    MissingPlaceError,
    Publication,
    View,
    checked_name,
    checked_pending,
    is_pending_name,
    is_versioned,
    require_pending_size,
    require_removable,
)

_PENDING = "pending"
_SUFFIX = ".json"


class FileView:
    """The directory as it is now; the files it names by version never change."""

    token = None

    def __init__(self, directory: Path, deadline: Deadline) -> None:
        self._directory = directory
        self._deadline = deadline

    def read(self, name: str, max_bytes: int) -> bytes | None:
        """Return the bytes of ``name`` or None; see ``View.read``."""
        self._deadline.remaining_seconds()
        data = _content(self._directory / checked_name(name), max_bytes)
        if data is None:
            require_directory(self._directory)
        return data

    def taken(self, name: str) -> bool:
        """Tell whether the file exists, published or orphaned."""
        return os.path.lexists(self._directory / checked_name(name))

    def strays(self) -> tuple[tuple[View, View], ...]:
        """Return nothing: the lock lets no change be passed over."""
        return ()


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
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            with locked(self._directory, deadline):
                pass
        except OSError as err:
            raise StateError(f"metadata directory cannot be written: {self._directory}: {err.strerror}") from err

    def publish(self, publication: Publication, *, deadline: Deadline) -> None:
        """Publish by the steps of this module; see ``Store.publish``."""
        with self._writing(deadline) as directory:
            current = FileView(self._directory, deadline).read(TIMESTAMP, 1 << 20)
            if current != publication.base_timestamp:
                raise ConflictError(f"another publisher was first: {self.url} has moved on")
            for name, data in publication.files.items():
                if not create(directory, checked_name(name), data):
                    raise ConflictError(f"a version never has two contents: {name} exists in {self.url}")
            os.fsync(directory)
            replace(directory, TIMESTAMP, publication.timestamp)

    def pending(self, *, deadline: Deadline) -> Mapping[str, bytes]:
        """Return what waits in ``DIR/pending``; see ``Store.pending``."""
        directory, size_bytes = self._directory / _PENDING, 0
        waiting: dict[str, bytes] = {}
        for name in _stems(directory):
            deadline.remaining_seconds()
            require_pending_size(len(waiting) + 1, size_bytes, self.url)
            data = _content(directory / f"{name}{_SUFFIX}", PENDING_MAX_BYTES - size_bytes)
            if data is not None:
                waiting[name] = data
                size_bytes += len(data)
        if not waiting:
            require_directory(self._directory)
        return waiting

    def set_pending(self, name: str, data: bytes | None, *, replaces: bytes | None, deadline: Deadline) -> None:
        """Replace or remove ``DIR/pending/NAME.json`` under the lock; see ``Store.set_pending``."""
        file = f"{checked_pending(name, data)}{_SUFFIX}"
        with self._writing(deadline) as directory:
            if _content(self._directory / _PENDING / file, PENDING_MAX_BYTES) != replaces:
                raise ConflictError(f"the change of {name} that waits in {self.url} is another one by now")
            with below(directory, _PENDING) as pending:
                remove_temporaries(pending)
                if data is None:
                    remove(pending, file)
                    os.fsync(pending)
                else:
                    replace(pending, file, data)
            os.fsync(directory)

    def names(self, *, deadline: Deadline) -> frozenset[str]:
        """Return the versioned files of the directory."""
        deadline.remaining_seconds()
        try:
            return frozenset(path.name for path in self._directory.iterdir() if is_versioned(path.name))
        except FileNotFoundError:
            require_directory(self._directory)
            raise
        except OSError as err:
            raise UnreachableError(f"metadata cannot be read: {self._directory}: {err.strerror}") from err

    def remove(self, names: Collection[str], *, deadline: Deadline) -> None:
        """Remove the files ``names`` under the lock; see ``Store.remove``."""
        require_removable(names)
        with self._writing(deadline) as directory:
            for name in names:
                remove(directory, name)
            os.fsync(directory)

    @contextmanager
    def _writing(self, deadline: Deadline) -> Iterator[int]:
        """Give the directory, locked and rid of what killed writers left; what the disk says is our error."""
        try:
            with locked(self._directory, deadline) as directory:
                remove_temporaries(directory)
                yield directory
        except OSError as err:
            raise StateError(
                f"metadata cannot be written: {self._directory}: {err.strerror}",
                hint="nothing that was acknowledged is lost; repeat the command when there is room",
            ) from err


def require_directory(directory: Path) -> None:
    """Return if there is a directory: a file is absent only from one that is there.

    Raises:
        MissingPlaceError: there is none.
    """
    if not directory.is_dir():
        raise MissingPlaceError(
            f"metadata directory is missing: {directory}", hint="is it mounted? see `metadata` in the policy"
        )


def _stems(directory: Path) -> list[str]:
    """Return the names of the changes in ``directory``; what has another name was put there by somebody else."""
    try:
        listed = sorted(path.name for path in directory.iterdir())
    except FileNotFoundError:
        return []
    except OSError as err:
        raise UnreachableError(f"pending changes cannot be read: {directory}: {err.strerror}") from err
    stems = (name.removesuffix(_SUFFIX) for name in listed if name.endswith(_SUFFIX))
    return [stem for stem in stems if is_pending_name(stem)]


def _content(path: Path, max_bytes: int) -> bytes | None:
    """Return the bytes of a regular file, None where there is none."""
    try:
        # A pipe in the place of a file would hold whoever opens it, for ever. A link is followed: mounts of
        # Kubernetes consist of them, and what is read is metadata only if it is signed.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise UnreachableError(f"metadata is not a regular file: {path}")
            data = file.read(max_bytes + 1)
    except FileNotFoundError:
        return None
    except OSError as err:
        raise UnreachableError(f"metadata cannot be read: {path}: {err.strerror}") from err
    if len(data) > max_bytes:
        raise LimitError(f"metadata is too large: {path}: expected at most {max_bytes} bytes")
    return data
