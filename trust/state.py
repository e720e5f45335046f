"""Owns the trusted state of a consumer: one SQLite database, ``state.db``, in ``TRUST_HOME``.

Keyed by the root pin, so that a chain can only ever be read under the very pin it was verified with. For each
role it keeps the raw bytes, the version, and the versions of root and delegator under which they were verified;
targets and tombstones stand in rows, so that a warm look-up parses no metadata. Each change is one transaction
with ``synchronous=FULL``. A missing database is a fresh start; a damaged one is an error and never a fresh
start. Who can write ``TRUST_HOME`` decides what is trusted here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from trust.chain import RoleRefusal, TrustedChain
from trust.database import Database
from trust.delegations import Delegations
from trust.digest import Digest
from trust.row_writing import insert_roots, replace_links, replace_roles, replace_table
from trust.rows import (
    ROLE_COLUMNS,
    RoleRow,
    blob,
    moment,
    parse_delegations,
    parse_role,
    parse_target_row,
    parse_tombstone_rows,
    seconds,
)
from trust.targets import Content, Table, Target, Tombstone


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
            f"SELECT {ROLE_COLUMNS} FROM role WHERE pin = ? AND body IS NOT NULL",  # noqa: S608 - our own columns
            str(pin),
        )
        links = self._links(pin)
        name, identity, root_version, token, checked_at = found[0]
        with self._database.reading():
            return TrustedChain(
                name=name,
                identity=identity,
                root_version=root_version,
                token=token,
                checked_at=moment(checked_at),
                roles={row[0]: parse_role(row) for row in rows},
                shared={(role.facts.name, role.delegator): role for role in map(parse_role, links)},
            )

    def _links(self, pin: Digest) -> list[RoleRow]:
        if not self._database.rows("SELECT 1 FROM sqlite_master WHERE name = 'link'"):
            return []  # made before there were any, and on a disk that is read-only now
        query = f"SELECT {ROLE_COLUMNS} FROM link WHERE pin = ?"  # noqa: S608 - our own columns
        return self._database.rows(query, str(pin))

    def body(self, pin: Digest, role: str) -> bytes | None:
        """Return the raw bytes of a trusted role, or None."""
        rows = self._database.rows("SELECT body FROM role WHERE pin = ? AND name = ?", str(pin), role)
        with self._database.reading():
            return blob(rows[0][0]) if rows and rows[0][0] is not None else None

    def bodies(self, pin: Digest) -> dict[str, bytes]:
        """Return the raw bytes of every trusted role by its name."""
        rows = self._database.rows("SELECT name, body FROM role WHERE pin = ? AND body IS NOT NULL", str(pin))
        with self._database.reading():
            return {name: blob(body) for name, body in rows}

    def roots(self, pin: Digest) -> dict[int, bytes]:
        """Return the trusted root chain by version."""
        rows = self._database.rows("SELECT version, body FROM root WHERE pin = ? ORDER BY version", str(pin))
        with self._database.reading():
            return {int(version): blob(body) for version, body in rows}

    def newest_roots(self) -> dict[str, tuple[str, bytes]]:
        """Return name and newest root of each collection with trusted state, by its pin."""
        rows = self._database.rows(
            "SELECT c.pin, c.name, r.body FROM collection c JOIN root r"
            " ON r.pin = c.pin AND r.version = c.root_version",
        )
        with self._database.reading():
            return {pin: (name, blob(body)) for pin, name, body in rows}

    def target(self, pin: Digest, role: str, path: str) -> Target | None:
        """Return the target that ``role`` signs under ``path``, or None."""
        found = self._database.rows(
            "SELECT path, sha256, size, custom FROM target WHERE pin = ? AND role = ? AND path = ?",
            str(pin),
            role,
            path,
        )
        with self._database.reading():
            return parse_target_row(found[0])[1] if found else None

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
            return Table(targets=dict(map(parse_target_row, targets)), revoked=parse_tombstone_rows(tombstones))

    def holds(self, pin: Digest, role: str, path: str) -> bool:
        """Tell whether ``role`` signs something under ``path``."""
        query = "SELECT 1 FROM target WHERE pin = ? AND role = ? AND path = ?"
        return bool(self._database.rows(query, str(pin), role, path))

    def delegations(self, pin: Digest, role: str) -> Delegations:
        """Return what ``role`` delegates, without the keys."""
        found = self._database.rows("SELECT delegations FROM role WHERE pin = ? AND name = ?", str(pin), role)
        with self._database.reading():
            return parse_delegations(found[0][0] if found else None)

    def refusals(self, pin: Digest) -> dict[str, RoleRefusal]:
        """Return why a delegated role was refused when all were last asked for, by its name."""
        rows = self._database.rows(
            "SELECT name, refusal FROM role WHERE pin = ? AND refusal IS NOT NULL", str(pin)
        )
        with self._database.reading():
            return {name: RoleRefusal(**json.loads(text)) for name, text in rows}

    def is_whole(self, pin: Digest) -> bool:
        """Tell whether every role of the collection was verified when it last changed."""
        return bool(self._database.rows("SELECT 1 FROM collection WHERE pin = ? AND whole", str(pin)))

    def count_targets(self, pin: Digest) -> int:
        """Return how many targets the collection signs, as far as they were asked for."""
        return int(self._database.rows("SELECT count(*) FROM target WHERE pin = ?", str(pin))[0][0])

    def tombstone(self, pin: Digest, role: str, path: str) -> Tombstone | None:
        """Return the tombstone of a revoked ``path``, or None."""
        found = self._database.rows(
            "SELECT digest, value FROM tombstone WHERE pin = ? AND role = ? AND path = ?", str(pin), role, path
        )
        with self._database.reading():
            return next(iter(parse_tombstone_rows(found).values()), None)

    def published(self, pin: Digest) -> dict[str, int]:
        """Return the highest version of each role that this home has published or built upon."""
        return dict(self._database.rows("SELECT name, version FROM published WHERE pin = ?", str(pin)))

    def commit(
        self,
        pin: Digest,
        chain: TrustedChain,
        *,
        roots: Mapping[int, bytes],
        said: Mapping[str, Content],
        refused: Mapping[str, RoleRefusal],
        is_whole: bool,
    ) -> None:
        """Make ``chain`` the trusted state under ``pin``, in one transaction.

        ``roots`` are added to the chain of roots; ``said`` replaces what its roles say; ``refused`` are the roles
        that are not accepted, whatever was said by them before; ``is_whole``: every role was asked for, and is in
        the chain.

        Raises:
            StateError: it could not be written; the state is as before.
        """
        with self._database.transaction() as connection:
            key = str(pin)
            connection.execute(
                "INSERT OR REPLACE INTO collection VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    key,
                    chain.name,
                    chain.identity,
                    chain.root_version,
                    chain.token,
                    seconds(chain.checked_at),
                    is_whole,
                ),
            )
            insert_roots(connection, key, roots)
            replace_roles(connection, key, chain.roles.values())
            replace_links(connection, key, chain.shared.values())
            for name, what in said.items():
                replace_table(connection, key, name, what)
            for name, refusal in refused.items():
                text = json.dumps({"reason": refusal.reason, "detail": refusal.detail, "hint": refusal.hint})
                connection.execute(
                    "INSERT INTO role (pin, name, refusal) VALUES (?, ?, ?)"
                    " ON CONFLICT (pin, name) DO UPDATE SET refusal = excluded.refusal",
                    (key, name, text),
                )

    def add_roots(self, pin: Digest, roots: Mapping[int, bytes]) -> None:
        """Record newer verified roots; the roles verified under an older one no longer count as coherent."""
        with self._database.transaction() as connection:
            insert_roots(connection, str(pin), roots)
            connection.execute("UPDATE collection SET root_version = ? WHERE pin = ?", (max(roots), str(pin)))

    def keep_roots(self, pin: Digest, roots: Mapping[int, bytes]) -> None:
        """Record verified roots for the next walk; what was verified under an older one stays as it is."""
        with self._database.transaction() as connection:
            insert_roots(connection, str(pin), roots)

    def set_checked(self, pin: Digest, *, token: str | None, at: datetime) -> None:
        """Record that the store was asked at ``at`` and had nothing new."""
        with self._database.transaction() as connection:
            connection.execute(
                "UPDATE collection SET token = ?, checked_at = ? WHERE pin = ?", (token, seconds(at), str(pin))
            )

    def set_published(self, pin: Digest, versions: Mapping[str, int]) -> None:
        """Record versions as known to this publisher: older ones are a rollback to it from now on."""
        with self._database.transaction() as connection:
            connection.executemany(
                "INSERT INTO published VALUES (?, ?, ?) ON CONFLICT (pin, name)"
                " DO UPDATE SET version = max(version, excluded.version)",
                [(str(pin), name, version) for name, version in versions.items()],
            )
