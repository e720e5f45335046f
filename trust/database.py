"""Owns the database file of the trusted state: made whole, opened or refused, changed in synced transactions.

A missing file is a fresh start; a damaged one is an error and never a fresh start. On a disk that is not writable
it is opened read-only.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from trust.errors import InputError, StateError

DATABASE = "state.db"
_APPLICATION_ID = 0x54525354  # "TRST"
_SCHEMA_VERSION = 2
_BUSY_SECONDS = 10.0

_SCHEMA = """
CREATE TABLE collection (pin TEXT PRIMARY KEY, name TEXT, identity TEXT, root_version INTEGER,
  token TEXT, checked_at INTEGER, whole INTEGER);
CREATE TABLE root (pin TEXT, version INTEGER, body BLOB, PRIMARY KEY (pin, version));
CREATE TABLE role (pin TEXT, name TEXT, version INTEGER, expires INTEGER, signers TEXT, threshold INTEGER,
  period INTEGER, root_version INTEGER, delegator TEXT, delegator_version INTEGER, body BLOB,
  delegations TEXT, refusal TEXT,
  PRIMARY KEY (pin, name));
CREATE TABLE target (pin TEXT, role TEXT, path TEXT, sha256 TEXT, size INTEGER, custom TEXT,
  PRIMARY KEY (pin, role, path)) WITHOUT ROWID;
CREATE TABLE tombstone (pin TEXT, role TEXT, path TEXT, digest TEXT, value TEXT,
  PRIMARY KEY (pin, role, path)) WITHOUT ROWID;
CREATE TABLE published (pin TEXT, name TEXT, version INTEGER, PRIMARY KEY (pin, name));
"""

# Of a role that several delegate to: how it was verified under those beyond the first. A file of before has none.
_LINK = """
CREATE TABLE IF NOT EXISTS link (pin TEXT, name TEXT, version INTEGER, expires INTEGER, signers TEXT,
  threshold INTEGER, period INTEGER, root_version INTEGER, delegator TEXT, delegator_version INTEGER,
  PRIMARY KEY (pin, name, delegator));
"""


class Database:
    """``state.db`` of one home."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.is_read_only = False
        self._path = home / DATABASE
        self._connection = self._open()

    def close(self) -> None:
        """Release the file."""
        self._connection.close()

    def rows(self, query: str, *parameters: str) -> list[tuple[Any, ...]]:
        """Return all rows that ``query`` finds.

        Raises:
            StateError: the file is damaged or cannot be read.
        """
        with self.reading():
            return self._connection.execute(query, parameters).fetchall()

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Turn whatever is wrong with what is read meanwhile into one error.

        Raises:
            StateError: the file is damaged or cannot be read.
        """
        try:
            yield
        except (sqlite3.OperationalError, OSError) as err:
            raise StateError(f"trusted state cannot be read: {self._path}: {err}") from err
        except (sqlite3.DatabaseError, ValueError, TypeError, OverflowError, InputError) as err:
            raise self._damaged(str(err)) from err

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Make the changes of the block, all or none, and on the disk when it ends.

        Raises:
            StateError: they could not be written; everything is as before.
        """
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                if self._connection.in_transaction:  # a full disk has ended it, and is what is to be told
                    self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")
        except sqlite3.Error as err:
            with suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
            raise StateError(
                f"trusted state cannot be written: {self._path}: {err}",
                hint="nothing was lost; repeat the command when the disk can be written",
            ) from err

    def _open(self) -> sqlite3.Connection:
        with self.reading():
            if not self._path.exists():
                self._create()
            if self._path.stat().st_size == 0:
                raise self._damaged("the file is empty")
            self.is_read_only = not (os.access(self._path, os.W_OK) and os.access(self.home, os.W_OK))
            uri = f"{self._path.absolute().as_uri()}?mode={'ro' if self.is_read_only else 'rw'}"
            connection = sqlite3.connect(uri, uri=True, timeout=_BUSY_SECONDS, isolation_level=None)
        try:
            self._check(connection)
            with self.reading():
                if not self.is_read_only:
                    connection.execute(_LINK)
        except BaseException:
            connection.close()
            raise
        return connection

    def _check(self, connection: sqlite3.Connection) -> None:
        """Refuse a file that another program, or another version of this one, has made."""
        with self.reading():
            connection.execute("PRAGMA synchronous=FULL")
            application = connection.execute("PRAGMA application_id").fetchone()[0]
            version = connection.execute("PRAGMA user_version").fetchone()[0]
        if (application, version) != (_APPLICATION_ID, _SCHEMA_VERSION):
            raise self._damaged(f"expected schema {_SCHEMA_VERSION}, got {version}")

    def _create(self) -> None:
        """Make the database beside its place and link it there, whole, create-only."""
        try:
            self.home.mkdir(parents=True, exist_ok=True, mode=0o700)
            temporary = self.home / f".{DATABASE}.{os.getpid()}.{id(self)}"
            temporary.unlink(missing_ok=True)
            temporary.touch(mode=0o600)
        except OSError as err:
            raise StateError(f"trusted state cannot be written: {self.home}: {err.strerror}") from err
        connection = sqlite3.connect(temporary)
        try:
            connection.executescript(
                f"PRAGMA application_id={_APPLICATION_ID}; PRAGMA user_version={_SCHEMA_VERSION};{_SCHEMA}{_LINK}"
            )
            connection.close()
            with suppress(FileExistsError):
                os.link(temporary, self._path)
        finally:
            connection.close()
            temporary.unlink(missing_ok=True)

    def _damaged(self, cause: str) -> StateError:
        return StateError(
            f"trusted state is damaged: {self._path}: {cause}",
            hint="restore it from a backup, or move it away to start fresh from the pinned root",
        )
