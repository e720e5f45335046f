"""Owns the trusted state of a consumer: one SQLite database, ``state.db``, in ``TRUST_HOME``.

Keyed by the root pin, so that a chain can only ever be read under the very pin it was verified with. For each
role it keeps the raw bytes, the version, and the versions of root and delegator under which they were verified;
targets and tombstones stand in rows, so that a warm look-up parses no metadata. Each change is one transaction
with ``synchronous=FULL``. A missing database is a fresh start; a damaged one is an error and never a fresh
start. Who can write ``TRUST_HOME`` decides what is trusted here.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta, timezone
from pathlib import Path

from trust.chain import RoleFacts, TrustedChain, TrustedRole
from trust.database import Database
from trust.digest import Digest
from trust.targets import Table, Target, Tombstone, parse_target, parse_tombstones, target_custom, tombstone_json


class TrustedState:
    """The database of one ``TRUST_HOME``; opened read-only where the disk is."""

    def __init__(self, home: Path) -> None:
        self._database = Database(home)

    @property
    def home(self) -> Path:
        """Where the database is."""
        return self._database.home

    @property
    def is_read_only(self) -> bool:
        """Tell whether nothing can be recorded."""
        return self._database.is_read_only

    def close(self) -> None:
        """Release the database."""
        self._database.close()

    def chain(self, pin: Digest) -> TrustedChain | None:
        """Return the trusted chain under ``pin``, without bodies; None is a fresh start."""
        found = self._database.rows(
            "SELECT name, identity, root_version, token, checked_at FROM collection WHERE pin = ?", str(pin)
        )
        if not found:
            return None
        rows = self._database.rows(
            "SELECT name, version, expires, signers, threshold, period, root_version, delegator,"
            " delegator_version FROM role WHERE pin = ?",
            str(pin),
        )
        name, identity, root_version, token, checked_at = found[0]
        with self._database.reading():
            return TrustedChain(
                name=name,
                identity=identity,
                root_version=root_version,
                token=token,
                checked_at=_moment(checked_at),
                roles={row[0]: _trusted_role(row) for row in rows},
            )

    def body(self, pin: Digest, role: str) -> bytes | None:
        """Return the raw bytes of a trusted role, or None."""
        rows = self._database.rows("SELECT body FROM role WHERE pin = ? AND name = ?", str(pin), role)
        with self._database.reading():
            return _blob(rows[0][0]) if rows else None

    def bodies(self, pin: Digest) -> dict[str, bytes]:
        """Return the raw bytes of every trusted role by its name."""
        rows = self._database.rows("SELECT name, body FROM role WHERE pin = ?", str(pin))
        with self._database.reading():
            return {name: _blob(body) for name, body in rows}

    def roots(self, pin: Digest) -> dict[int, bytes]:
        """Return the trusted root chain by version."""
        rows = self._database.rows("SELECT version, body FROM root WHERE pin = ? ORDER BY version", str(pin))
        with self._database.reading():
            return {int(version): _blob(body) for version, body in rows}

    def newest_roots(self) -> dict[str, tuple[str, bytes]]:
        """Return name and newest root of each collection with trusted state, by its pin."""
        rows = self._database.rows(
            "SELECT c.pin, c.name, r.body FROM collection c JOIN root r"
            " ON r.pin = c.pin AND r.version = c.root_version",
        )
        with self._database.reading():
            return {pin: (name, _blob(body)) for pin, name, body in rows}

    def target(self, pin: Digest, role: str, path: str) -> Target | None:
        """Return the target that ``role`` signs under ``path``, or None."""
        found = self._database.rows(
            "SELECT path, sha256, size, custom FROM target WHERE pin = ? AND role = ? AND path = ?",
            str(pin),
            role,
            path,
        )
        with self._database.reading():
            return _target(found[0])[1] if found else None

    def table(self, pin: Digest, role: str) -> Table:
        """Return everything that ``role`` says."""
        targets = self._database.rows(
            "SELECT path, sha256, size, custom FROM target WHERE pin = ? AND role = ? ORDER BY path",
            str(pin),
            role,
        )
        tombstones = self._database.rows(
            "SELECT DISTINCT digest, value FROM tombstone WHERE pin = ? AND role = ?", str(pin), role
        )
        with self._database.reading():
            return Table(targets=dict(map(_target, targets)), revoked=_tombstones(tombstones))

    def count_targets(self, pin: Digest, role: str) -> int:
        """Return how many targets ``role`` signs."""
        return int(
            self._database.rows("SELECT count(*) FROM target WHERE pin = ? AND role = ?", str(pin), role)[0][0]
        )

    def tombstone(self, pin: Digest, role: str, path: str) -> Tombstone | None:
        """Return the tombstone of a revoked ``path``, or None."""
        found = self._database.rows(
            "SELECT digest, value FROM tombstone WHERE pin = ? AND role = ? AND path = ?", str(pin), role, path
        )
        with self._database.reading():
            return next(iter(_tombstones(found).values()), None)

    def published(self, pin: Digest) -> dict[str, int]:
        """Return the highest version of each role that this home has published or built upon."""
        return dict(self._database.rows("SELECT name, version FROM published WHERE pin = ?", str(pin)))

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
        with self._database.transaction() as connection:
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
        with self._database.transaction() as connection:
            _insert_roots(connection, str(pin), roots)
            connection.execute("UPDATE collection SET root_version = ? WHERE pin = ?", (max(roots), str(pin)))

    def set_checked(self, pin: Digest, *, token: str | None, at: datetime) -> None:
        """Record that the store was asked at ``at`` and had nothing new."""
        with self._database.transaction() as connection:
            connection.execute(
                "UPDATE collection SET token = ?, checked_at = ? WHERE pin = ?", (token, _seconds(at), str(pin))
            )

    def set_published(self, pin: Digest, versions: Mapping[str, int]) -> None:
        """Record versions as known to this publisher: older ones are a rollback to it from now on."""
        with self._database.transaction() as connection:
            connection.executemany(
                "INSERT INTO published VALUES (?, ?, ?) ON CONFLICT (pin, name)"
                " DO UPDATE SET version = max(version, excluded.version)",
                [(str(pin), name, version) for name, version in versions.items()],
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
