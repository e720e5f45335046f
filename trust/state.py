"""Owns the trusted state of a consumer: one SQLite database, ``state.db``, in ``TRUST_HOME``.

Keyed by the root pin, so that a chain can only ever be read under the very pin it was verified with. For each
role it keeps the raw bytes, the version, and the versions of root and delegator under which they were verified;
targets and tombstones stand in rows, so that a warm look-up parses no metadata. Each change is one transaction
with ``synchronous=FULL``. A missing database is a fresh start; a damaged one is an error and never a fresh
start. Who can write ``TRUST_HOME`` decides what is trusted here.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from trust.chain import RoleFacts, TrustedChain, TrustedRole
from trust.digest import Digest
from trust.errors import InputError, StateError, UnavailableError
from trust.targets import Table, Target, Tombstone, parse_target, parse_tombstones, target_custom, tombstone_json

DATABASE = "state.db"
_APPLICATION_ID = 0x54525354  # "TRST"
_SCHEMA_VERSION = 1
_BUSY_SECONDS = 10.0

_SCHEMA = """
CREATE TABLE collection (pin TEXT PRIMARY KEY, name TEXT, identity TEXT, root_version INTEGER,
  token TEXT, checked_at INTEGER);
CREATE TABLE root (pin TEXT, version INTEGER, body BLOB, PRIMARY KEY (pin, version));
CREATE TABLE role (pin TEXT, name TEXT, version INTEGER, expires INTEGER, signers TEXT, threshold INTEGER,
  period INTEGER, root_version INTEGER, delegator TEXT, delegator_version INTEGER, body BLOB,
  PRIMARY KEY (pin, name));
CREATE TABLE target (pin TEXT, role TEXT, path TEXT, sha256 TEXT, size INTEGER, custom TEXT,
  PRIMARY KEY (pin, role, path)) WITHOUT ROWID;
CREATE TABLE tombstone (pin TEXT, role TEXT, path TEXT, digest TEXT, value TEXT,
  PRIMARY KEY (pin, role, path)) WITHOUT ROWID;
CREATE TABLE published (pin TEXT, name TEXT, version INTEGER, PRIMARY KEY (pin, name));
"""


class TrustedState:
    """The database of one ``TRUST_HOME``; opened read-only where the disk is."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.is_read_only = False
        self._path = home / DATABASE
        self._connection = self._open()

    def close(self) -> None:
        """Release the database."""
        self._connection.close()

    def chain(self, pin: Digest) -> TrustedChain | None:
        """Return the trusted chain under ``pin``, without bodies; None is a fresh start."""
        with _readable(self._path):
            found = self._connection.execute(
                "SELECT name, identity, root_version, token, checked_at FROM collection WHERE pin = ?", (str(pin),)
            ).fetchone()
            if found is None:
                return None
            rows = self._connection.execute(
                "SELECT name, version, expires, signers, threshold, period, root_version, delegator,"
                " delegator_version FROM role WHERE pin = ?",
                (str(pin),),
            ).fetchall()
            name, identity, root_version, token, checked_at = found
            return TrustedChain(
                name=name,
                identity=identity,
                root_version=int(root_version),
                token=token,
                checked_at=_moment(checked_at),
                roles={row[0]: _trusted_role(row) for row in rows},
            )

    def body(self, pin: Digest, role: str) -> bytes | None:
        """Return the raw bytes of a trusted role, or None."""
        rows = self._rows("SELECT body FROM role WHERE pin = ? AND name = ?", (str(pin), role))
        with _readable(self._path):
            return _blob(rows[0][0]) if rows else None

    def bodies(self, pin: Digest) -> dict[str, bytes]:
        """Return the raw bytes of every trusted role by its name."""
        rows = self._rows("SELECT name, body FROM role WHERE pin = ?", (str(pin),))
        with _readable(self._path):
            return {name: _blob(body) for name, body in rows}

    def roots(self, pin: Digest) -> dict[int, bytes]:
        """Return the trusted root chain by version."""
        rows = self._rows("SELECT version, body FROM root WHERE pin = ? ORDER BY version", (str(pin),))
        with _readable(self._path):
            return {int(version): _blob(body) for version, body in rows}

    def newest_roots(self) -> dict[str, tuple[str, bytes]]:
        """Return name and newest root of each collection with trusted state, by its pin."""
        rows = self._rows(
            "SELECT c.pin, c.name, r.body FROM collection c JOIN root r"
            " ON r.pin = c.pin AND r.version = c.root_version",
            (),
        )
        with _readable(self._path):
            return {pin: (name, _blob(body)) for pin, name, body in rows}

    def target(self, pin: Digest, role: str, path: str) -> Target | None:
        """Return the target that ``role`` signs under ``path``, or None."""
        found = self._rows(
            "SELECT path, sha256, size, custom FROM target WHERE pin = ? AND role = ? AND path = ?",
            (str(pin), role, path),
        )
        with _readable(self._path):
            return _target(found[0])[1] if found else None

    def table(self, pin: Digest, role: str) -> Table:
        """Return everything that ``role`` says."""
        targets = self._rows(
            "SELECT path, sha256, size, custom FROM target WHERE pin = ? AND role = ? ORDER BY path",
            (str(pin), role),
        )
        tombstones = self._rows(
            "SELECT DISTINCT digest, value FROM tombstone WHERE pin = ? AND role = ?", (str(pin), role)
        )
        with _readable(self._path):
            return Table(targets=dict(map(_target, targets)), revoked=_tombstones(tombstones))

    def tombstone(self, pin: Digest, role: str, path: str) -> Tombstone | None:
        """Return the tombstone of a revoked ``path``, or None."""
        found = self._rows(
            "SELECT digest, value FROM tombstone WHERE pin = ? AND role = ? AND path = ?", (str(pin), role, path)
        )
        with _readable(self._path):
            return next(iter(_tombstones(found).values()), None)

    def published(self, pin: Digest) -> dict[str, int]:
        """Return the highest version of each role that this home has published or built upon."""
        return dict(self._rows("SELECT name, version FROM published WHERE pin = ?", (str(pin),)))

    def commit(
        self,
        pin: Digest,
        chain: TrustedChain,
        *,
        roots: Mapping[int, bytes],
        tables: Mapping[str, Table],
    ) -> None:
        """Make ``chain`` the trusted state under ``pin``, in one transaction.

        ``roots`` are added to the chain of roots; ``tables`` replaces the targets and tombstones of its roles.

        Raises:
            StateError: it could not be written; the state is as before.
        """
        with self._transaction() as connection:
            key = str(pin)
            connection.execute(
                "INSERT OR REPLACE INTO collection VALUES (?, ?, ?, ?, ?, ?)",
                (key, chain.name, chain.identity, chain.root_version, chain.token, _seconds(chain.checked_at)),
            )
            _insert_roots(connection, key, roots)
            connection.execute("DELETE FROM role WHERE pin = ?", (key,))
            connection.executemany(
                "INSERT INTO role VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [_role_row(key, role) for role in chain.roles.values()],
            )
            for name, table in tables.items():
                _replace_table(connection, key, name, table)

    def add_roots(self, pin: Digest, roots: Mapping[int, bytes]) -> None:
        """Record newer verified roots; the roles verified under an older one no longer count as coherent."""
        with self._transaction() as connection:
            _insert_roots(connection, str(pin), roots)
            connection.execute("UPDATE collection SET root_version = ? WHERE pin = ?", (max(roots), str(pin)))

    def set_checked(self, pin: Digest, *, token: str | None, at: datetime) -> None:
        """Record that the store was asked at ``at`` and had nothing new."""
        with self._transaction() as connection:
            connection.execute(
                "UPDATE collection SET token = ?, checked_at = ? WHERE pin = ?", (token, _seconds(at), str(pin))
            )

    def set_published(self, pin: Digest, versions: Mapping[str, int]) -> None:
        """Record versions as known to this publisher: older ones are a rollback to it from now on."""
        with self._transaction() as connection:
            connection.executemany(
                "INSERT INTO published VALUES (?, ?, ?) ON CONFLICT (pin, name)"
                " DO UPDATE SET version = max(version, excluded.version)",
                [(str(pin), name, version) for name, version in versions.items()],
            )

    def _rows(self, query: str, parameters: tuple[str, ...]) -> list[tuple[Any, ...]]:
        with _readable(self._path):
            return self._connection.execute(query, parameters).fetchall()

    def _open(self) -> sqlite3.Connection:
        with _readable(self._path):
            if not self._path.exists():
                self._create()
            if self._path.stat().st_size == 0:
                raise _damaged(self._path, "the file is empty")
            self.is_read_only = not (os.access(self._path, os.W_OK) and os.access(self.home, os.W_OK))
            uri = f"{self._path.absolute().as_uri()}?mode={'ro&immutable=1' if self.is_read_only else 'rw'}"
            connection = sqlite3.connect(uri, uri=True, timeout=_BUSY_SECONDS, isolation_level=None)
            connection.execute("PRAGMA synchronous=FULL")
            application = connection.execute("PRAGMA application_id").fetchone()[0]
            version = connection.execute("PRAGMA user_version").fetchone()[0]
        if (application, version) != (_APPLICATION_ID, _SCHEMA_VERSION):
            raise _damaged(self._path, f"expected schema {_SCHEMA_VERSION}, got {version}")
        return connection

    def _create(self) -> None:
        """Make the database beside its place and link it there, whole, create-only."""
        try:
            self.home.mkdir(parents=True, exist_ok=True, mode=0o700)
            temporary = self.home / f".{DATABASE}.{os.getpid()}"
            temporary.unlink(missing_ok=True)
            temporary.touch(mode=0o600)
        except OSError as err:
            raise StateError(f"trusted state cannot be written: {self.home}: {err.strerror}") from err
        connection = sqlite3.connect(temporary)
        try:
            connection.executescript(
                f"PRAGMA application_id={_APPLICATION_ID}; PRAGMA user_version={_SCHEMA_VERSION}; {_SCHEMA}"
            )
            connection.close()
            with suppress(FileExistsError):
                os.link(temporary, self._path)
        finally:
            connection.close()
            temporary.unlink(missing_ok=True)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            yield self._connection
            self._connection.execute("COMMIT")
        except sqlite3.Error as err:
            with suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
            raise StateError(
                f"trusted state cannot be written: {self._path}: {err}",
                hint="nothing was lost; repeat the command when the disk can be written",
            ) from err


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.OperationalError, OSError) as err:
        if "malformed" in str(err):
            raise _damaged(path, str(err)) from err
        raise StateError(f"trusted state cannot be read: {path}: {err}") from err
    except (sqlite3.DatabaseError, ValueError, TypeError, OverflowError, InputError) as err:
        raise _damaged(path, str(err)) from err


def _damaged(path: Path, cause: str) -> UnavailableError:
    return StateError(
        f"trusted state is damaged: {path}: {cause}",
        hint="restore it from a backup, or move it away to start fresh from the pinned root",
    )


def _insert_roots(connection: sqlite3.Connection, pin: str, roots: Mapping[int, bytes]) -> None:
    connection.executemany(
        "INSERT OR REPLACE INTO root VALUES (?, ?, ?)", [(pin, version, body) for version, body in roots.items()]
    )


def _replace_table(
    connection: sqlite3.Connection,
    pin: str,
    role: str,
    table: Table,
) -> None:
    connection.execute("DELETE FROM target WHERE pin = ? AND role = ?", (pin, role))
    connection.execute("DELETE FROM tombstone WHERE pin = ? AND role = ?", (pin, role))
    connection.executemany(
        "INSERT INTO target VALUES (?, ?, ?, ?, ?, ?)",
        [
            (pin, role, path, target.digest.hex, target.size_bytes, json.dumps(target_custom(target)))
            for path, target in table.targets.items()
        ],
    )
    connection.executemany(
        "INSERT OR REPLACE INTO tombstone VALUES (?, ?, ?, ?, ?)",
        [
            (pin, role, path, digest, json.dumps(tombstone_json(tombstone)))
            for digest, tombstone in table.revoked.items()
            for path in tombstone.paths
        ],
    )


def _trusted_role(row: tuple[str, int, int, str, int, int | None, int, str, int]) -> TrustedRole:
    name, version, expires, signers, threshold, period, root_version, delegator, delegator_version = row
    facts = RoleFacts(
        name=name,
        version=int(version),
        expires=_moment(expires),
        signers=tuple(json.loads(signers)),
        threshold=int(threshold),
        period=timedelta(seconds=period) if period else None,
    )
    return TrustedRole(
        facts=facts,
        root_version=int(root_version),
        delegator=str(delegator),
        delegator_version=int(delegator_version),
    )


def _role_row(pin: str, role: TrustedRole) -> tuple[object, ...]:
    facts = role.facts
    return (
        pin, facts.name, facts.version, _seconds(facts.expires), json.dumps(facts.signers), facts.threshold,
        int(facts.period.total_seconds()) if facts.period else None,
        role.root_version, role.delegator, role.delegator_version, role.body,
    )  # fmt: skip


def _target(row: tuple[object, ...]) -> tuple[str, Target]:
    path, sha256, size, custom = row
    target = parse_target(
        hashes={"sha256": str(sha256)}, size_bytes=int(str(size)), custom=json.loads(str(custom))
    )
    return str(path), target


def _tombstones(rows: Iterable[tuple[object, ...]]) -> dict[str, Tombstone]:
    return parse_tombstones({str(digest): json.loads(str(value)) for digest, value in rows})


def _blob(value: object) -> bytes:
    if not isinstance(value, bytes):
        raise TypeError("a body is no blob")
    return value


def _seconds(moment: datetime) -> int:
    return int(moment.timestamp())


def _moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, tz=timezone.utc)
