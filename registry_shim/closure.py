"""Owns the closure: which content a manifest that passed here names, by repository; one SQLite database.

A blob is served only if such a manifest of the same repository names it and would still pass. The closure outlives
restarts and the cache, since a client may hold the manifest and come back for a layer. Safe for several processes.
"""

from __future__ import annotations

import fcntl
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from trust.digest import Digest, parse_digest
from trust.errors import StateError
from trust.manifest import Index, Manifest
from trust.reference import Repository

_SCHEMA = """
CREATE TABLE IF NOT EXISTS part (repository TEXT, digest TEXT, manifest TEXT, size INTEGER,
  PRIMARY KEY (repository, digest, manifest)) WITHOUT ROWID;
"""
_BUSY_SECONDS = 10.0


@contextmanager
def _one_at_a_time(directory: Path) -> Iterator[None]:
    with (directory / "closure.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Content that ``manifest`` names, and its size there."""

    manifest: Digest
    size_bytes: int


class Closure:
    """``closure.db`` in ``directory``."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / "closure.db"
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._connection = sqlite3.connect(
                self._path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
        except (sqlite3.Error, OSError) as err:
            raise self._error(err) from err
        try:
            with _one_at_a_time(directory):  # two that switch at once lock each other out, whatever their patience
                self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute(
                "PRAGMA synchronous = NORMAL"
            )  # after a power cut a manifest is asked for anew
            self._connection.executescript(_SCHEMA)
        except (sqlite3.Error, OSError) as err:
            self._connection.close()
            raise self._error(err) from err

    def close(self) -> None:
        """Release the file."""
        self._connection.close()

    def add(self, repository: Repository, digest: Digest, manifest: Manifest | Index) -> None:
        """Have everything that ``manifest`` (its own digest is ``digest``) names in the closure after this.

        Raises:
            StateError: it could not be written.
        """
        parts = manifest.manifests if isinstance(manifest, Index) else (manifest.config, *manifest.layers)
        rows = [(str(repository), str(part.digest), str(digest), part.size_bytes) for part in parts]
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.executemany("INSERT OR REPLACE INTO part VALUES (?, ?, ?, ?)", rows)
            self._connection.execute("COMMIT")
        except sqlite3.Error as err:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise self._error(err) from err

    def parts(self, repository: Repository, digest: Digest) -> Iterable[Part]:
        """Return every manifest of ``repository`` that passed here and names ``digest``.

        Raises:
            StateError: it could not be read.
        """
        try:
            rows = self._connection.execute(
                "SELECT manifest, size FROM part WHERE repository = ? AND digest = ?",
                (str(repository), str(digest)),
            ).fetchall()
        except sqlite3.Error as err:
            raise self._error(err) from err
        return [Part(manifest=parse_digest(manifest), size_bytes=size) for manifest, size in rows]

    def _error(self, err: Exception) -> StateError:
        return StateError(
            f"closure cannot be used: {self._path}: {err}",
            hint="make room, or move the file away: clients then ask for their manifests again",
        )
